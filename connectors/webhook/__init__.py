"""The kind `webhook_listener`: takes in what partners tell us over HTTP, proves that it is from them, keeps it, then answers.

settings.py    what can be set
listener.py    the connection
door.py        one address that is listened on; several connections may have a path behind it
endpoint.py    one connection's path: what happens to a request
events.py      the messages a request becomes
"""

from __future__ import annotations

from connectors.webhook.listener import WebhookListener
from connectors.webhook.settings import WebhookConfig
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl

__all__ = ["WebhookConfig", "WebhookListener"]


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [WebhookListener]

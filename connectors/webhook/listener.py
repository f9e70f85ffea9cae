"""The connection: a path behind a door."""

from __future__ import annotations

from connectors.webhook.door import Door, door_for
from connectors.webhook.endpoint import Endpoint
from connectors.webhook.settings import WebhookConfig
from hub.connector import Deliver, Source


class WebhookListener(Source[WebhookConfig]):
    """Receives webhooks: proves who sends, keeps what comes, then answers within the partner's deadline."""

    kind = "webhook_listener"

    def __init__(self, name: str, config: WebhookConfig) -> None:
        super().__init__(name, config)
        self._endpoint: Endpoint | None = None
        self._door: Door | None = None

    @property
    def port(self) -> int:
        """The port it listens on; tells which one was free when the setting is 0."""
        return self._door.port if self._door is not None else self.config.port

    async def open(self, deliver: Deliver) -> None:
        endpoint = Endpoint(self.name, self.config, deliver)
        door = await door_for(self.config, self.name)
        try:
            door.add(endpoint)
        except BaseException:
            await door.remove(endpoint)
            raise
        self._door, self._endpoint = door, endpoint

    async def close(self) -> None:
        door, endpoint = self._door, self._endpoint
        self._door = self._endpoint = None
        if door is not None and endpoint is not None:
            await endpoint.close()
            await door.remove(endpoint)

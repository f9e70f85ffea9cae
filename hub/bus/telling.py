"""How alerts reach people beside the worklist: by e-mail, and by a POST to an address."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from hub.bus.core import Core
from hub.bus.retry import Breaker
from hub.codes import CODES
from hub.connector import Retry
from hub.errors import ConnectionDown, HubError, MessageRejected
from hub.net.http import HttpClient
from hub.net.mail import MailServer, send_mail
from hub.net.tls import TlsClient
from hub.net.worker import in_a_thread
from hub.records import Alert
from hub.settings.signals import AlertHook, AlertSettings, MailSettings
from hub.units import iso

_AGAIN = Retry(first=5.0, most=600.0)
MOST = 10_000
"""Alerts that are read at a start."""


class Way(Protocol):
    """One way to tell."""

    name: str
    breaker: Breaker

    async def tell(self, hub: str, alerts: Sequence[Alert]) -> None:
        """Tells of all of them at once; raises HubError when that did not work."""
        ...

    async def close(self) -> None: ...


def ways_of(settings: AlertSettings) -> list[Way]:
    found: list[Way] = []
    if settings.email is not None:
        found.append(MailWay(settings.email))
    if settings.webhook is not None:
        found.append(HookWay(settings.webhook))
    return found


class MailWay:
    """One mail for all that is new."""

    name = "email"

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self.breaker = Breaker(_AGAIN)

    async def tell(self, hub: str, alerts: Sequence[Alert]) -> None:
        s = self._settings
        password = s.password.get_secret_value() if s.password is not None else ""
        server = MailServer(s.host, s.port, s.tls, s.user, password, tls=TlsClient(ca=s.ca))
        await in_a_thread("mail", lambda: send_mail(server, s.sender, s.to, _subject(hub, alerts), _text(alerts)))

    async def close(self) -> None:
        pass


class HookWay:
    """One POST with JSON for all that is new."""

    name = "webhook"

    def __init__(self, settings: AlertHook) -> None:
        self._settings = settings
        self._client = HttpClient("alerts.webhook", auth=settings.auth, timeout=settings.timeout, tls=settings.tls)
        self.breaker = Breaker(_AGAIN)

    async def tell(self, hub: str, alerts: Sequence[Alert]) -> None:
        content = json.dumps({"hub": hub, "alerts": [line(alert) for alert in alerts]}).encode()
        await self._client.request("POST", self._settings.url, content=content, headers={"Content-Type": "application/json"})

    async def close(self) -> None:
        await self._client.close()


async def try_to_tell(way: Way, hub: str, alerts: Sequence[Alert]) -> bool:
    """True when they have been told; else its breaker says why and when to try again."""
    try:
        await way.tell(hub, alerts)
    except (ConnectionDown, MessageRejected) as error:
        way.breaker.failed(time.monotonic(), str(error), error.retry_after if isinstance(error, ConnectionDown) else None)
        return False
    except (HubError, OSError, ValueError) as error:
        way.breaker.failed(time.monotonic(), str(error) if isinstance(error, HubError) else type(error).__name__)
        return False
    way.breaker.worked()
    return True


def line(alert: Alert) -> dict[str, Any]:
    """An alert as programs get it."""
    meaning, help = CODES.get(alert.code, ("", ""))
    return {
        "state": "cleared" if alert.cleared_at else "raised",
        "code": alert.code,
        "where": alert.where,
        "text": alert.text,
        "meaning": meaning,
        "help": help,
        "raised_at": iso(alert.raised_at) if alert.raised_at else None,
        "cleared_at": iso(alert.cleared_at) if alert.cleared_at else None,
    }


def _subject(hub: str, alerts: Sequence[Alert]) -> str:
    """Of one alert what it is, of several how many; without line breaks, for it becomes a header."""
    if len(alerts) == 1:
        [alert] = alerts
        words = f"{'cleared' if alert.cleared_at else 'alert'}: {alert.where}, {CODES.get(alert.code, (alert.code,))[0]}"
    else:
        cleared = sum(alert.cleared_at is not None for alert in alerts)
        words = f"{len(alerts) - cleared} alerts raised, {cleared} cleared"
    return " ".join(f"Clinic Hub {hub}: {words}".split())


def _text(alerts: Sequence[Alert]) -> str:
    parts = []
    for alert in alerts:
        found = line(alert)
        when = (
            f"cleared {found['cleared_at']}, raised {found['raised_at']}" if alert.cleared_at else f"since {found['raised_at']}"
        )
        parts.append(f"{alert.code} {alert.where} ({when})\n{found['meaning']} {alert.text}\n{found['help']}\n")
    return "\n".join(parts) + "\n`hub status` shows how it is now; `hub explain CODE` says more.\n"


async def open_alerts(core: Core) -> list[Alert]:
    """Those that are raised, or of which somebody has still to be told, as the store has them."""
    found = await core.records.find(core.clinic.catalogue.records["alert"], "pending", "yes", MOST)
    return [record for record, _ in found if isinstance(record, Alert)]


def status_line(alert: Alert) -> dict[str, Any]:
    _, help = CODES.get(alert.code, ("", ""))
    since = iso(alert.raised_at) if alert.raised_at else None
    return {"code": alert.code, "where": alert.where, "text": alert.text, "since": since, "told": alert.told, "help": help}

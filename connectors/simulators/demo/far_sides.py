"""Everybody the hub of the demo talks to, each on a port of this machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Self

from connectors.simulators.clearinghouse import Clearinghouse
from connectors.simulators.demo.story import MEMBERS
from connectors.simulators.ehr import EhrServer
from connectors.simulators.fax_carrier import Carrier
from connectors.simulators.fax_carrier.documo import API_KEY as DOCUMO_KEY
from connectors.simulators.signer import DropboxSign, SigningService
from hub.bus.hub import Hub


@dataclass
class FarSides:
    """The partners of one clinic, opened together."""

    clearinghouse: Clearinghouse = field(default_factory=lambda: Clearinghouse(MEMBERS))
    signer: SigningService = field(default_factory=lambda: SigningService())  # noqa: PLW0108 - tests put others here
    carrier: Carrier = field(default_factory=lambda: Carrier())  # noqa: PLW0108 - tests put others here
    charts: EhrServer = field(default_factory=lambda: EhrServer())  # noqa: PLW0108 - tests put others here
    """The EHR where it takes documents."""
    _open: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> Self:
        for partner in (self.clearinghouse, self.signer, self.carrier, self.charts):
            await self._open.enter_async_context(partner)
        self.signer.facade(DropboxSign).not_ready = 0
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    def know(self, hub: Hub) -> None:
        """Where webhooks go, once the hub listens."""
        for source, hooks in (("signing_hooks", self.signer.hooks), ("fax_hooks", self.carrier.hooks)):
            listener = hub.sources[source]
            hooks.url = f"http://127.0.0.1:{getattr(listener, 'port', 0)}{getattr(listener.config, 'path', '')}"

    @property
    def places(self) -> dict[str, str]:
        """What the clinic file of the demo leaves open."""
        return {
            "@CLEARINGHOUSE@": str(self.clearinghouse.port),
            "@SIGNER@": str(self.signer.port),
            "@CARRIER@": str(self.carrier.port),
            "@CHARTS@": str(self.charts.port),
        }

    @property
    def secrets(self) -> dict[str, str]:
        """By which name the clinic file knows each."""
        return {
            "clearinghouse": "demo-secret",
            "signer": self.signer.facade(DropboxSign).api_key,
            "carrier": f"Basic {DOCUMO_KEY}",
            "hooks": self.carrier.hook_user.partition(":")[2],
        }

    @property
    def in_words(self) -> str:
        return (
            f"simulated are the clearinghouse (127.0.0.1:{self.clearinghouse.port}), a signing service ({self.signer.port}),"
            f" a fax carrier ({self.carrier.port}) and where the EHR takes documents ({self.charts.port})"
        )

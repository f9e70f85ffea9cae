"""The clearinghouse: its members, its ledger, and every way to ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from connectors.simulators.clearinghouse.core import CoreForm, CoreSoap
from connectors.simulators.clearinghouse.facade import Facade
from connectors.simulators.clearinghouse.faults import Faults
from connectors.simulators.clearinghouse.form_poll import FormPoll
from connectors.simulators.clearinghouse.json_v3 import JsonV3
from connectors.simulators.clearinghouse.ledger import Ledger
from connectors.simulators.clearinghouse.members import Member, MemberTable
from connectors.simulators.clearinghouse.raw import Raw
from connectors.simulators.server import Behaviour, Simulator

FACADES: tuple[type[Facade], ...] = (Raw, JsonV3, FormPoll, CoreSoap, CoreForm)
"""Every way to ask over HTTP."""


class Clearinghouse(Simulator):
    """The HTTP server with the addresses of its façades."""

    name = "clearinghouse"
    faults: Faults

    def __init__(
        self,
        members: Sequence[Member] = (),
        *,
        client_id: str = "demo",
        client_secret: str = "demo-secret",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(client_id=client_id, client_secret=client_secret, port=port, clock=clock)
        self.table = MemberTable(members, clock=clock)
        self.faults = Faults()
        self.ledger = Ledger(clock)
        self.under_way = 0
        """Questions that have come and are not answered yet."""
        self.facades = [made(self) for made in FACADES]

    @property
    def url(self) -> str:
        return f"{self.base}/x12/270"

    def reset(self, table: MemberTable | None = None) -> None:
        """As new, with other members: for tests that share a server."""
        self.table = table or MemberTable(clock=self.clock)
        self.behaviour, self.faults, self.requests = Behaviour(), Faults(), 0
        self.ledger.clear()

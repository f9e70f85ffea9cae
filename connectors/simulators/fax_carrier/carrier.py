"""The carrier: its table, its façades, and the webhooks by which it tells how a fax ended and that one came in."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from connectors.simulators.facade import Facade
from connectors.simulators.fax_carrier.documo import Documo
from connectors.simulators.fax_carrier.faxes import Fax, Faxes, Incoming, Stage
from connectors.simulators.fax_carrier.rest import Rest
from connectors.simulators.fax_carrier.srfax import Srfax
from connectors.simulators.hooks import Hook, Hooks
from connectors.simulators.server import Simulator


class Carrier(Simulator):
    """A fax carrier on a port of this machine."""

    name = "fax carrier"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.faxes = Faxes(self.clock)
        self.hooks = Hooks()
        self.hook_user = "hub:hook-secret"
        """`user:password` of the webhooks."""
        self.facades: list[Facade[Any]] = [Documo(self), Srfax(self), Rest(self)]
        self._tasks: set[asyncio.Task[None]] = set()

    def took(self, fax: Fax) -> None:
        """Tells how a fax ends, once it does."""
        for stage in fax.stages:
            if stage.state in ("sent", "failed"):
                task = asyncio.create_task(self._tell_later(fax, stage), name="a fax on its way")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def receive(self, sender: str, document: bytes, *, facade: str = "documo") -> Incoming:
        """A fax comes in, and the hub is told as the vendor of a façade does."""
        fax = self.faxes.receive(sender, document)
        told = next(known for known in self.facades if known.name == facade)
        if (hook := told.incoming(fax)) is not None:  # type: ignore[attr-defined]  # every façade of this family has it
            self.hooks.tell(hook)
        return fax

    async def settled(self) -> None:
        """Every fax has ended and every webhook is told."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.hooks.told()

    def signed(self, body: bytes, content_type: str = "application/json", **headers: str) -> Hook:
        """A webhook with user and password; a forged one has a wrong password."""
        basic = base64.b64encode(self.hook_user.encode()).decode()
        wrong = base64.b64encode(b"hub:guessed").decode()
        all_headers = {"Content-Type": content_type, "Authorization": f"Basic {basic}", **headers}
        return Hook(body, all_headers, forged={"Authorization": f"Basic {wrong}"})

    async def _tell_later(self, fax: Fax, stage: Stage) -> None:
        await asyncio.sleep(max(0.0, fax.at + stage.after - self.clock()))
        facade = next(known for known in self.facades if known.name == fax.facade)
        for hook in facade.ended(fax, stage):  # type: ignore[attr-defined]  # every façade of this family has it
            self.hooks.tell(hook)

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.hooks.close()
        await super().__aexit__(*error)

"""The signing service's HTTP server: what its façades share, the pace at which signers act, and webhooks."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from starlette.requests import Request

from connectors.simulators.hooks import Hooks
from connectors.simulators.server import Simulator
from connectors.simulators.signer.docusign import DocuSign
from connectors.simulators.signer.dropbox_sign import DropboxSign
from connectors.simulators.signer.envelopes import Envelope, Envelopes, Happened
from connectors.simulators.signer.facade import SigningFacade


class SigningService(Simulator):
    """A signing service with all its façades."""

    name: ClassVar[str] = "signing service"

    def __init__(self, *, pace: float = 0.02, **settings: Any) -> None:
        super().__init__(**settings)
        self.pace = pace
        """Seconds between what signers do; 0: nothing happens until `move` is called."""
        self.table = Envelopes(self.clock)
        self.hooks = Hooks()
        self._signing: tuple[SigningFacade, ...] = (DocuSign(self), DropboxSign(self))
        self.facades = self._signing
        self._moving: set[asyncio.Task[None]] = set()

    async def __aexit__(self, *error: object) -> None:
        for task in self._moving:
            task.cancel()
        await self.hooks.close()
        await super().__aexit__(*error)

    def begin(self, envelope: Envelope) -> None:
        """An envelope went out: its signers begin to act."""
        if self.pace:
            task = asyncio.create_task(self._act(envelope), name="signers")
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)

    async def _act(self, envelope: Envelope) -> None:
        while self.move(envelope):  # noqa: ASYNC110 - signers take their time
            await asyncio.sleep(self.pace)

    def move(self, envelope: Envelope) -> list[Happened]:
        """The next thing that signers do, told by webhook."""
        happened = self.table.step(envelope)
        for what in happened:
            self.tell(envelope, what)
        return happened

    def tell(self, envelope: Envelope, what: Happened) -> None:
        for facade in self._signing:
            if facade.name == envelope.facade and (hook := facade.hook(envelope, what)) is not None:
                self.hooks.tell(hook)

    def gives_token(self, request: Request, form: dict[str, str]) -> bool:
        return any(facade.allows(request, form) for facade in self._signing) or super().gives_token(request, form)

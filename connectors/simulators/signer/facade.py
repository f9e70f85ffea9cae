"""What the façades of the signing service share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from starlette.requests import Request

from connectors.simulators.facade import Facade
from connectors.simulators.hooks import Hook
from connectors.simulators.signer.envelopes import Envelope, Happened
from connectors.simulators.signer.pdf import page

if TYPE_CHECKING:
    from connectors.simulators.signer.server import SigningService  # noqa: F401 - named in a text below


class SigningFacade(Facade["SigningService"]):
    """One vendor's way to speak of envelopes."""

    @abstractmethod
    def hook(self, envelope: Envelope, what: Happened) -> Hook | None:
        """How the vendor tells of an event; None when it does not."""

    def allows(self, request: Request, form: dict[str, str]) -> bool:
        """Whether this façade gives a token for such a request."""
        return False

    def known(self, id: str) -> Envelope | None:
        envelope = self.house.table.by_id.get(id)
        return envelope if envelope is not None and envelope.facade == self.name else None

    def signed(self, envelope: Envelope) -> bytes:
        """The document with who signed it."""
        return page([envelope.title, *(name for name, _ in envelope.files), *self.lines(envelope)])

    def lines(self, envelope: Envelope) -> list[str]:
        return [f"{person.state}: {person.name} <{person.email}>" for person in envelope.people]

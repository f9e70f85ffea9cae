"""Which acknowledgements a message asks for: MSH-15 and MSH-16 (chapter 2, section 2.9.2; HL7 table 0155).

Neither: original mode, one acknowledgement AA, AE or AR.  MSH-15: an accept acknowledgement CA, CE or CR, sent when the
message is safe.  MSH-16: an application acknowledgement AA, AE or AR, a message of its own, sent when its work is done.
"""

from __future__ import annotations

from typing import NamedTuple

from hub.formats.hl7v2 import Hl7

ACKNOWLEDGEMENTS = ("ACK", "MCF")
"""Message types (MSH-9.1) that are acknowledgements and so are never acknowledged themselves."""
CONDITIONS = ("AL", "NE", "SU", "ER")
"""Table 0155: always, never, on success only, on error only."""


class Mode(NamedTuple):
    """The two conditions; empty when nothing is said."""

    accept: str
    application: str

    @property
    def original(self) -> bool:
        return not (self.accept or self.application)

    def accepts(self, *, failed: bool) -> bool:
        """True when an accept acknowledgement is wanted."""
        return _holds(self.accept, failed=failed)

    def applies(self, *, failed: bool) -> bool:
        """True when an application acknowledgement is wanted."""
        return self.original or _holds(self.application, failed=failed)


ORIGINAL = Mode("", "")


def mode_of(message: Hl7) -> Mode:
    accept, application = message.get("MSH-15"), message.get("MSH-16")
    return Mode(_condition(accept), _condition(application)) if accept or application else ORIGINAL


def is_acknowledgement(message: Hl7) -> bool:
    return (message.get("MSH-9.1") or "").strip().upper() in ACKNOWLEDGEMENTS


def _condition(value: str | None) -> str:
    """A code of table 0155; what is none counts as empty, so that its sender is not left without an answer."""
    code = (value or "").strip().upper()
    return code if code in CONDITIONS else ""


def _holds(condition: str, *, failed: bool) -> bool:
    return condition == "AL" or condition == ("ER" if failed else "SU")

"""What can go wrong at a clearinghouse beside what can at any partner (connectors/simulators/faults.py), and when.

house.faults.script("401", "429 after 2", "503", "ok")      the next requests, in order
Member(..., faults=("aaa 42 2100A", "silent after commit"))  the next inquiries about one member
X-Sim-Script: 503, slow 0.2                                  a header: the 1st, 2nd ... arrival of one question

stray                the answer to somebody else's question
lose                 what was taken is never spoken of again (batches)
core, fault          an ErrorCode of a CORE envelope with its HTTP status (`core SenderIDIllegal 500`), or a SOAP fault
                     (`fault Receiver`); nothing is done
aaa, ta1, 999        a rejection with its loop and follow-up (`aaa 72 2100C C`), a TA1 with its note (`ta1 006`), a 999
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from connectors.simulators import faults
from connectors.simulators.clearinghouse.inquiry import Inquiry


@dataclass(frozen=True, slots=True)
class Fault(faults.Fault):
    """One thing that goes wrong once."""

    code: str = ""
    """AAA03, TA105, ErrorCode, or the code of a SOAP fault."""
    loop: str = ""
    follow_up: str = ""
    """AAA04."""

    @property
    def before_commit(self) -> bool:
        return self.kind in ("core", "fault") or self.kind in faults.BEFORE_COMMIT


FINE = Fault()


def fault(word: str) -> Fault:
    """Raises ValueError for a word that is none: a test must not pass because of a typing mistake."""
    if (found_general := faults.general(word, Fault)) is not None:
        return found_general
    word = " ".join(word.split())
    if word in ("stray", "lose", "999"):
        return Fault(word)
    if found := re.fullmatch(r"aaa (\w\w)(?: (20\d\d[A-D]|2[01][01]0[A-D]))?(?: ([A-Z]))?", word):
        return Fault("aaa", code=found[1], loop=found[2] or "", follow_up=found[3] or "C")
    if found := re.fullmatch(r"ta1 (\d\d\d)", word):
        return Fault("ta1", code=found[1])
    if found := re.fullmatch(r"(core|fault) ([A-Za-z0-9]+)(?: (\d\d\d))?", word):
        return Fault(found[1], int(found[3] or 200), code=found[2])
    raise ValueError(f"the clearinghouse knows no fault {word!r}; see connectors/simulators/clearinghouse/faults.py")


class Faults(faults.Faults[Fault]):
    """Which fault is next."""

    def __init__(self) -> None:
        super().__init__(fault)

    def script_token(self, *words: str) -> None:
        """For the next requests of a token: a status, silent, drop, slow, empty or html."""
        self.script(*words, to="token")

    def script_batch(self, *words: str) -> None:
        """For the next batches: lose, twice, 999, ta1, slow or a status."""
        self.script(*words, to="batch")

    def next(self, inquiry: Inquiry, header: str = "", member: Iterable[str] = ()) -> Fault:
        """For one question that arrived: its own script, else that of its member, else that of the house."""
        number = inquiry.trace_number or inquiry.control_number
        words = list(member)
        if words and not header:
            found = self.of_script(("member", inquiry.payer, inquiry.member_id), words)
            if found is not None:
                return found
        return self.take("ask", header=header, about=(number,))

    def next_batch(self) -> Fault:
        return self.take_own("batch")

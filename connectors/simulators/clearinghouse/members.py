"""The member table: what the payers know, and what each question comes to, before it is written in any form."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from connectors.simulators.clearinghouse import x12
from connectors.simulators.clearinghouse.faults import FINE, Fault
from connectors.simulators.clearinghouse.inquiry import Inquiry, read_270

ReplyKind = Literal["271", "999", "TA1", "html", "empty"]


@dataclass(slots=True)
class Member:
    """One line of the member table: what the payer knows and says."""

    payer: str
    """NM109 of the payer."""
    member_id: str
    family: str
    given: str
    birth_date: str
    """YYYYMMDD."""
    sex: str = "U"
    plan: str = "PLAN"
    active: bool = True
    co_payment: str | None = None
    deductible_remaining: str | None = None
    group: str | None = None
    benefits: Sequence[str] = ()
    """Further segments, as they shall stand after the plan's own."""
    dependents: Sequence[tuple[str, str, str]] = ()
    """Given name, family name and birth date of those covered with the member."""
    unavailable: int = 0
    """So many inquiries are answered with AAA 42 first."""
    wrong_count: bool = False
    """The 271 has a wrong SE01."""
    reply: ReplyKind = "271"
    faults: Sequence[str] = ()
    """What goes wrong with the 1st, 2nd ... question about this member: words of faults.py."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One AAA."""

    code: str
    follow_up: str = "C"
    loop: str = ""
    """2000A, 2100A, 2100B, 2100C, 2100D, 2110C or 2110D."""


@dataclass(slots=True)
class Verdict:
    """What a question comes to; each façade writes it in its own form."""

    inquiry: Inquiry
    kind: ReplyKind = "271"
    member: Member | None = None
    """Who was found; None with a rejection."""
    rejections: list[Rejection] = field(default_factory=list)
    note: str = "006"
    """TA105."""
    wrong_count: bool = False
    service_date: str = ""
    """The day asked about, or today."""

    @property
    def end(self) -> str:
        """The word of the ledger for it."""
        return f"aaa {self.rejections[0].code}" if self.rejections else self.kind

    @property
    def dependent(self) -> tuple[str, str, str] | None:
        """Given name, family name and birth date of the dependent it is about."""
        asked = self.inquiry.dependent
        if self.member is None or not asked:
            return None
        return next((d for d in self.member.dependents if (d[0].upper(), d[1].upper()) == (asked[4], asked[3])), None)

    @property
    def benefits(self) -> list[str]:
        """The segments from the plan's dates on: DTP, EB and what belongs to each."""
        return x12.benefits(self)


class MemberTable:
    """Decides the answers."""

    def __init__(self, members: Sequence[Member] = (), *, clock: Callable[[], float] = time.time) -> None:
        self.members = {(m.payer, m.member_id): m for m in members}
        self.asked: list[Inquiry] = []
        self.clock = clock
        self.numbers: Iterator[int] = itertools.count(1)
        """Control numbers of what is answered."""
        self._unavailable: Counter[tuple[str, str]] = Counter()

    def answer(self, text: str) -> str:
        """The answer to a 270, as it goes back."""
        return self.write(self.decide(read_270(text)))

    def decide(self, inquiry: Inquiry, fault: Fault = FINE) -> Verdict:
        """What the payer says; a fault that has an answer of its own (AAA, TA1, 999, html, empty) goes before."""
        self.asked.append(inquiry)
        verdict = _of_fault(inquiry, fault) or self._about(inquiry)
        verdict.service_date = inquiry.service_date or time.strftime("%Y%m%d", time.localtime(self.clock()))
        return verdict

    def write(self, verdict: Verdict) -> str:
        """In X12, or a page where the verdict is one."""
        return x12.write(verdict, next(self.numbers), self.clock())

    def known(self, inquiry: Inquiry) -> Member | None:
        """Whom a question is about, by member id."""
        return self.members.get((inquiry.payer, inquiry.member_id))

    def _about(self, inquiry: Inquiry) -> Verdict:
        found = [member] if (member := self.known(inquiry)) else [] if inquiry.member_id else self._by_name(inquiry)
        if len(found) != 1:
            return _rejected(inquiry, "76" if found else "72" if inquiry.member_id else "75")
        member = found[0]
        key = (member.payer, member.member_id)
        if member.reply != "271":
            return Verdict(inquiry, member.reply, member)
        if self._unavailable[key] < member.unavailable:
            self._unavailable[key] += 1
            return _rejected(inquiry, "42", "R")
        if (code := _differs(inquiry, member)) is not None:
            return _rejected(inquiry, code)
        return Verdict(inquiry, "271", member, wrong_count=member.wrong_count)

    def _by_name(self, inquiry: Inquiry) -> list[Member]:
        """The search without an id: the whole name and the birth date."""
        name = tuple(inquiry.subscriber[3:5])
        return [
            m
            for m in self.members.values()
            if m.payer == inquiry.payer
            and (m.family.upper(), m.given.upper()) == name
            and f"22:{m.birth_date}" in inquiry.birth_dates
        ]


def _differs(inquiry: Inquiry, member: Member) -> str | None:
    """The AAA03 of what does not agree."""
    if inquiry.dependent:
        given, family = inquiry.dependent[4], inquiry.dependent[3]
        known = next((d for d in member.dependents if (d[0].upper(), d[1].upper()) == (given, family)), None)
        if known is None:
            return "77"
        return None if f"23:{known[2]}" in inquiry.birth_dates else "71"
    if inquiry.subscriber[3] and inquiry.subscriber[3] != member.family.upper():
        return "73"
    return None if f"22:{member.birth_date}" in inquiry.birth_dates else "71"


def _rejected(inquiry: Inquiry, code: str, follow_up: str = "C", loop: str = "") -> Verdict:
    loop = loop or ("2100D" if inquiry.dependent else "2100C")
    return Verdict(inquiry, rejections=[Rejection(code, follow_up, loop)])


def _of_fault(inquiry: Inquiry, fault: Fault) -> Verdict | None:
    match fault.kind:
        case "aaa":
            return _rejected(inquiry, fault.code, fault.follow_up, fault.loop)
        case "ta1":
            return Verdict(inquiry, "TA1", note=fault.code)
        case "999" | "html" | "empty":
            return Verdict(inquiry, fault.kind)
        case _:
            return None

"""Writes what a question comes to in X12: 271, 999 and TA1, with right counts unless told otherwise.

Deliberately written without the hub's own X12 code, so that a mistake there does not cancel itself out here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from connectors.simulators.clearinghouse.inquiry import Inquiry

if TYPE_CHECKING:
    from connectors.simulators.clearinghouse.members import Verdict

PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


def write(verdict: Verdict, number: int, now: float) -> str:
    """The answer to one question, in an interchange of its own."""
    match verdict.kind:
        case "271":
            return interchange(
                verdict.inquiry, "HB", [transaction_271(verdict, now)], number, now, more=3 * verdict.wrong_count
            )
        case "999":
            return interchange(verdict.inquiry, "FA", [acknowledgement("R")], number, now)
        case "TA1":
            return ta1(verdict.inquiry, verdict.note, number, now)
        case "html":
            return PAGE
        case _:
            return ""


def interchange(
    inquiry: Inquiry, code: str, transactions: Sequence[Sequence[str]], number: int, now: float, *, more: int = 0
) -> str:
    """An interchange back to the sender of a question; transactions begin after their ST, `more` makes SE01 wrong."""
    stamp = time.strftime("%y%m%d*%H%M", time.localtime(now))
    kind, version = {"HB": ("271", "005010X279A1"), "FA": ("999", "005010X231A1")}[code]
    group = f"GS*{code}*{inquiry.receiver.strip()}*{inquiry.sender.strip()}*20{stamp}*1*X*{version}"
    segments = [_isa(inquiry, stamp, number), group]
    for place, body in enumerate(transactions, 1):
        segments += [f"ST*{kind}*{place:04d}*{version}", *body, f"SE*{len(body) + 2 + more}*{place:04d}"]
    return "~".join([*segments, f"GE*{len(transactions)}*1", f"IEA*1*{number:09d}"]) + "~"


def ta1(inquiry: Inquiry, note: str, number: int, now: float) -> str:
    """A refusal of the whole interchange; note 000 accepts it."""
    stamp = time.strftime("%y%m%d*%H%M", time.localtime(now))
    verdict = "A" if note == "000" else "R"
    asked = f"{inquiry.control_number:0>9}"
    return f"{_isa(inquiry, stamp, number)}~TA1*{asked}*{stamp}*{verdict}*{note}~IEA*0*{number:09d}~"


def acknowledgement(verdict: str, sets: int = 1, group: str = "1") -> list[str]:
    """A 999 about a group, by its number (GS06): A accepts all of it, R finds every member id too long."""
    lines = [f"AK1*HS*{group}*005010X279A1"]
    for number in range(1, sets + 1):
        lines.append(f"AK2*270*{number:04d}*005010X279A1")
        lines += ["IK5*A"] if verdict == "A" else ["IK3*NM1*8**8", "IK4*9**1", "IK5*R*5"]
    return [*lines, f"AK9*{verdict}*{sets}*{sets}*{sets if verdict == 'A' else 0}"]


def transaction_271(verdict: Verdict, now: float) -> list[str]:
    """From BHT on; a rejection ends it where the level it stands in ends."""
    inquiry = verdict.inquiry
    said = {loop: [f"AAA*N**{r.code}*{r.follow_up}" for r in verdict.rejections if r.loop == loop] for loop in _LOOPS}
    top = next((loop for loop in _LOOPS if said[loop]), "")
    child = 0 if top in ("2000A", "2100A") else 1
    today = time.strftime("%Y%m%d*%H%M", time.localtime(now))
    lines = [f"BHT*0022*11*{inquiry.reference}*{today}", f"HL*1**20*{child}", *said["2000A"]]
    lines += [f"NM1*PR*2*{inquiry.payer_name}*****PI*{inquiry.payer}", *said["2100A"]]
    if not child:
        return lines
    lines += [f"HL*2*1*21*{0 if top == '2100B' else 1}", inquiry.provider, *said["2100B"]]
    return lines if top == "2100B" else [*lines, *_people(verdict, said, top)]


_LOOPS = ("2000A", "2100A", "2100B", "2100C", "2100D", "2110C", "2110D")


def _people(verdict: Verdict, said: dict[str, list[str]], top: str) -> list[str]:
    inquiry, member = verdict.inquiry, verdict.member
    trace = f"TRN*2*{inquiry.trace[2]}*{inquiry.trace[3]}" if len(inquiry.trace) > 3 else "TRN*2*0*9000000000"
    asked = "*".join(inquiry.subscriber) or "NM1*IL*1"
    subscriber = f"NM1*IL*1*{member.family.upper()}*{member.given.upper()}****MI*{member.member_id}" if member else asked
    group = [f"REF*6P*{member.group}"] if member and member.group else []
    rest = _rest(verdict, said)
    if not inquiry.dependent or top == "2100C":
        traces = [trace] if not inquiry.dependent else []
        birth = [f"DMG*D8*{member.birth_date}*{member.sex}"] if member else []
        return ["HL*3*2*22*0", *traces, subscriber, *group, *said["2100C"], *birth, *rest]
    dependent = "*".join(inquiry.dependent)
    relation = ["INS*N*19"] if member else []
    return ["HL*3*2*22*1", subscriber, *group, "HL*4*3*23*0", trace, dependent, *said["2100D"], *relation, *rest]


def _rest(verdict: Verdict, said: dict[str, list[str]]) -> list[str]:
    """What is said about the benefits, or why nothing is."""
    refused = said["2110C"] + said["2110D"]
    if refused:
        types = verdict.inquiry.service_types or ["30"]
        return [f"EB*V**{types[0]}", *refused]
    return benefits(verdict) if verdict.member else []


def benefits(verdict: Verdict) -> list[str]:
    """The plan's dates, its status and its money; empty when nobody was found."""
    member = verdict.member
    if member is None:
        return []
    lines = [f"DTP*346*D8*{verdict.service_date[:4]}0101", f"EB*{'1' if member.active else '6'}**30**{member.plan}"]
    if member.active and member.co_payment is not None:
        lines.append(f"EB*B**98***27*{member.co_payment}*****Y")
        lines.append(f"EB*B**98***27*{member.co_payment}5*****N")
    if member.active and member.deductible_remaining is not None:
        lines.append("EB*C*IND*30***23*1500*****Y")
        lines.append(f"EB*C*IND*30***29*{member.deductible_remaining}*****Y")
    return [*lines, *member.benefits]


def _isa(inquiry: Inquiry, stamp: str, number: int) -> str:
    blank = " " * 10
    addresses = f"ZZ*{inquiry.receiver:<15}*ZZ*{inquiry.sender:<15}"
    return f"ISA*00*{blank}*00*{blank}*{addresses}*{stamp}*^*00501*{number:09d}*0*T*:"

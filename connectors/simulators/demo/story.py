"""The story of the demo: its patients, what the payer knows of them, what happens, and how each visit has to come out.

All names and numbers are invented.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from connectors.simulators.clearinghouse import Member
from connectors.simulators.ehr import header, message, segment


@dataclass(frozen=True, slots=True)
class Visitor:
    """One patient of the day and the visit of tomorrow."""

    mrn: str
    family: str
    given: str
    born: str
    sex: str
    appointment: str
    time: str
    """Of tomorrow, HHMM."""
    expected: str
    """The outcome this visit has to reach."""
    co_payment: str | None = None
    deductible: str | None = None
    insurance: str | None = None
    """The IN1 segment, when there is one."""
    financial_class: str = ""
    type: str = "OFFICE"
    """Of the appointment."""
    email: str = ""
    """Where what is to be signed is sent; what its owner does stands in it (connectors/simulators/signer)."""


def _in1(plan: str, payer: str, name: str, member: str, *, relation: str = "SEL", insured: str = "", born: str = "") -> str:
    return segment("IN1", f1="1", f2=plan, f3=payer, f4=name, f16=insured, f17=relation, f18=born, f22="1", f36=member)


VISITORS: tuple[Visitor, ...] = (
    Visitor("10001", "ALVAREZ", "ROSA", "19790412", "F", "F-101", "0800", "covered", "25", "310.50", _in1("PPO", "60054", "AETNA", "W100200301"), type="FIRST VISIT", email="signs.rosa@example.com"),
    Visitor("10002", "BAKER", "TOM", "19651130", "M", "F-102", "0820", "inactive", insurance=_in1("HMO", "60054", "AETNA", "W100200302"), type="FIRST VISIT", email="declines.tom@example.com"),
    Visitor("10003", "CHEN", "LI", "19900101", "F", "F-103", "0840", "not_found", insurance=_in1("PPO", "60054", "AETNA", "W100200999")),
    Visitor("10004", "DIALLO", "AMINATA", "19840302", "F", "F-104", "0900", "mismatch", insurance=_in1("BASIC", "00710", "BLUE PLAN", "XB4471")),
    Visitor("10005", "EVANS", "GARETH", "19720919", "M", "F-105", "0920", "covered", "30", "0", _in1("BASIC", "00710", "BLUE PLAN", "XB4472")),
    Visitor(
        "10006", "FISCHER", "NOAH", "20150607", "M", "F-106", "0940", "covered", "20", "1200",
        _in1("PPO", "87726", "UNITED HEARTLAND", "UH99001", relation="CHD", insured="FISCHER^ANNA", born="19870222"),
    ),
    Visitor("10007", "GARCIA", "ELENA", "19480815", "F", "F-107", "1000", "covered_elsewhere", insurance=_in1("A", "MCR", "MEDICARE", "1EG4TE5MK73")),
    Visitor("10008", "HANSEN", "OLE", "19951212", "M", "F-108", "1020", "covered", "15", "75.25", _in1("PPO", "60054", "AETNA", "W100200308")),
    Visitor("10009", "IBRAHIM", "SARA", "19880808", "F", "F-109", "1040", "withdrawn", insurance=_in1("PPO", "60054", "AETNA", "W100200309")),
    Visitor("10010", "JONES", "MARY", "19700707", "F", "F-110", "1100", "covered", "25", "500", _in1("PPO", "60054", "AETNA", "W100200310")),
    Visitor("10011", "KIM", "JUN", "20010203", "M", "F-111", "1120", "withdrawn", insurance=_in1("PPO", "60054", "AETNA", "W100200311")),
    Visitor("10012", "LOPEZ", "MARIA", "19931014", "F", "F-112", "1140", "covered", "10", "40", _in1("PPO", "87726", "UNITED HEARTLAND", "UH99012")),
    Visitor("10013", "MURPHY", "SEAN", "19800229", "M", "F-113", "1300", "no_coverage_on_file"),
    Visitor("10014", "NOVAK", "PETRA", "19750505", "F", "F-114", "1320", "self_pay", financial_class="SP"),
    Visitor("10015", "OKAFOR", "GRACE", "19601021", "F", "F-115", "1340", "covered", "25", "0", _in1("PPO", "60054", "AETNA", "W100200315")),
    Visitor("10016", "PETROV", "IVAN", "19690101", "M", "F-116", "1400", "unclear", insurance=_in1("PPO", "99999", "PAYER NOBODY LISTED", "Z1")),
)  # fmt: skip
BY_APPOINTMENT = {v.appointment: v for v in VISITORS}

MEMBERS: tuple[Member, ...] = (
    Member("60054", "W100200301", "ALVAREZ", "ROSA", "19790412", "F", "CHOICE PPO", True, "25", "310.50", "GRP-7"),
    Member("60054", "W100200302", "BAKER", "TOM", "19651130", "M", "HMO SELECT", active=False),
    Member("00710", "XB4471", "DIALLO", "AMINATA", "19840203", "F", "BASIC"),
    Member("00710", "XB4472", "EVANS", "GARETH", "19720919", "M", "BASIC", True, "30", "0", unavailable=1),
    Member("87726", "UH99001", "FISCHER", "ANNA", "19870222", "F", "FAMILY PPO", True, "20", "1200", dependents=(("NOAH", "FISCHER", "20150607"),)),
    Member(
        "CMS", "1EG4TE5MK73", "GARCIA", "ELENA", "19480815", "F", "MEDICARE",
        benefits=(
            "EB*1**30*MA", "EB*1**30*MB", "EB*R**30*HN*SUNRISE ADVANTAGE", "LS*2120", "NM1*PRP*2*SUNRISE HEALTH PLAN*****PI*H1234", "LE*2120",
        ),
    ),
    Member("60054", "W100200308", "HANSEN", "OLE", "19951212", "M", "CHOICE PPO", True, "15", "75.25", wrong_count=True),
    Member("60054", "W100200309", "IBRAHIM", "SARA", "19880808", "F", "CHOICE PPO", True, "25", "100"),
    Member("60054", "W100200310", "JONES", "MARY", "19700707", "F", "CHOICE PPO", True, "25", "500"),
    Member("60054", "W100200311", "KIM", "JUN", "20010203", "M", "CHOICE PPO", True, "25", "100"),
    Member("87726", "UH99012", "LOPEZ", "MARIA", "19931014", "F", "PPO", True, "10", "40"),
    Member("60054", "W100200315", "OKAFOR", "GRACE", "19601021", "F", "CHOICE PPO", True, "25", "0"),
)  # fmt: skip


@dataclass(slots=True)
class Writer:
    """Writes the messages of the day, with control ids in order."""

    tomorrow: date
    number: int = 0
    sent: list[str] = field(default_factory=list)

    def _header(self, type: str) -> str:
        self.number += 1
        return header(type, f"D{self.number:05d}")

    def _pid(self, visitor: Visitor, mrn: str = "") -> str:
        return segment(
            "PID",
            f1="1",
            f3=f"{mrn or visitor.mrn}^^^RIVER^MR",
            f5=f"{visitor.family}^{visitor.given}",
            f7=visitor.born,
            f8=visitor.sex,
            f13=f"^NET^Internet^{visitor.email}" if visitor.email else "",
        )

    def registration(self, visitor: Visitor, trigger: str, *, insurance: str | None = None, mrn: str = "") -> bytes:
        in1 = insurance if insurance is not None else visitor.insurance
        parts = [self._header(f"ADT^{trigger}"), segment("EVN", f1=trigger), self._pid(visitor, mrn)]
        parts.append(segment("PV1", f1="1", f2="O", f20=visitor.financial_class))
        return message(*parts, *([in1] if in1 else []))

    def merge(self, visitor: Visitor, retired: str) -> bytes:
        mrg = segment("MRG", f1=f"{retired}^^^RIVER^MR")
        return message(self._header("ADT^A40"), segment("EVN", f1="A40"), self._pid(visitor), mrg)

    def booking(self, visitor: Visitor, trigger: str, *, day: date | None = None, time: str = "", mrn: str = "") -> bytes:
        starts = f"{(day or self.tomorrow).strftime('%Y%m%d')}{time or visitor.time}"
        status = {"S15": "Cancelled", "S26": "Noshow"}.get(trigger, "Booked")
        sch = segment(
            "SCH",
            f1=f"P{visitor.appointment}",
            f2=visitor.appointment,
            f6="ROUTINE",
            f8=visitor.type,
            f11=f"^^^{starts}",
            f25=status,
        )
        ais = segment("AIS", f1="1", f3=visitor.type, f4=starts)
        return message(
            self._header(f"SIU^{trigger}"),
            sch,
            self._pid(visitor, mrn),
            segment("PV1", f1="1", f2="O"),
            segment("RGS", f1="1"),
            ais,
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A few messages and what they are about."""

    title: str
    messages: tuple[bytes, ...]


def scenes(tomorrow: date) -> list[Scene]:
    """The day, in order."""
    w = Writer(tomorrow)
    v = BY_APPOINTMENT
    early = [x for x in VISITORS if x.appointment not in ("F-112", "F-115")]
    wrong_member = _in1("PPO", "60054", "AETNA", "W100200000")
    return [
        Scene("08:00  The EHR sends the charts of tomorrow's patients (ADT A04, A28)", tuple(
            w.registration(x, "A28" if i % 3 == 2 else "A04", insurance=wrong_member if x.appointment == "F-110" else None)
            for i, x in enumerate(early)
        )),
        Scene("08:05  Grace Okafor has two charts: the old one was never closed", (
            w.registration(v["F-115"], "A04", mrn="00077"), w.registration(v["F-115"], "A04", insurance=""),
        )),
        Scene("08:10  The front desk books tomorrow's visits (SIU S12)", tuple(
            w.booking(x, "S12", day=tomorrow + timedelta(days=2) if x.appointment == "F-108" else None, mrn="00077" if x.appointment == "F-115" else "")
            for x in VISITORS if x.appointment != "F-112"
        )),
        Scene("08:20  A booking comes before its chart: the hub does not know Maria Lopez yet", (w.booking(v["F-112"], "S12"),)),
        Scene("08:25  Her chart follows, with her insurance (ADT A04)", (w.registration(v["F-112"], "A04"),)),
        Scene("08:30  Mary Jones' member id was mistyped; the EHR sends the correction (ADT A08)", (w.registration(v["F-110"], "A08"),)),
        Scene("08:40  Ole Hansen can come sooner: moved to tomorrow (SIU S13)", (w.booking(v["F-108"], "S13"),)),
        Scene("08:45  Sara Ibrahim cancels (SIU S15), Jun Kim is marked as a no-show (SIU S26)", (
            w.booking(v["F-109"], "S15"), w.booking(v["F-111"], "S26"),
        )),
        Scene("08:50  The two charts of Grace Okafor become one (ADT A40)", (w.merge(v["F-115"], "00077"),)),
    ]  # fmt: skip

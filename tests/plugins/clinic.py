"""A clinic to test workflows in: messages as an EHR writes them, a hub, a simulated clearinghouse, looks into the store."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connectors.simulators.clearinghouse import Clearinghouse, Inquiry, Member, MemberTable, Verdict
from connectors.simulators.ehr import Answer, EhrClient, header, message, segment
from hub import Appointment, CoverageCheck, Patient, WorklistItem
from hub.bus.hub import Hub
from hub.clinic import Clinic as LoadedClinic, load_clinic
from tests.support import ask, clinic_folder, port_of, until

ZONE = ZoneInfo("America/Chicago")
DAY = datetime.now(ZONE).date() + timedelta(days=10)
"""The day of most visits: far enough that midnight during a test changes nothing."""

NEAR = datetime.now(ZONE).date() + timedelta(days=1)
"""The day of visits for which a person has to find out what the payer does not tell."""

PATIENCE = 40.0
"""Seconds; longer than the 30 after which a hub looks at what is due whatever happened, so that only what is lost fails."""

VISITS = """
connections:
  ehr: {kind: mllp_listener, port: "0"@EHR@}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}]
"""

ELIGIBILITY = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"@EHR@}
  clearinghouse:
    vendor: availity
    kind: http
    url: http://127.0.0.1:@PORT@/x12/270
    auth: {token_url: "http://127.0.0.1:@PORT@/token", client_id: demo, client_secret: {$file: secret}}
    retry: {first: 30ms, most: 100ms, attempts: "3"}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: @PLAN@}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {ask: clearinghouse}, {map: 271_to_coverage}, {save: coverage_check}, {worklist: front_desk}]
  eligibility_failures:
    from: {failed: eligibility}
    steps: [check_failed, {worklist: it}]
"""
PLAN = "{on_booking: true, fresh_for: 24h, retry_after: [50ms, 100ms]}"
PAYERS = """payer,name,clearinghouse_id,also,service_types,check,medicare
60054,Aetna,60054,AETNA,30 98,yes,
CMS,Medicare,CMS01,MCR,30,yes,yes
REFUSES,Refusing Mutual,REF01,,30,yes,
PAPER,Paper Mutual,,,,no,
SELF,Pays himself,,SELFPAY,,self_pay,
"""


# Messages.

_numbers = itertools.count(1)


def control_id() -> str:
    return f"T{next(_numbers):06d}"


def pid(
    *identifiers: str, family: str = "DOE", given: str = "JANE", born: str = "19800229", sex: str = "F", **more: str
) -> str:
    """`pid("42^^^RIVER^MR", "7^^^LAKE^MR")`; none for a PID without any number."""
    return segment("PID", f1="1", f3="~".join(identifiers), f5=f"{family}^{given}", f7=born, f8=sex, **more)


def mrn(number: str, authority: str = "RIVER") -> str:
    return f"{number}^^^{authority}^MR"


def adt(trigger: str, *segments: str) -> bytes:
    return message(header(f"ADT^{trigger}", control_id()), segment("EVN", f1=trigger), *segments)


def in1(
    member: str = "W100",
    payer: str = "60054",
    *,
    plan: str = "PPO",
    name: str = "AETNA",
    priority: str = "",
    group: str = "",
    relation: str = "SEL",
    insured: str = "",
    born: str = "",
) -> str:
    return segment(
        "IN1", f1="1", f2=plan, f3=payer, f4=name, f8=group, f16=insured, f17=relation, f18=born, f22=priority, f36=member
    )


def siu(
    trigger: str,
    appointment: str,
    starts: datetime | None,
    *segments: str,
    placer: str = "",
    status: str = "",
) -> bytes:
    """A booking; `starts` is written in the clinic's own time, without an offset, as most senders do."""
    stamp = f"^^^{starts.strftime('%Y%m%d%H%M')}" if starts else ""
    sch = segment("SCH", f1=placer, f2=appointment, f8="OFFICE", f11=stamp, f25=status)
    return message(header(f"SIU^{trigger}", control_id()), sch, *segments)


def at(hour: int, minute: int = 0, day: date = DAY) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE)


# The clearinghouse.


class RecordingTable(MemberTable):
    """A member table that remembers what it answered, and can be told to answer something else."""

    def __init__(self, members: Sequence[Member] = ()) -> None:
        super().__init__(members)
        self.answers: list[str] = []
        self.instead: dict[str, list[str]] = {}
        """By member id: further segments after the patient's name, in place of everything the payer would say."""
        self.trace: dict[str, str] = {}
        """By member id: a trace number that is not the one that was asked with."""
        self.payer_says: dict[str, str] = {}
        """By member id: a segment after the payer's name (loop 2100A), with which the answer ends."""
        self.times: list[float] = []
        """When each inquiry came."""

    def write(self, verdict: Verdict) -> str:
        self.times.append(time.monotonic())
        reply = super().write(verdict)
        inquiry = verdict.inquiry
        if inquiry.member_id in self.trace:
            reply = reply.replace(f"*{inquiry.trace[2]}*", f"*{self.trace[inquiry.member_id]}*")
        if inquiry.member_id in self.instead:
            head = reply.partition("~AAA*")[0] if "~AAA*" in reply else reply.partition("~DTP*346")[0]
            reply = _finish(head, self.instead[inquiry.member_id], reply)
        if inquiry.member_id in self.payer_says:
            reply = _finish(reply.partition("~HL*2*")[0], [self.payer_says[inquiry.member_id]], reply)
        self.answers.append(reply)
        return reply

    def about(self, member: str) -> list[Inquiry]:
        return [inquiry for inquiry in self.asked if inquiry.member_id == member]


def _finish(head: str, segments: Sequence[str], reply: str) -> str:
    """An answer that goes on differently after its head; counts stay right."""
    count = head[head.index("~ST*") :].count("~") + len(segments) + 1
    return f"{head}~{'~'.join(segments)}~SE*{count}*0001{reply[reply.index('~GE*') :]}"


@dataclass(frozen=True)
class Shared:
    """What the tests of a module share."""

    clearinghouse: Clearinghouse
    empty: Path
    """A folder with an empty store and its key."""


SHARED: list[Shared] = []
"""Filled by conftest.py while the tests of a module run."""


def with_empty_store(folder: Path) -> None:
    """A folder that has no store yet gets an empty one."""
    if not (folder / "var").exists():
        shutil.copytree(SHARED[0].empty / "var", folder / "var")
        shutil.copy(SHARED[0].empty / "hub.key", folder / "hub.key")


# The clinic.


@dataclass
class Clinic:
    """A running hub with its EHR and, for eligibility, its clearinghouse."""

    hub: Hub
    ehr: EhrClient
    clearinghouse: Clearinghouse | None = None
    table: RecordingTable = field(default_factory=RecordingTable)

    async def say(self, *bodies: bytes) -> None:
        """Sends messages one after another; each has to be accepted."""
        for body in bodies:
            answer: Answer = await self.ehr.send(body)
            assert answer.code == "AA", answer.raw

    async def tell(self, *bodies: bytes) -> None:
        """Sends messages one after another, and waits after each until everything that follows from it has been done."""
        for body in bodies:
            await self.say(body)
            await self.quiet()

    async def quiet(self, timeout: float = PATIENCE) -> None:
        """Nothing is open, nothing is due, and nothing was committed while we looked."""

        async def nothing_to_do() -> bool:
            """Looks twice: what one flow did between two looks has planned or opened something that the second look sees."""
            before, reader = self.hub.core.journal.commits, self.hub.core.reader
            for _ in range(2):
                now = int(datetime.now(ZONE).timestamp() * 1_000_000)
                if await reader.due_until(now, 1) or await reader.open_targets():
                    return False
            return self.hub.core.journal.commits == before

        await until(nothing_to_do, timeout)

    async def patient(self, number: str, authority: str = "RIVER") -> Patient | None:
        """The chart that is found under a number."""
        found = await self.hub.core.context("test").find(Patient, "identifier", f"{authority}|{number}")
        assert len(found) <= 1, "a number belongs to several charts"
        return found[0] if found else None

    async def charts(self, number: str) -> list[Patient]:
        return await self.hub.core.context("test").find(Patient, "number", number)

    async def booking(self, appointment: str) -> Appointment | None:
        return await self.hub.core.context("test").get(Appointment, appointment)

    async def check(self, appointment: str) -> CoverageCheck:
        found = await self.hub.core.context("test").get(CoverageCheck, appointment)
        assert found is not None, f"no check is known for {appointment}"
        return found

    async def outcome(self, appointment: str) -> str | None:
        found = await self.hub.core.context("test").get(CoverageCheck, appointment)
        return found.outcome if found is not None else None

    async def reaches(self, appointment: str, outcome: str, timeout: float = PATIENCE) -> None:
        async def is_there() -> bool:
            return await self.outcome(appointment) == outcome

        await until(is_there, timeout)

    async def card(self, appointment: str) -> dict[str, Any]:
        """What a coordinator sees of one visit."""
        found: dict[str, Any] = await ask(self.hub, "eligibility.show", appointment=appointment)
        return found

    async def to_do(self, appointment: str | None = None, **params: Any) -> list[dict[str, Any]]:
        """What the worklist says, of all or of one visit."""
        items: list[dict[str, Any]] = await ask(self.hub, "worklist.list", **params)
        return [item for item in items if appointment is None or item["appointment"] == appointment]

    async def all_items(self, appointment: str) -> list[WorklistItem]:
        """Open and closed items of a visit."""
        return await self.hub.core.context("test").find(WorklistItem, "appointment", appointment, limit=1000)

    async def quarantined(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await ask(self.hub, "messages.list", state="quarantined")
        return found


_READ: dict[str, LoadedClinic] = {}
"""By text: clinic files that were read before; most tests use the same few."""


def read_clinic(file: Path) -> LoadedClinic:
    text = file.read_text(encoding="utf-8")
    if (payers := file.parent / "payers.csv").exists():
        text += payers.read_text(encoding="utf-8")
    if text not in _READ:
        _READ[text] = load_clinic(file)
    settings = replace(_READ[text].settings, file=file, key=file.parent / "hub.key")
    return replace(_READ[text], settings=settings)


@asynccontextmanager
async def quick_hub(file: Path) -> AsyncIterator[Hub]:
    """A hub in this process, on an empty store that need not be made, with a clinic file that need not be read again."""
    with_empty_store(file.parent)
    hub = Hub(read_clinic(file))
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


@asynccontextmanager
async def visits(folder: Path, *, ehr: str = "") -> AsyncIterator[Clinic]:
    """A hub that keeps patients and appointments; `ehr` has further settings of its listener."""
    file = clinic_folder(folder, VISITS.replace("@EHR@", f", {ehr}" if ehr else ""))
    async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        yield Clinic(hub, client)


def eligibility_file(
    folder: Path,
    clearinghouse_port: int,
    *,
    plan: str = PLAN,
    ehr: str = "",
    ehr_port: int = 0,
    connections: str = "",
    flows: str = "",
    last_step: str = "",
    payers: str = PAYERS,
) -> Path:
    """`connections` and `flows` are further lines of the clinic file, indented by two blanks; `last_step` ends a check."""
    text = ELIGIBILITY.replace("connections:\n", f"connections:\n{connections}") + flows
    if last_step:
        text = text.replace("{worklist: front_desk}]", f"{{worklist: front_desk}}, {last_step}]")
    text = text.replace("@PORT@", str(clearinghouse_port)).replace("@PLAN@", plan).replace("@IN@", str(ehr_port))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret").write_text("demo-secret", encoding="utf-8")
    return clinic_folder(folder, text.replace("@EHR@", f", {ehr}" if ehr else ""), payers=payers)


@asynccontextmanager
async def eligibility(
    folder: Path,
    *members: Member,
    plan: str = PLAN,
    connections: str = "",
    flows: str = "",
    last_step: str = "",
    payers: str = PAYERS,
) -> AsyncIterator[Clinic]:
    """A hub that checks coverage, and a payer that knows these members."""
    clearinghouse = SHARED[0].clearinghouse
    table = RecordingTable(members)
    clearinghouse.reset(table)
    more = {"connections": connections, "flows": flows, "last_step": last_step, "payers": payers}
    file = eligibility_file(folder, clearinghouse.port, plan=plan, **more)
    async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        yield Clinic(hub, client, clearinghouse, table)


def jane(**changes: Any) -> Member:
    """The payer's record of the patient `pid()` speaks of by default."""
    return Member(
        **({"payer": "60054", "member_id": "W100", "family": "DOE", "given": "JANE", "birth_date": "19800229", "sex": "F",
            "plan": "CHOICE PPO", "co_payment": "25", "deductible_remaining": "310.50"} | changes)
    )  # fmt: skip

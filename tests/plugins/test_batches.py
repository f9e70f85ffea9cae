"""Payers that take batches: questions leave in one file at their time; answers, refusals and silence have their rules.

The times of a batch are moved, not waited for: `comes` makes what is planned due now.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.clearinghouse import BatchDrop, Clearinghouse, read_270s
from connectors.simulators.ehr import EhrClient
from hub.clinic import examine
from hub.store.rows import Write
from plugins.eligibility.batches import JOB, BatchQuestion, BatchRules, EligibilityBatch, answers_by
from tests.connectors.sftp_server import PASSWORD, SftpServer
from tests.plugins.clinic import (
    DAY,
    ZONE,
    Clinic,
    RecordingTable,
    adt,
    at,
    in1,
    jane,
    mrn,
    pid,
    quick_hub,
    siu,
    with_empty_store,
)
from tests.support import HubProcess, ask, clinic_folder, environment, port_of, until

PAYERS = """payer,name,clearinghouse_id,also,service_types,check,zone,batch
60054,Aetna,60054,AETNA,30 98,yes,America/New_York,20:30
CMS,Medicare,CMS01,MCR,30,yes,,
"""
FOLDERS = """
  drop: {kind: folder, path: "@FOLDER@/inbox", name: "{id}.270"}
  pickup: {kind: folder, path: "@FOLDER@/outbox", format: x12, every: 20ms, stable_for: 0s}
"""
TEXT = """
connections:
  ehr: {kind: mllp_listener, port: "@EHR@"}
  realtime: {kind: folder, path: "@FOLDER@/realtime"}@CONNECTIONS@
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {patience: 1h, retry_after: [50ms]}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {collect_batch: {to: drop, @MORE@}}, {send: realtime}]
  batches:
    from: {due: eligibility_batch}
    steps: [send_batch]
  answers:
    from: pickup
    steps: [match_answers, {map: 271_to_coverage}, {save: coverage_check}, {worklist: front_desk}]
"""


def clinic_file(folder: Path, *, more: str = 'again: "1"', connections: str = FOLDERS, ehr: str = "0") -> Path:
    for name in ("inbox", "outbox", "realtime"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    text = TEXT.replace("@CONNECTIONS@", connections.rstrip()).replace("@FOLDER@", str(folder))
    return clinic_folder(folder, text.replace("@MORE@", more).replace("@EHR@", ehr), payers=PAYERS)


@dataclass
class Desk(Clinic):
    """A clinic whose payer takes batches: dropped into a folder, answered in another by a simulated clearinghouse."""

    folder: Path = Path()
    house: Clearinghouse | None = None

    async def due(self, kind: str) -> list[Any]:
        """Planned files (`file`) or looks after answers (`answers`)."""
        rows = await self.hub.core.reader.due_until(2**62, 10_000)
        return [self.hub.core.bodies.due(row) for row in rows if row.job == JOB and row.key.startswith(f"{kind}/")]

    async def comes(self, kind: str) -> None:
        """Their time comes, and all that follows is done."""
        planned = [replace(due, at=datetime.now(UTC)) for due in await self.due(kind)]
        assert planned, f"no {kind} is planned"
        await self.hub.core.journal.commit(Write(due=[self.hub.core.bodies.due_row(due) for due in planned]))
        await self.hub.due.look()
        await self.quiet()

    def files(self) -> list[str]:
        """What lies in the drop folder, oldest first."""
        found = [path.read_text() for path in (self.folder / "inbox").glob("[!.]*")]
        return sorted(found, key=lambda text: next(iter(read_270s(text))).control_number)

    async def works(self) -> None:
        """The clearinghouse takes what was dropped and answers it; the hub has picked up and done everything."""
        assert self.house is not None
        BatchDrop(self.house, self.folder / "inbox", self.folder / "outbox").look()
        await until(lambda: not [path for path in (self.folder / "outbox").rglob("*") if path.is_file()])
        await self.quiet()

    async def answered(self, *texts: str) -> None:
        """Somebody drops a file of these interchanges into the pick-up folder."""
        (self.folder / "part").write_text("".join(texts), encoding="utf-8")
        (self.folder / "part").rename(self.folder / "outbox" / f"{self.hub.core.journal.commits}.edi")
        await until(lambda: not [path for path in (self.folder / "outbox").rglob("*") if path.is_file()])
        await self.quiet()

    async def outcomes(self, count: int) -> list[str | None]:
        return [await self.outcome(f"F-{number}") for number in range(1, count + 1)]

    async def batches(self) -> list[EligibilityBatch]:
        looks = [due.payload["batch"] for due in await self.due("answers")]
        found = [await self.hub.core.context("test").get(EligibilityBatch, number) for number in sorted(looks)]
        return [batch for batch in found if batch is not None]

    async def waiting(self, appointment: str) -> BatchQuestion | None:
        return await self.hub.core.context("test").get(BatchQuestion, appointment)


def members(count: int) -> list[Any]:
    return [jane(member_id=f"W{number}", given="JANE") for number in range(1, count + 1)]


@asynccontextmanager
async def desk(folder: Path, count: int = 3, *, more: str = 'again: "1"') -> AsyncIterator[Desk]:
    """With so many visits booked, and their questions collected."""
    async with quick_hub(clinic_file(folder, more=more)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        table = RecordingTable(members(count))
        house = Clearinghouse()
        house.table = table
        clinic = Desk(hub, client, folder=folder, table=table, house=house)
        for number in range(1, count + 1):
            await booked(clinic, number)
        yield clinic


async def booked(clinic: Clinic, number: int, *, day: date = DAY, payer: str = "60054", member: str = "") -> None:
    patient = pid(mrn(str(number)))
    await clinic.tell(adt("A04", patient, in1(member or f"W{number}", payer)))
    await clinic.tell(siu("S12", f"F-{number}", at(9, day=day), patient))


def traces(text: str) -> list[str]:
    return [inquiry.trace[2] for inquiry in read_270s(text)]


# Collecting and sending.


async def test_questions_wait_for_their_time_and_leave_in_one_file(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        assert await clinic.outcomes(3) == ["pending"] * 3
        assert clinic.files() == []
        (planned,) = await clinic.due("file")
        assert planned.at.astimezone(ZONE).strftime("%H:%M") == "19:30", "20:30 in New York"
        await clinic.comes("file")
        (text,) = clinic.files()
        assert len(set(traces(text))) == 3
        assert re.findall(r"~ST\*270\*(\d+)", text) == ["0001", "0002", "0003"]
        checks = [await clinic.check(f"F-{number}") for number in (1, 2, 3)]
        assert [check.attempts[-1].set_number for check in checks] == ["0001", "0002", "0003"]
        assert len({check.attempts[-1].control_number for check in checks}) == 1
        await clinic.works()
        assert await clinic.outcomes(3) == ["covered"] * 3
        assert await clinic.to_do() == []


async def test_a_file_has_no_more_questions_than_it_may_and_no_question_is_in_two(tmp_path: Path) -> None:
    async with desk(tmp_path, 7, more='most: "3"') as clinic:
        await clinic.comes("file")
        files = clinic.files()
        assert sorted(len(traces(text)) for text in files) == [1, 3, 3]
        assert len({trace for text in files for trace in traces(text)}) == 7
        assert len({next(iter(read_270s(text))).control_number for text in files}) == 3
        assert await clinic.due("file") == []
        await clinic.works()
        assert await clinic.outcomes(7) == ["covered"] * 7


async def test_a_payer_without_batches_is_asked_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path, 0) as clinic:
        await booked(clinic, 1, payer="CMS")
        assert len(list((tmp_path / "realtime").glob("[!.]*"))) == 1
        assert await clinic.due("file") == []


async def test_a_visit_before_the_answer_would_be_there_is_asked_about_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path, 0) as clinic:
        await booked(clinic, 1, day=datetime.now(ZONE).date())
        await booked(clinic, 2)
        realtime = [path.read_text() for path in (tmp_path / "realtime").glob("[!.]*")]
        assert [next(iter(read_270s(text))).member_id for text in realtime] == ["W1"]
        assert await clinic.waiting("F-1") is None


async def test_nobody_is_told_that_an_answer_is_missing_before_it_is_due(tmp_path: Path) -> None:
    """The plan's patience of an hour is for payers that answer at once."""
    async with desk(tmp_path, 1) as clinic:
        (file,) = await clinic.due("file")
        rows = await clinic.hub.core.reader.due_until(2**62, 100)
        patience = [clinic.hub.core.bodies.due(row).at for row in rows if "unanswered" in row.key]
        assert len(patience) == 1
        assert patience[0] > answers_by(file.at)


async def test_a_person_does_not_wait_for_the_batch(tmp_path: Path) -> None:
    async with desk(tmp_path, 2) as clinic:
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await until(lambda: list((tmp_path / "realtime").glob("[!.]*")))
        await clinic.quiet()
        await clinic.comes("file")
        assert [inquiry.member_id for inquiry in read_270s(clinic.files()[0])] == ["W2"], "what is out is not asked again"


@pytest.mark.parametrize("to", ["nowhere", "pickup", "ehr"])
def test_a_destination_that_is_none_is_told_before_anything_runs(to: str, tmp_path: Path) -> None:
    file = clinic_file(tmp_path)
    file.write_text(file.read_text().replace("to: drop", f"to: {to}"))
    errors = [problem.text for problem in examine(file).errors]
    assert bool(errors) == (to != "pickup"), "a folder can do both"


async def test_a_question_that_is_none_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with desk(tmp_path, 2) as clinic:
        known = await clinic.waiting("F-1")
        assert known is not None
        context = clinic.hub.core.context("test")
        await context.get(BatchQuestion, "F-1")
        await context.put(known.model_copy(update={"body": b"ISA*broken"}))
        await clinic.hub.core.journal.commit(clinic.hub.core.write_of(context.changes, context.now))
        await clinic.comes("file")
        assert [inquiry.member_id for inquiry in read_270s(clinic.files()[0])] == ["W2"]
        assert await clinic.quarantined() == []


async def test_steps_that_stand_in_the_wrong_place_say_where_they_belong(tmp_path: Path) -> None:
    file = clinic_file(tmp_path)
    text = file.read_text().replace("from: pickup\n    steps: [", "from: pickup\n    steps: [send_batch, ")
    file.write_text(text)
    async with quick_hub(file) as hub:
        clinic = Desk(hub, None, folder=tmp_path)  # type: ignore[arg-type]  # nothing is said
        await clinic.answered("ISA*nothing")
        (message,) = await clinic.quarantined()
        shown = await ask(hub, "messages.show", id=message["id"])
    assert "ELG-012" in str(shown) or "send_batch works on due batches" in str(shown)


async def test_what_was_cancelled_or_asked_anew_stays_behind(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await clinic.tell(siu("S15", "F-1", None, pid(mrn("1"))))
        await clinic.tell(adt("A08", pid(mrn("2")), in1("W3")))
        await clinic.comes("file")
        (text,) = clinic.files()
        assert sorted(inquiry.member_id for inquiry in read_270s(text)) == ["W3", "W3"], "F-2 with its new number, and F-3"
        cancelled = await clinic.waiting("F-1")
        assert cancelled is not None
        assert (cancelled.queue, cancelled.body) == ("", b""), "nothing is kept of what nobody asks"


async def test_nothing_left_to_ask_sends_no_file(tmp_path: Path) -> None:
    async with desk(tmp_path, 1) as clinic:
        await clinic.tell(siu("S15", "F-1", None, pid(mrn("1"))))
        await clinic.comes("file")
        assert clinic.files() == []
        assert await clinic.due("answers") == []


# Answers.


async def test_answers_may_come_in_parts_twice_and_out_of_order(tmp_path: Path) -> None:
    async with desk(tmp_path, 4) as clinic:
        await clinic.comes("file")
        (text,) = clinic.files()
        singles = [clinic.table.answer(_alone(text, place)) for place in range(4)]
        await clinic.answered(singles[2])
        assert await clinic.outcomes(4) == ["pending", "pending", "covered", "pending"]
        await clinic.answered(singles[3], singles[0])
        before = [await clinic.check(f"F-{number}") for number in (1, 3, 4)]
        await clinic.answered(singles[0], singles[2], singles[3], singles[0])
        assert [await clinic.check(f"F-{number}") for number in (1, 3, 4)] == before
        assert await clinic.outcomes(4) == ["covered", "pending", "covered", "covered"]
        await clinic.answered(singles[1])
        assert await clinic.outcomes(4) == ["covered"] * 4
        assert await clinic.to_do() == []
        await clinic.comes("answers")
        assert await clinic.to_do() == []
        assert await clinic.due("answers") == [], "nothing is missing: nobody looks again"
        question = await clinic.waiting("F-1")
        assert question is not None
        assert question.body == b""


def _alone(text: str, place: int) -> str:
    """The question at this place of a file, in an interchange of its own."""
    head, *sets = re.split(r"(?=ST\*270)", text)
    own, _, tail = sets[place].partition("~GE*")
    rest = tail or sets[-1].partition("~GE*")[2]
    return f"{head}{own.rstrip('~')}~GE*{rest}"


async def test_a_batch_answered_twice_is_answered_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        assert clinic.house is not None
        clinic.house.faults.script_batch("twice")
        await clinic.comes("file")
        await clinic.works()
        assert await clinic.outcomes(3) == ["covered"] * 3
        assert [len((await clinic.check(f"F-{number}")).attempts) for number in (1, 2, 3)] == [1, 1, 1]
        assert await clinic.to_do() == []


async def test_a_999_refuses_exactly_the_questions_it_names(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        await clinic.comes("file")
        (text,) = clinic.files()
        number = next(iter(read_270s(text))).control_number
        await clinic.answered(_999(text, int(number), {2}))
        assert await clinic.outcomes(3) == ["pending", "unclear", "pending"]
        (item,) = await clinic.to_do()
        assert (item["appointment"], item["who"]) == ("F-2", "it")


def _999(question: str, number_of_group: int, refused: set[int]) -> str:
    lines = [f"AK1*HS*{number_of_group}*005010X279A1"]
    for number in (1, 2, 3):
        lines.append(f"AK2*270*{number:04d}*005010X279A1")
        lines += ["IK3*NM1*8**8", "IK4*9**1", "IK5*R*5"] if number in refused else ["IK5*A"]
    body = "~".join([*lines, f"AK9*P*3*3*{3 - len(refused)}"])
    head = question[: question.index("~") + 1]
    group = "GS*FA*A*B*20261123*0900*9*X*005010X231A1~ST*999*0001*005010X231A1"
    return f"{head}{group}~{body}~SE*{body.count('~') + 3}*0001~GE*1*9~IEA*1*{head[90:99]}~"


@pytest.mark.parametrize("fault", ["999", "ta1 021"])
async def test_a_file_that_is_refused_gives_all_its_questions_an_outcome(fault: str, tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        assert clinic.house is not None
        clinic.house.faults.script_batch(fault)
        await clinic.comes("file")
        await clinic.works()
        assert await clinic.outcomes(3) == ["unclear"] * 3
        assert {item["who"] for item in await clinic.to_do()} == {"it"}


# Silence.


async def test_a_lost_batch_is_one_item_and_its_questions_go_with_a_later_file(tmp_path: Path) -> None:
    async with desk(tmp_path) as clinic:
        assert clinic.house is not None
        clinic.house.faults.script_batch("lose")
        await clinic.comes("file")
        (first,) = clinic.files()
        await clinic.works()
        await clinic.comes("answers")
        (item,) = await clinic.to_do()
        assert (item["queue"], item["who"], item["appointment"]) == ("it", "it", None)
        assert "3 of 3 questions have no answer" in item["text"]
        assert await clinic.outcomes(3) == ["pending"] * 3, "they are asked again, and nobody has to call yet"
        await clinic.comes("file")
        (second,) = clinic.files()
        assert traces(second) == traces(first), "an answer to either is an answer"
        assert next(iter(read_270s(second))).control_number != next(iter(read_270s(first))).control_number
        await clinic.works()
        assert await clinic.outcomes(3) == ["covered"] * 3
        await clinic.comes("answers")
        assert await clinic.to_do() == []


async def test_what_is_never_answered_is_asked_so_often_and_not_more(tmp_path: Path) -> None:
    async with desk(tmp_path, 2, more='again: "2"') as clinic:
        assert clinic.house is not None
        clinic.house.faults.script_batch(*["lose"] * 5)
        for _ in range(3):
            await clinic.comes("file")
            await clinic.works()
            await clinic.comes("answers")
        assert await clinic.due("file") == []
        assert len(clinic.house.ledger.entries) == 6
        assert len([item for item in await clinic.to_do() if item["queue"] == "it"]) == 1, "the earlier two were asked again"


async def test_part_of_a_batch_may_be_missing_and_come_late(tmp_path: Path) -> None:
    async with desk(tmp_path, 3, more='again: "0"') as clinic:
        await clinic.comes("file")
        (text,) = clinic.files()
        await clinic.answered(clinic.table.answer(_alone(text, 0)))
        await clinic.comes("answers")
        (item,) = await clinic.to_do()
        assert "2 of 3 questions" in item["text"]
        await clinic.answered(clinic.table.answer(_alone(text, 1)))
        await clinic.comes("answers")
        (item,) = await clinic.to_do()
        assert "1 of 3 questions" in item["text"]
        await clinic.answered(clinic.table.answer(_alone(text, 2)))
        await clinic.comes("answers")
        assert await clinic.to_do() == []
        assert await clinic.outcomes(3) == ["covered"] * 3


async def test_a_visit_that_is_near_when_its_answer_is_missing_is_for_the_front_desk(tmp_path: Path) -> None:
    """`answers_in` stands for a night."""
    async with desk(tmp_path, 0, more="answers_in: 1s") as clinic:
        tomorrow = datetime.now(ZONE).date() + timedelta(days=1)
        await booked(clinic, 1, day=tomorrow + timedelta(days=1))
        await booked(clinic, 2)
        await clinic.comes("file")
        await clinic.tell(siu("S13", "F-1", at(23, 59, day=tomorrow), pid(mrn("1"))))
        check = await clinic.check("F-1")
        if check.question not in traces(clinic.files()[0]):
            await clinic.comes("file")
        await until(lambda: clinic.outcome("F-1"))
        await clinic.comes("answers")
        assert await clinic.outcome("F-1") == "payer_unavailable"
        items = {item["appointment"]: item["who"] for item in await clinic.to_do()}
        assert items["F-1"] == "coordinator"
        assert await clinic.outcome("F-2") == "pending"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-11-23T20:59-05:00", "2026-11-24T07:00-05:00"),
        ("2026-11-23T21:00-05:00", "2026-11-24T07:00-05:00"),
        ("2026-11-23T21:01-05:00", "2026-11-25T07:00-05:00"),
        ("2026-11-23T00:10-05:00", "2026-11-24T07:00-05:00"),
        ("2026-11-27T12:00-05:00", "2026-11-30T07:00-05:00"),
        ("2026-11-27T21:30-05:00", "2026-12-01T07:00-05:00"),
        ("2026-11-28T10:00-05:00", "2026-12-01T07:00-05:00"),
        ("2026-11-29T23:00-05:00", "2026-12-01T07:00-05:00"),
        ("2026-10-30T20:00-04:00", "2026-11-02T07:00-05:00"),
        ("2026-03-06T20:00-05:00", "2026-03-09T07:00-04:00"),
        ("2026-11-24T01:30+00:00", "2026-11-24T07:00-05:00"),
    ],
)
def test_answers_are_due_on_the_morning_of_the_next_business_day(sent: str, expected: str) -> None:
    assert answers_by(datetime.fromisoformat(sent)) == datetime.fromisoformat(expected)


def test_a_file_leaves_at_its_time_of_day_whatever_the_clocks_do() -> None:
    rules = BatchRules(to="drop", at="02:30", zone="America/New_York", most=500, again=1)
    before = datetime.fromisoformat("2026-03-08T00:00-05:00")
    assert rules.leaves(before) == datetime.fromisoformat("2026-03-08T03:30-04:00"), "02:30 is skipped"
    twice = BatchRules(to="drop", at="01:30", zone="America/New_York", most=500, again=1)
    first = datetime.fromisoformat("2026-11-01T01:30-04:00")
    assert twice.leaves(first - timedelta(hours=1)) == first
    assert twice.leaves(first) == datetime.fromisoformat("2026-11-02T01:30-05:00"), "01:30 comes once"


# Crashes, and over SFTP.


@contextmanager
def sftp_house(folder: Path, house: Clearinghouse) -> Iterator[tuple[SftpServer, BatchDrop]]:
    for name in ("inbox", "outbox"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with SftpServer(folder) as server, environment(SFTP_PASSWORD=PASSWORD):
        yield server, BatchDrop(house, folder / "inbox", folder / "outbox")


def over_sftp(server: SftpServer) -> str:
    given = server.settings(password="{$env: SFTP_PASSWORD}")
    settings = ", ".join(f"{key}: {value}" for key, value in given.items())
    return f"""
  drop: {{{settings}, path: inbox, name: "{{id}}.270"}}
  pickup: {{{settings}, path: outbox, format: x12, claim_for: 200ms}}
"""


async def collected(file: Path, count: int) -> None:
    """Books visits in a hub that stops before their file leaves; the file is due when the next hub starts."""
    with_empty_store(file.parent)
    async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
        clinic = Desk(hub, client, folder=file.parent)
        for number in range(1, count + 1):
            await booked(clinic, number)
        planned = await clinic.due("file")
        await hub.core.journal.commit(
            Write(due=[hub.core.bodies.due_row(replace(due, at=datetime.now(UTC) + timedelta(seconds=1))) for due in planned])
        )


STAGES = ["flow_ran", "flow_kept", "sending", "sent", "marked", "received", "received:2"]
STAGES += [f"{stage}:{number}" for stage in ("in_commit", "committed") for number in (2, 3, 4)]
NOT_NOTED = {"sent", "in_commit:4"}
"""The file was brought, and the note of that is not on disk."""
IN_SHORT = {("sent", "sftp"), ("flow_kept", "folder"), ("received", "sftp")}
KILLS = [
    pytest.param(kill, way, marks=() if (kill, way) in IN_SHORT else pytest.mark.long, id=f"{kill}-{way}")
    for kill in STAGES
    for way in ("folder", "sftp")
]


@pytest.mark.parametrize(("kill", "way"), KILLS)
async def test_wherever_the_hub_is_killed_each_question_is_sent_and_answered_once(kill: str, way: str, tmp_path: Path) -> None:
    """The clearinghouse's ledger is the judge.  It works while the hub is killed only where that is about its answers.

    Killed between a file that was brought and the note of it, the hub brings it again: a partner that has taken it away by then
    sees the same name twice, and its second answer changes nothing.
    """
    house = Clearinghouse()
    house.table = RecordingTable(members(4))
    far = tmp_path / "far" if way == "sftp" else tmp_path
    with sftp_house(far, house) as (server, drop):
        file = clinic_file(tmp_path, connections=over_sftp(server) if way == "sftp" else FOLDERS)
        await collected(file, 4)
        killed = HubProcess(file, env={"CLINIC_HUB_FAILPOINTS": f"kill@{kill}"})
        with contextlib.suppress(AssertionError):  # it may end before it is ready
            await asyncio.to_thread(killed.start)
        process = killed.process
        assert process is not None
        async with contextlib.AsyncExitStack() as stack:
            if kill.startswith("received"):
                await stack.enter_async_context(drop)
            await until(lambda: process.poll() is not None, timeout=20)
            assert process.returncode == -signal.SIGKILL
            killed.kill()
            if not kill.startswith("received"):
                await stack.enter_async_context(drop)
            hub = HubProcess(file)
            await asyncio.to_thread(hub.start)
            try:
                await until(lambda: len(house.ledger.entries) >= 4, timeout=20)
                await until(lambda: not [path for path in far.glob("*box/**/*") if path.is_file()], timeout=20)
                await asyncio.sleep(0.5)
            finally:
                await asyncio.to_thread(hub.terminate)
        async with quick_hub(file) as again:
            clinic = Desk(again, None, folder=tmp_path)  # type: ignore[arg-type]  # nothing is said any more
            await clinic.quiet()
            assert await clinic.outcomes(4) == ["covered"] * 4
            assert await clinic.to_do() == []
    asked = Counter(entry.inquiry.trace_number for entry in house.ledger.entries)
    assert len(asked) == 4
    assert len(set(drop.taken)) == 1, "one name, however often"
    if kill not in NOT_NOTED:
        assert set(asked.values()) == {1}


async def test_a_hub_asks_and_picks_up_over_sftp(tmp_path: Path) -> None:
    house = Clearinghouse()
    house.table = table = RecordingTable(members(3))
    with sftp_house(tmp_path / "far", house) as (server, drop):
        file = clinic_file(tmp_path, connections=over_sftp(server))
        async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client, drop:
            clinic = Desk(hub, client, folder=tmp_path, table=table, house=house)
            for number in (1, 2, 3):
                await booked(clinic, number)
            await clinic.comes("file")
            for number in (1, 2, 3):
                await clinic.reaches(f"F-{number}", "covered")
            assert await clinic.to_do() == []
    assert drop.taken
    assert [path for path in (tmp_path / "far").rglob("*") if path.is_file()] == []

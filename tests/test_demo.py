"""`hub demo`: the whole story in a process of its own, told in words and as JSON, and exit codes that can be trusted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

import pytest

from connectors.simulators.demo.story import BY_APPOINTMENT, MEMBERS, VISITORS, scenes
from tests.support import PATIENCE, json_lines, run_hub

ZONE = ZoneInfo("America/Chicago")


@dataclass
class Told:
    """A demo that has ended."""

    code: int
    out: str
    err: str
    seconds: float
    folder: Path
    """Its temp folder, and what it left there."""
    left: list[str]


def start(
    folder: Path, *arguments: str, stderr: IO[str] | int = subprocess.PIPE, program: Sequence[str] = ("-m", "hub", "demo")
) -> subprocess.Popen[str]:
    """A demo, or a program that plays one, with a temp folder of its own."""
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def finish(process: subprocess.Popen[str], folder: Path, began: float) -> Told:
    out, err = process.communicate(timeout=60 * PATIENCE)
    left = sorted(path.name for path in folder.iterdir())
    return Told(process.returncode, out, err, time.monotonic() - began, folder, left)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Told]:
    """Two demos at the same time: one in words, one as JSON in a folder of its own."""
    folder, began = tmp_path_factory.mktemp("demo"), time.monotonic()
    words = start(folder / "words", "--once")
    lines = start(folder / "json", "--once", "--json", "--dir", str(folder / "kept"))
    return finish(words, folder / "words", began), finish(lines, folder / "json", began)


@pytest.fixture(scope="module")
def words(demos: tuple[Told, Told]) -> Told:
    return demos[0]


@pytest.fixture(scope="module")
def lines(demos: tuple[Told, Told]) -> list[dict[str, Any]]:
    return json_lines(demos[1].out)


# How it ends.


def test_the_story_ends_well_within_twenty_seconds_even_twice_at_once(demos: tuple[Told, Told]) -> None:
    for told in demos:
        assert told.code == 0, told.err
        assert told.seconds < 20


def test_nothing_of_a_demo_is_left(demos: tuple[Told, Told]) -> None:
    assert [told.left for told in demos] == [[], []]


def test_it_says_that_all_came_out_as_it_should(demos: tuple[Told, Told]) -> None:
    for told in demos:
        assert "Every visit came out as it should" in told.err


HOUSE = """
from connectors.simulators.clearinghouse import Clearinghouse
def house(members):
    made = Clearinghouse(members)
    made.behaviour.down = True
    return made
far_sides.Clearinghouse, play.PATIENCE = house, 0.3
"""
BROKEN = {
    "a member is missing": "far_sides.MEMBERS = tuple(m for m in far_sides.MEMBERS if m.member_id != 'W100200301')",
    "another amount": "far_sides.MEMBERS = tuple(replace(m, co_payment='26') for m in far_sides.MEMBERS)",
    "the clearinghouse is down": HOUSE,
    "nothing goes back": "play.TOLD = 'F-999'",
}
BROKEN_PAPERS = {
    "nobody signs": "far_sides.SigningService = lambda: SigningService(pace=0)",
    "a fax that nobody can match is matched": "papers.NAMELESS = '99999'",
}
SCRIPT = """
import asyncio, sys
from dataclasses import replace
from connectors.simulators.signer import SigningService
from connectors.simulators.demo import far_sides, papers, play
play.PATIENCE = 2.0
papers.PATIENCE = 1.0
{change}
sys.exit(asyncio.run(play.play(once=True, as_json=True, directory=None)))
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Demos in which something is not as the story has it, all at the same time."""
    folder, began = tmp_path_factory.mktemp("broken"), time.monotonic()
    scripts = {name: ["-c", SCRIPT.format(change=change)] for name, change in (BROKEN | BROKEN_PAPERS).items()}
    processes = {name: start(folder / name, program=script) for name, script in scripts.items()}
    return {name: finish(process, folder / name, began) for name, process in processes.items()}


@pytest.mark.parametrize("what", BROKEN)
def test_a_story_that_comes_out_otherwise_ends_with_1(broken: dict[str, Told], what: str) -> None:
    told = broken[what]
    assert told.code == 1, told.err
    assert "NOT every visit came out as it should" in told.err
    assert told.left == []


@pytest.mark.parametrize("what", BROKEN_PAPERS)
def test_papers_that_come_out_otherwise_end_with_1(broken: dict[str, Told], what: str) -> None:
    told = broken[what]
    assert told.code == 1, told.err
    assert "Every visit came out as it should, but NOT every paper" in told.err
    assert "It did not come to what it should: " in told.err
    assert told.left == []


def test_what_came_out_otherwise_is_shown(broken: dict[str, Told]) -> None:
    lines = json_lines(broken["a member is missing"].out)
    assert [line["appointment"] for line in lines if line["outcome"] != line["expected"]] == ["F-101"]
    assert {line["outcome"] for line in json_lines(broken["the clearinghouse is down"].out)} >= {"pending", "withdrawn"}


# What it shows.


def test_the_table_on_stdout_has_what_a_front_desk_needs(words: Told) -> None:
    table = words.out.split("\nat (UTC)")[0].splitlines()
    assert set(re.split(r"  +", table[0])) == {"time", "patient", "payer", "status", "owes", "what to do", "who"}
    assert len(table) == len(VISITORS) + 1
    by_name = {line[table[0].index("patient") : table[0].index("payer")].strip(): line for line in table[1:]}
    rosa, chen = by_name["Rosa Alvarez"], by_name["Li Chen"]
    assert rosa.startswith("08:00")
    for word in ("Aetna", "covered", "25", "310.50"):
        assert word in rosa
    for word in ("not found", "member id", "card", "coordinator"):
        assert word in chen


def test_the_table_is_in_the_order_of_the_day(words: Told) -> None:
    times = [line[:5] for line in words.out.split("\nat (UTC)")[0].splitlines()[1:]]
    assert times == sorted(times)
    assert all(re.fullmatch(r"\d\d:\d\d", moment) for moment in times)


def test_the_story_is_told_beside_the_data(demos: tuple[Told, Told]) -> None:
    for told in demos:
        assert "acknowledged" in told.err
        assert "message(s) acknowledged" not in told.out
        assert "Traceback" not in told.err
        assert " error" not in told.err.lower()


def test_one_timeline_is_shown_from_the_booking_to_the_outcome(words: Told) -> None:
    timeline = words.out[words.out.index("at (UTC)") :]
    for word in ("received", "SIU^S12", "not_found", "covered", "worklist", "New booking", "Asking Aetna", "co-pay 25"):
        assert word in timeline
    assert "****" not in timeline  # INTERFACES 2: `demo` masks nothing, its patients are invented


def test_one_timeline_goes_from_the_booking_to_the_filed_consent(words: Told) -> None:
    timeline = words.out[words.out.rindex("at (UTC)") :]
    story = [
        "New booking",
        "handed to the signing service",
        "Consent to treatment: signed",
        "Filed: the EHR has acknowledged it",
    ]
    places = [timeline.index(text) for text in story]
    assert places == sorted(places)


def test_papers_are_told(words: Told) -> None:
    for text in (
        "Rosa signed",
        "Tom said no",
        "its bar code says whose it is",
        "It arrived with try 3",
        "nothing is guessed, it waits for a person",
    ):
        assert text in words.err


def test_the_day_sheet_and_what_went_back_to_the_ehr_are_told(words: Told) -> None:
    visits = len([v for v in VISITORS if v.expected != "withdrawn"])
    assert f"{visits} visits" in words.err
    assert "  ZCV|covered|CHOICE PPO|25|310.50|" in words.err
    assert "SCH|PF-101|F-101" in words.err


def test_json_is_one_line_for_each_visit_with_the_promised_keys(lines: list[dict[str, Any]]) -> None:
    """INTERFACES section 3."""
    keys = {"appointment", "starts_at", "patient", "payer", "outcome", "owes", "expected", "action", "who", "checked_at"}
    assert {line["appointment"] for line in lines} == set(BY_APPOINTMENT)
    assert len(lines) == len(VISITORS)
    for line in lines:
        assert keys <= set(line)
        assert set(line["patient"]) == {"id", "name"}
        assert {"co_payment", "deductible_remaining", "segments"} <= set(line["owes"])
        assert datetime.fromisoformat(line["starts_at"]).utcoffset() is not None
        assert (line["action"] is None) == (line["who"] is None)


def test_every_visit_reaches_the_outcome_that_the_story_expects(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        visitor = BY_APPOINTMENT[line["appointment"]]
        assert (line["outcome"], line["expected"]) == (visitor.expected, visitor.expected)
        if visitor.expected == "covered":
            assert (line["owes"]["co_payment"], line["owes"]["deductible_remaining"]) == (
                visitor.co_payment,
                visitor.deductible,
            )
            assert len(line["owes"]["segments"]) == 2


def test_all_visits_are_of_the_same_day_and_at_the_times_of_the_story(lines: list[dict[str, Any]]) -> None:
    starts = {line["appointment"]: datetime.fromisoformat(line["starts_at"]) for line in lines}
    assert len({moment.date() for moment in starts.values()}) == 1
    for appointment, moment in starts.items():
        assert f"{moment:%H%M}" == BY_APPOINTMENT[appointment].time
        assert moment.utcoffset() == moment.astimezone(ZONE).utcoffset()


# What the story has to have in it.


def fields_of(body: bytes, segment: str) -> list[str]:
    return next((line.split("|") for line in body.decode().split("\r") if line.startswith(segment + "|")), [])


def story() -> list[tuple[str, str, str, bytes]]:
    """Type, patient, appointment and body of each message, in order."""
    told = []
    for scene in scenes(date(2027, 3, 15)):
        for body in scene.messages:
            sch = fields_of(body, "SCH")
            told.append((fields_of(body, "MSH")[8], fields_of(body, "PID")[3].split("^")[0], sch[2] if sch else "", body))
    return told


def types_of(appointment: str) -> list[str]:
    return [type for type, _, visit, _ in story() if visit == appointment]


def registered_before_booked(visitor: Any) -> bool:
    order = [type[:3] for type, patient, _, _ in story() if patient == visitor.mrn]
    return "ADT" in order and order.index("ADT") < order.index("SIU")


def asked_again_later() -> set[str]:
    """Members whose payer answers AAA 42 first."""
    return {member.member_id for member in MEMBERS if member.unavailable}


def member_of(visitor: Any) -> Any:
    return next((m for m in MEMBERS if visitor.insurance and f"|{m.member_id}" in visitor.insurance), None)


def member_ids_of(visitor: Any) -> set[str]:
    insurances = [fields_of(body, "IN1") for _, patient, _, body in story() if patient == visitor.mrn]
    return {insurance[36] for insurance in insurances if insurance}


STORY: dict[str, Callable[[], bool]] = {
    "at least fourteen visits": lambda: len(VISITORS) >= 14,
    "a visit that moves (S13)": lambda: any("SIU^S13" in types_of(v.appointment) for v in VISITORS if v.expected == "covered"),
    "a cancellation (S15)": lambda: any(
        "SIU^S15" in types_of(v.appointment) for v in VISITORS if v.expected == "withdrawn"
    ),
    "a no-show (S26)": lambda: any("SIU^S26" in types_of(v.appointment) for v in VISITORS if v.expected == "withdrawn"),
    "a booking before its chart": lambda: any(not registered_before_booked(v) for v in VISITORS if v.expected == "covered"),
    "a merge": lambda: any(type == "ADT^A40" for type, _, _, _ in story()),
    "a registration and an update": lambda: {"ADT^A04", "ADT^A28", "ADT^A08"} <= {type for type, _, _, _ in story()},
    "no insurance": lambda: any(v.expected == "no_coverage_on_file" and not v.insurance for v in VISITORS),
    "a patient who pays alone": lambda: any(v.expected == "self_pay" for v in VISITORS),
    "an unknown member (AAA 72)": lambda: any(
        v.expected == "not_found" and v.insurance and member_of(v) is None for v in VISITORS
    ),
    "another birth date (AAA 71)": lambda: any(
        v.expected == "mismatch" and member_of(v).birth_date != v.born for v in VISITORS
    ),
    "a payer that answers only later (AAA 42)": lambda: any(
        v.expected == "covered" and member_of(v).member_id in asked_again_later() for v in VISITORS
    ),
    "a dependent": lambda: any(v.expected == "covered" and member_of(v).dependents for v in VISITORS),
    "a Medicare Advantage plan": lambda: any(v.expected == "covered_elsewhere" for v in VISITORS),
    "an answer with a wrong SE01": lambda: any(v.expected == "covered" and member_of(v).wrong_count for v in VISITORS),
    "an inactive plan": lambda: any(v.expected == "inactive" for v in VISITORS),
    "a payer nobody listed": lambda: any(v.expected == "unclear" for v in VISITORS),
    "a member id that is corrected": lambda: any(v.expected == "covered" and len(member_ids_of(v)) > 1 for v in VISITORS),
}  # fmt: skip


@pytest.mark.parametrize("what", STORY)
def test_the_story_has(what: str) -> None:
    assert STORY[what]()


# Its folder.


def test_a_demo_keeps_its_files_where_it_is_told_and_can_be_played_there_again(demos: tuple[Told, Told]) -> None:
    kept = demos[1].folder.parent / "kept"
    assert (kept / "clinic.yaml").is_file()
    told = run_hub("demo", "--once", "--json", "--dir", kept)
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == len(VISITORS)
    checked = run_hub("check", "-c", kept / "clinic.yaml")
    assert checked.returncode == 0, checked.stderr


def test_a_demo_does_not_touch_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    precious = tmp_path / "var" / "hub.db"
    precious.write_bytes(b"a clinic's store")
    told = run_hub("demo", "--once", "--dir", tmp_path)
    assert told.returncode == 2
    assert "not empty" in told.stderr
    assert precious.read_bytes() == b"a clinic's store"


# Without --once.


def words_of(process: subprocess.Popen[str], file: Path, words: str, timeout: float = 30.0 * PATIENCE) -> str:
    """What it has said once these words are among it."""
    end = time.monotonic() + timeout
    while words not in file.read_text(encoding="utf-8") and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    said = file.read_text(encoding="utf-8")
    assert words in said
    return said


WAYS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


@pytest.fixture(scope="module")
def going_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[subprocess.Popen[str], Path]]]:
    """Demos that are not ended by the story; for each its process and what it said."""
    folder, found = tmp_path_factory.mktemp("on"), {}
    for name in WAYS:
        with (folder / f"{name}.said").open("w", encoding="utf-8") as said:
            found[name] = (start(folder / name, stderr=said), folder / f"{name}.said")
    yield found
    for process, _ in found.values():
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("way", WAYS)
def test_a_demo_that_goes_on_answers_commands_and_leaves_nothing_when_it_is_ended(
    going_on: dict[str, tuple[subprocess.Popen[str], Path]], way: str
) -> None:
    process, heard = going_on[way]
    folder = heard.with_suffix("")
    said = words_of(process, heard, "Ctrl-C ends it.")
    command = next(line.strip().split() for line in said.splitlines() if "eligibility list" in line)
    shown = run_hub(*command[1:], "--json", env={"TMPDIR": str(folder)})
    assert shown.returncode == 0, shown.stderr
    day = (datetime.now(ZONE) + timedelta(days=1)).date().isoformat()
    assert {json.loads(line)["starts_at"][:10] for line in shown.stdout.splitlines()} == {day}
    assert len(shown.stdout.splitlines()) == len(VISITORS)
    process.send_signal(WAYS[way])
    process.communicate(timeout=30)
    assert list(folder.iterdir()) == []
    assert process.returncode in (0, 130)

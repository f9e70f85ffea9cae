"""Reminders over a real hub, a telephone network with all its faults, and signed webhooks that come in any way."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.simulators.phone_network import Person
from hub import moments
from tests.plugins.phones import BEGIN, DAY, FIVE_DAYS, JANE, LATER, ZONE, PhoneClinic, phones
from tests.support import WallClock, ask, json_lines, until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The hub's clock on the wall; it stands still until it is set."""
    clock = WallClock()
    monkeypatch.setattr(moments, "clock", clock)
    return clock


async def causes(clinic: PhoneClinic) -> list[str]:
    return [item["cause"] for item in await clinic.to_do()]


async def test_a_text_is_delivered_answered_and_the_ehr_hears_of_it(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.people[JANE] = Person(replies=["C"])
        await clinic.booked()
        await clinic.passes(FIVE_DAYS)
        [text] = clinic.network.to(JANE)
        assert text.words.startswith("Test Clinic: your visit is on Wednesday, March 10 at 2:30 PM.")
        assert (await clinic.reminder("5d")).state == "delivered"
        [told] = clinic.told_ehr()
        assert "SIU^S14" in told
        assert "|CONFIRMED" in told
        shown = await ask(clinic.hub, "reminders.show", appointment="F-1")
        assert shown["answer"] == "confirmed"
        assert [sent["state"] for sent in shown["sent"]] == ["delivered"]
        assert await causes(clinic) == []


async def test_stop_ends_everything_and_another_time_is_for_a_person(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.people[JANE] = Person(replies=["r", "Stop please"])
        await clinic.booked()
        await clinic.passes(FIVE_DAYS)
        assert await causes(clinic) == ["reply: change"]
        await clinic.passes(BEGIN + timedelta(days=10))
        assert [thing.kind for thing in clinic.network.to(JANE)] == ["text", "text"]
        assert (await clinic.reminder("2h")).why == "wants no reminders"


async def test_a_landline_is_called_and_a_digit_confirms(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.people[JANE] = Person(text="landline", digit="1")
        await clinic.booked()
        await clinic.passes(FIVE_DAYS + timedelta(minutes=1))
        assert [(thing.kind, thing.state) for thing in clinic.network.to(JANE)] == [
            ("text", "undelivered"),
            ("call", "completed"),
        ]
        [call] = await clinic.calls()
        assert (call.state, call.answered) == ("answered", True)
        assert (await clinic.reminder("5d")).state == "delivered"
        assert "|CONFIRMED" in clinic.told_ehr()[0]


async def test_nobody_reached_is_an_item_and_the_timeline_says_why(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.people[JANE] = Person(text="invalid", call="no-answer")
        await clinic.booked()
        await clinic.passes(FIVE_DAYS + timedelta(minutes=1))
        assert await causes(clinic) == ["not reached: no way reached anybody"]
        lines = [line["text"] for line in (await ask(clinic.hub, "trace", id="F-1"))["entries"]]
        assert "The text of the reminder: failed (bad number, 21211)" in lines
        assert "The call of the reminder: failed (no answer)" in lines


async def test_who_opted_out_at_the_carrier_is_not_called_either(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.people[JANE] = Person(opted_out=True)
        await clinic.booked()
        await clinic.passes(BEGIN + timedelta(days=10))
        assert clinic.network.to(JANE) == []
        assert {(await clinic.reminder(step)).why for step in ("5d", "1d", "2h")} == {"wants no reminders"}


async def test_a_cancelled_visit_is_not_reminded_of_and_a_moved_one_at_its_new_time(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        await clinic.booked()
        await clinic.booked("F-2", "43", "312-555-0143")
        await clinic.booked(trigger="S15")
        await clinic.booked("F-2", "43", "312-555-0143", day=DAY + timedelta(days=7), trigger="S13")
        await clinic.passes(BEGIN + timedelta(days=20))
        assert clinic.network.to(JANE) == []
        assert ["March 17" in thing.words or "today" in thing.words for thing in clinic.network.to("+13125550143")] == [
            True
        ] * 3


@pytest.mark.parametrize("word", ["twice", "late 0.05", "swapped", "never", "forged"])
async def test_webhooks_in_any_way_end_in_the_same_state(word: str, tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.hooks.script(*[word] * 8)
        await clinic.booked()
        await clinic.passes(FIVE_DAYS + LATER)
        assert [text.state for text in await clinic.texts()] == ["delivered"]
        assert len(clinic.network.to(JANE)) == 1
        if word == "forged":
            assert 401 in clinic.network.hooks.answers


BEFORE = ["503", "429 after 0", "429", "401"]
DOUBTS = ["silent after commit", "502 after commit", "hangup", "half", "empty", "html"]


@pytest.mark.parametrize("word", BEFORE)
async def test_what_was_surely_not_sent_is_sent_once_it_can_be(word: str, tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.faults.script(word, to="send")
        await clinic.booked()
        await clinic.passes(FIVE_DAYS)
        await until(lambda: len(clinic.network.to(JANE)) == 1, 20)
        await clinic.settled()
        assert [text.state for text in await clinic.texts()] == ["delivered"]
        assert clinic.network.doubled() == []


@pytest.mark.parametrize("word", DOUBTS)
async def test_what_may_have_been_sent_is_never_sent_again_and_its_webhook_settles_it(
    word: str, tmp_path: Path, clock: WallClock
) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.faults.script(word, to="send")
        await clinic.booked()
        await clinic.passes(FIVE_DAYS)
        await clinic.settled()
        assert [text.state for text in await clinic.texts()] == ["delivered"]
        assert len(clinic.network.to(JANE)) == 1
        assert await causes(clinic) == []


@pytest.mark.parametrize("word", ["silent", "drop"])
async def test_what_may_have_been_sent_and_is_never_heard_of_is_shown(word: str, tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.faults.script(word, to="send")
        await clinic.booked()
        await clinic.passes(FIVE_DAYS + LATER)
        [text] = await clinic.texts()
        assert text.state == "unknown"
        assert await causes(clinic) == [f"unknown {text.id}"]
        assert clinic.network.to(JANE) == []
        assert [line["state"] for line in await ask(clinic.hub, "messages.list", state="unknown")] == ["unknown"]


async def test_while_the_service_is_down_orders_grow_old_and_leave_at_a_good_hour(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        await clinic.booked()
        clinic.network.behaviour.status = 503
        clinic.network.behaviour.down = False
        await clinic.passes(FIVE_DAYS - timedelta(minutes=1))
        clock.at = FIVE_DAYS
        await clinic.hub.due.look()
        await until(lambda: clinic.network.requests > 0)
        clock.at = FIVE_DAYS.replace(hour=21)
        clinic.network.behaviour.status = 200
        await clinic.settled()
        assert clinic.network.to(JANE) == []
        await clinic.passes(FIVE_DAYS + timedelta(days=1))
        [text] = clinic.network.to(JANE)
        sent = [one for one in await clinic.texts() if one.state == "delivered"]
        assert [one.ordered_at.astimezone(ZONE).hour for one in sent if one.ordered_at] == [9]
        assert text.state == "delivered"


async def test_nothing_the_network_received_names_a_patient_and_a_room_has_an_opaque_token(
    tmp_path: Path, clock: WallClock
) -> None:
    async with phones(tmp_path, clock) as clinic:
        clinic.network.people[JANE] = Person(text="landline", digit="2")
        await clinic.booked()
        await clinic.booked("F-2", "43", "312-555-0143")
        await clinic.passes(BEGIN + timedelta(days=10))
        everything = b"\n".join(clinic.network.received).lower()
        assert len(clinic.network.received) > 6
        for canary in (b"canarius", b"quetzal", b"1931", b"f-1", b"f-2", b"office"):
            assert canary not in everything


async def test_a_list_of_recalls_is_reminded_line_by_line_and_once(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        rows = "recall,phone,language\nflu,(312) 555-0150,en\nflu,555,en\nflue,(312) 555-0151,en\nflu,(312) 555-0150,en\n"
        (tmp_path / "lists" / "a.csv").write_text(rows, encoding="utf-8")
        await until(clinic.to_do, 20)
        await clinic.settled()
        await clinic.passes(BEGIN + timedelta(days=3))
        assert [thing.words for thing in clinic.network.things] == [
            "Test Clinic: it is time for your flu shot. Call us, or reply R and we call you."
        ]
        [item] = await clinic.to_do()
        assert "line 3: the telephone number cannot be used; line 4: there is no kind of recall 'flue'" in item["text"]


COMMANDS = """
import contextlib, io, json, sys
from hub.cli import main
printed = []
for words in json.loads(sys.argv[1]):
    out = io.StringIO()
    sys.argv = ["hub", "reminders", *words]
    with contextlib.redirect_stdout(out):
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
    assert not code, (words, code)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def commands(file: Path, *words: list[str]) -> list[str]:
    """What some commands print; in one process, because the start of each takes longer than the command."""
    given = json.dumps([[*one, "-c", str(file)] for one in words])
    done = subprocess.run([sys.executable, "-c", COMMANDS, given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed: list[str] = json.loads(done.stdout)
    return printed


async def test_the_commands_show_what_is_planned_and_said_and_note_a_wish(tmp_path: Path, clock: WallClock) -> None:
    async with phones(tmp_path, clock) as clinic:
        await clinic.booked()
        await clinic.passes(FIVE_DAYS)

    listed, wished, said, shown = commands(
        tmp_path / "clinic.yaml",
        ["list", "--date", "2027-03-09", "--json"],
        ["wish", "(312) 555-0142", "none"],
        ["preview", "F-1", "--policies", str(tmp_path / "reminders.yaml"), "--json"],
        ["show", "F-1"],
    )
    assert [(line["reminder"], line["state"], line["due_at"]) for line in json_lines(listed)] == [
        ("F-1/1d", "planned", "2027-03-09T18:00:00-06:00")
    ]
    assert JANE in wished
    lines = json_lines(said)
    assert [(line["step"], line["channel"]) for line in lines] == [
        ("5d", "text"), ("5d", "call"), ("1d", "text"), ("1d", "call"), ("2h", "text"),
    ]  # fmt: skip
    assert lines[-1]["says"] == "Test Clinic: see you today at 2:30 PM."
    assert lines[-1]["out"], "they want none"
    assert "delivered" in shown
    assert JANE in shown

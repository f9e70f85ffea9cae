"""What people must do: one item for each visit and cause, kept up to date and closed by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hub import Appointment, CoverageCheck, Message, WorklistItem
from hub.bus.trial import Trial, try_flow
from hub.clinic import Clinic as LoadedClinic
from hub.errors import Conflict, Refused
from tests.plugins.clinic import (
    DAY,
    ZONE,
    Clinic,
    adt,
    at,
    eligibility,
    eligibility_file,
    in1,
    jane,
    mrn,
    pid,
    read_clinic,
    siu,
)
from tests.support import ask, clinic_folder, running_hub

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)

FLOW = """
flows:
  outcomes:
    from: {due: eligibility}
    steps: [{worklist: @WORKLIST@}]
"""


def item(appointment: str = "F-1", cause: str = "AAA 72", **values: Any) -> WorklistItem:
    known = {"id": "w-1", "text": "Compare the member id.", "who": "coordinator", "opened_at": NOW - timedelta(hours=1)}
    return WorklistItem(appointment=appointment, cause=cause, **(known | values))


def check(outcome: str, appointment: str = "F-1", **values: Any) -> CoverageCheck:
    return CoverageCheck(id=appointment, outcome=outcome, **values)


def to_do(
    outcome: str = "not_found", cause: str = "AAA 72", action: str = "Compare the member id.", **values: Any
) -> CoverageCheck:
    return check(outcome, **({"action": action, "who": "coordinator", "cause": cause} | values))


def clinic_with(folder: Path, step: str = "front_desk") -> LoadedClinic:
    return read_clinic(clinic_folder(folder, FLOW.replace("@WORKLIST@", step)))


async def after(folder: Path, came: CoverageCheck, *known: WorklistItem, step: str = "front_desk") -> list[WorklistItem]:
    """The items that a step `worklist` changes, for an outcome that came and items that were known."""
    trial = await on_trial(clinic_with(folder, step), came, *known)
    assert trial.error is None
    return [record for kind, record in trial.saved if kind == "worklist_item" and isinstance(record, WorklistItem)]


async def on_trial(clinic: LoadedClinic, came: CoverageCheck, *known: WorklistItem) -> Trial:
    return await try_flow(clinic, "outcomes", Message(came, "coverage_check"), records=known, now=NOW)


# One outcome after another.


async def test_an_outcome_that_needs_somebody_opens_one_item(tmp_path: Path) -> None:
    (opened,) = await after(tmp_path, to_do())
    assert opened.id.startswith("w-")
    assert (opened.queue, opened.appointment, opened.cause, opened.who) == ("front_desk", "F-1", "AAA 72", "coordinator")
    assert (opened.text, opened.open, opened.opened_at) == ("Compare the member id.", True, NOW)


async def test_the_same_cause_again_keeps_the_item_and_renews_its_words(tmp_path: Path) -> None:
    known = item()
    (kept,) = await after(tmp_path, to_do(action="Ask for the new card.", who="it"), known)
    assert kept == known.model_copy(update={"text": "Ask for the new card.", "who": "it"})


async def test_another_cause_replaces_the_item_of_the_visit(tmp_path: Path) -> None:
    changed = {i.id: i for i in await after(tmp_path, to_do("mismatch", "AAA 71", "Compare the birth date."), item(id="w-77"))}
    old = changed.pop("w-77")
    assert not old.open
    assert old.closed_at == NOW
    assert "AAA 71" in (old.closed_because or "")
    (new,) = changed.values()
    assert (new.open, new.cause, new.text) == (True, "AAA 71", "Compare the birth date.")


@pytest.mark.parametrize("outcome", ["covered", "self_pay", "withdrawn"])
async def test_an_outcome_that_needs_nobody_closes_what_is_open_for_the_visit(tmp_path: Path, outcome: str) -> None:
    changed = await after(tmp_path, check(outcome), item(id="w-1"), item(id="w-2", queue="it", cause="MSG-001"))
    assert {i.id: (i.open, i.closed_at, outcome in (i.closed_because or "")) for i in changed} == {
        "w-1": (False, NOW, True),
        "w-2": (False, NOW, True),
    }


@pytest.mark.parametrize("outcome", ["pending", "payer_unavailable"])
async def test_an_outcome_that_is_not_the_last_word_leaves_the_item_open(tmp_path: Path, outcome: str) -> None:
    changed = await after(tmp_path, check(outcome), item())
    assert [i for i in changed if not i.open] == []
    assert len(changed) <= 1


async def test_nothing_is_opened_for_an_outcome_that_needs_nobody(tmp_path: Path) -> None:
    assert await after(tmp_path, check("covered")) == []


async def test_items_of_other_visits_are_left_alone(tmp_path: Path) -> None:
    other = item("F-2", id="w-2")
    for came in (check("covered"), to_do("mismatch", "AAA 71"), to_do()):
        assert "w-2" not in {i.id for i in await after(tmp_path, came, item(), other)}


async def test_a_closed_item_is_not_opened_again_but_followed_by_a_new_one(tmp_path: Path) -> None:
    closed = item(id="w-77", open=False, closed_at=NOW - timedelta(minutes=5), closed_because="outcome: covered")
    (opened,) = await after(tmp_path, to_do(), closed)
    assert opened.id != "w-77"
    assert opened.opened_at == NOW


async def test_which_outcomes_need_nobody_is_for_the_clinic_to_say(tmp_path: Path) -> None:
    step = "{queue: billing, unless: [covered, covered_elsewhere]}"
    assert await after(tmp_path, to_do("covered_elsewhere", "other plan"), step=step) == []
    (opened,) = await after(tmp_path, to_do(), step=step)
    assert opened.queue == "billing"


async def test_only_an_outcome_can_be_put_on_the_worklist(tmp_path: Path) -> None:
    trial = await try_flow(clinic_with(tmp_path), "outcomes", Message(Appointment(id="F-1"), "appointment"), now=NOW)
    assert trial.error is not None
    assert trial.error.code == "WRK-001"


async def test_many_closed_items_of_a_visit_do_not_hide_the_open_one(tmp_path: Path) -> None:
    """A visit that is booked, rejected and corrected again and again for months."""
    closed = [item(id=f"w-{n:04d}", open=False, closed_at=NOW, cause=f"AAA {n}") for n in range(150)]
    (kept,) = await after(tmp_path, to_do(action="new words"), *closed, item(id="w-9999"))
    assert (kept.id, kept.text) == ("w-9999", "new words")
    (gone,) = await after(tmp_path, check("covered"), *closed, item(id="w-9999"))
    assert (gone.id, gone.open) == ("w-9999", False)


async def test_items_that_belong_to_no_visit_are_one_for_each_cause(tmp_path: Path) -> None:
    """What a mapping does not know (a code that is in no table) is for IT, and is told once."""
    async with running_hub(clinic_folder(tmp_path, UNKNOWN_CODES)) as hub:
        for cause in ("table a", "table b", "table a"):
            context = hub.core.context("test")
            await context.save(WorklistItem(queue="it", text=f"Add it to {cause}.", who="it", cause=cause))
            await hub.core.journal.commit(hub.core.write_of(context.changes, context.now))
        listed = await ask(hub, "worklist.list")
    assert sorted((i["cause"], i["appointment"]) for i in listed) == [("table a", None), ("table b", None)]


UNKNOWN_CODES = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
flows:
  bookings: {from: ehr, steps: [{map: siu_to_appointment}, {save: appointment}]}
"""

# Through a hub.


async def rejected_visits(clinic: Clinic, *visits: tuple[str, datetime]) -> None:
    """Visits whose member id the payer does not know."""
    await clinic.tell(adt("A04", pid(mrn("42")), in1("WRONG")))
    await clinic.tell(*(siu("S12", name, starts, pid(mrn("42"))) for name, starts in visits))


async def test_two_runs_at_once_do_not_open_the_same_item_twice(tmp_path: Path) -> None:
    """One of them is a conflict: it goes again, and finds the item."""
    async with eligibility(tmp_path) as clinic:
        core = clinic.hub.core
        runs = [core.context("one"), core.context("other")]
        for context in runs:
            await context.save(WorklistItem(queue="it", text="Look.", who="it", cause="no answer: Aetna"))
        await core.journal.commit(core.write_of(runs[0].changes, runs[0].now))
        with pytest.raises(Conflict):
            await core.journal.commit(core.write_of(runs[1].changes, runs[1].now))
        again = core.context("again")
        item = await again.save(WorklistItem(queue="it", text="Look again.", who="it", cause="no answer: Aetna"))
        await core.journal.commit(core.write_of(again.changes, again.now))
        assert [(i["id"], i["text"]) for i in await ask(clinic.hub, "worklist.list")] == [(item.id, "Look again.")]
        for _ in range(2):  # and what was closed can be opened again
            closing = core.context("closing")
            await closing.save(WorklistItem(queue="it", cause="no answer: Aetna", open=False))
            await closing.save(WorklistItem(queue="it", text="Look.", who="it", cause="no answer: Aetna"))
            await core.journal.commit(core.write_of(closing.changes, closing.now))
        assert len(await ask(clinic.hub, "worklist.list")) == 1


@pytest.mark.parametrize("values", [{"cause": "new"}, {"cause": "old", "open": False}, {"topic": "fax 2", "open": False}])
async def test_items_of_no_visit_do_not_hinder_each_other(tmp_path: Path, values: dict[str, Any]) -> None:
    """Thousands of documents wait at the same time: who saves one item looks at no other."""
    async with running_hub(clinic_folder(tmp_path, UNKNOWN_CODES)) as hub:
        core = hub.core
        before = core.context("before")
        for known in (
            {"cause": "other"},
            {"cause": "old"},
            {"topic": "fax 1", "cause": "busy"},
            {"topic": "fax 2", "cause": "busy"},
        ):
            await before.save(WorklistItem(text="Look.", **known))
        await core.journal.commit(core.write_of(before.changes, before.now))
        one, other = core.context("one"), core.context("other")
        await one.save(WorklistItem(text="Look.", **values))
        for gone in ({"cause": "other"}, {"topic": "fax 1"}):
            await other.save(WorklistItem(open=False, **gone))
        for context in (other, one):
            await core.journal.commit(core.write_of(context.changes, context.now))
        left = {(i["topic"], i["cause"]) for i in await ask(hub, "worklist.list")}
        expected = {(None, "old"), ("fax 2", "busy")}
        what = (values.get("topic"), "busy" if "topic" in values else values["cause"])
        assert left == (expected | {what} if "open" not in values else expected - {what})


async def test_the_list_has_the_promised_keys_and_the_oldest_first(tmp_path: Path) -> None:
    """INTERFACES section 3."""
    async with eligibility(tmp_path) as clinic:
        await rejected_visits(clinic, ("F-9", at(9)), ("F-1", at(10)))
        listed = await clinic.to_do()
        assert [i["appointment"] for i in listed] == ["F-9", "F-1"]
        assert {"id", "queue", "appointment", "text", "who", "cause", "opened_at"} <= set(listed[0])
        assert datetime.fromisoformat(listed[0]["opened_at"]).tzinfo is not None
        assert listed[0]["text"].startswith("Payer rejected: ")


async def test_the_list_of_one_queue_has_only_its_items(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(member_id="FORM", reply="999")) as clinic:
        await rejected_visits(clinic, ("F-1", at(9)))
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.status = 400
        await clinic.tell(siu("S12", "F-2", at(10), pid(mrn("42"))))
        assert [i["appointment"] for i in await clinic.to_do(queue="front_desk")] == ["F-1"]
        assert [i["appointment"] for i in await clinic.to_do(queue="it")] == ["F-2"]
        assert await clinic.to_do(queue="nobody") == []


async def test_the_list_of_a_day_has_the_visits_of_that_day_where_they_take_place(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        before, after_it = DAY - timedelta(days=1), DAY + timedelta(days=1)
        visits = [
            ("F-1", at(23, 30, before)), ("F-2", at(0, 15)), ("F-3", at(23, 45)), ("F-4", at(0, 0, after_it)),
        ]  # fmt: skip
        await rejected_visits(clinic, *visits)
        assert [i["appointment"] for i in await clinic.to_do(date=DAY.isoformat())] == ["F-2", "F-3"]


async def test_today_and_tomorrow_are_days_of_the_clinic(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        today = datetime.now(ZONE).date()
        tomorrow = today + timedelta(days=1)
        await rejected_visits(clinic, ("F-1", at(23, 59, today)), ("F-2", at(9, day=tomorrow)))
        assert [i["appointment"] for i in await clinic.to_do(date="today")] == ["F-1"]
        assert [i["appointment"] for i in await clinic.to_do(date="tomorrow")] == ["F-2"]


@pytest.mark.parametrize("wrong", ["", "morgen", "2026-13-01", "20261124x"])
async def test_a_day_that_is_none_is_refused_with_words(tmp_path: Path, wrong: str) -> None:
    async with eligibility(tmp_path) as clinic:
        with pytest.raises(Refused, match="today, tomorrow or 20"):
            await clinic.to_do(date=wrong)


async def test_a_cancelled_visit_is_taken_off_the_worklist(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        await rejected_visits(clinic, ("F-1", at(9)), ("F-2", at(10)))
        await clinic.tell(siu("S15", "F-1", None, pid(mrn("42"))))
        assert [i["appointment"] for i in await clinic.to_do()] == ["F-2"]
        (closed,) = await clinic.all_items("F-1")
        assert "cancelled" in (closed.closed_because or "")


async def test_a_cause_that_changes_leaves_one_open_item_for_the_visit(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane(birth_date="19800228")) as clinic:
        await rejected_visits(clinic, ("F-1", at(9)))
        await clinic.tell(adt("A08", pid(mrn("42")), in1("W100")))
        assert [i["cause"] for i in await clinic.to_do()] == ["AAA 71"]
        await clinic.tell(adt("A08", pid(mrn("42"), born="19800228"), in1("W100")))
        assert await clinic.to_do() == []
        assert sorted((i.cause, i.open) for i in await clinic.all_items("F-1")) == [("AAA 71", False), ("AAA 72", False)]


async def test_a_check_that_is_out_again_keeps_the_item_until_its_answer(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        await rejected_visits(clinic, ("F-1", at(9)))
        before = await clinic.to_do()
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.behaviour.down = True
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await clinic.reaches("F-1", "pending")
        assert await clinic.to_do() == before
        clinic.clearinghouse.behaviour.down = False
        await clinic.reaches("F-1", "not_found")
        assert await clinic.to_do() == before


async def test_the_worklist_is_there_after_a_restart(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        await rejected_visits(clinic, ("F-1", at(9)), ("F-2", at(10)))
        await clinic.tell(siu("S15", "F-2", None, pid(mrn("42"))))
        before = await clinic.to_do()
    assert len(before) == 1
    async with running_hub(eligibility_file(tmp_path, 1)) as hub:
        assert await ask(hub, "worklist.list") == before


async def test_item_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        await rejected_visits(clinic, ("F-1", at(9)))
    async with eligibility(tmp_path) as clinic:
        await clinic.tell(siu("S12", "F-2", at(10), pid(mrn("42"))))
        listed = await clinic.to_do()
    assert [i["appointment"] for i in listed] == ["F-1", "F-2"]
    assert len({i["id"] for i in listed}) == 2


async def test_the_same_moment_in_another_zone_is_the_day_of_the_site(tmp_path: Path) -> None:
    """A sender that writes offsets of its own does not move the visit to another day."""
    async with eligibility(tmp_path) as clinic:
        starts = at(23, 30).astimezone(ZoneInfo("Europe/Berlin"))
        body = siu("S12", "F-1", None, pid(mrn("42"))).replace(b"|OFFICE", f"|OFFICE|||^^^{starts:%Y%m%d%H%M%z}".encode())
        await clinic.tell(adt("A04", pid(mrn("42")), in1("WRONG")), body)
        assert starts.date() == DAY + timedelta(days=1)
        assert [i["appointment"] for i in await clinic.to_do(date=DAY.isoformat())] == ["F-1"]
        assert [line["appointment"] for line in await ask(clinic.hub, "eligibility.list", date=DAY.isoformat())] == ["F-1"]
        next_day: date = DAY + timedelta(days=1)
        assert await ask(clinic.hub, "eligibility.list", date=next_day.isoformat()) == []

"""Any story of bookings, moves, cancellations, opt-outs, and reports that come late, twice or never: nobody gets a reminder of
what does not take place, who wants none, in quiet hours, or twice.  And a year of reminders, each at the right local time.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub import Appointment, Patient, WorklistItem
from hub.records_reminders import REMINDER, Reminder
from tests.plugins.reminders_world import NUMBERS, ZONES, Out, World, utc

BEGIN = utc(2027, 3, 8, 15)
"""Before the clocks change where they do."""
VISITS = ("F-1", "F-2", "F-3")
PATIENTS = dict(zip(("P-1", "P-2", "P-3"), ("chicago", "honolulu", "new york"), strict=True))
TAKES_PLACE = ("booked", "rescheduled", "changed")


def is_quiet_there(moment: datetime, place: str) -> bool:
    return not 9 <= moment.astimezone(ZONES[place]).hour < 20


class Watched(World):
    """Looks at every order as it leaves."""

    def __init__(self) -> None:
        self.moved: Counter[str] = Counter()
        super().__init__(BEGIN)
        self.wants_none: set[str] = set()
        self.doubtful: set[tuple[object, ...]] = set()
        self.places = {number: place for place, number in NUMBERS.items()}

    def commit(self, context: object) -> None:
        before = len(self.out)
        super().commit(context)  # type: ignore[arg-type]
        for out in self.out[before:]:
            out.headers["version"] = str(self.moved[out.headers["appointment"]])
            self.look_at(out, self.out[: len(self.out) - 1])

    def about(self, out: Out) -> tuple[object, ...]:
        """A visit that moves away and back is another one: its patient has heard of the time between."""
        return out.headers["reminder"], out.headers["version"]

    def keep(self, record: object) -> None:
        known = self.get(Appointment, record.id) if isinstance(record, Appointment) else None
        if isinstance(record, Appointment) and known is not None and known.starts_at != record.starts_at:
            self.moved[record.id] += 1
        super().keep(record)

    def look_at(self, out: Out, earlier: list[Out]) -> None:
        visit: Appointment = self.get(Appointment, out.headers["appointment"])
        assert visit.status in TAKES_PLACE, "of a visit that does not take place"
        assert visit.starts_at is not None
        assert visit.starts_at > self.now, "of a visit that is over"
        chart: Patient = self.get(Patient, visit.patient_id)
        chart = self.get(Patient, chart.merged_into) if chart.merged_into else chart
        assert out.to == chart.phone, "to somebody else"
        assert out.to not in self.wants_none, "to somebody who wants none"
        assert not is_quiet_there(self.now, self.places[out.to]), "in quiet hours"
        same = [o for o in earlier if self.about(o) == self.about(out)]
        assert self.about(out) not in self.doubtful, "although it may have been sent"
        assert not [o for o in same if o.channel == out.channel and "late" not in o.said], "twice"
        assert not [o for o in same if "failed" not in o.said and "late" not in o.said], "although the first has not failed"


class Story(RuleBasedStateMachine):
    @initialize()
    def a_clinic(self) -> None:
        self.world = Watched()
        self.unplanned: set[str] = set()
        for patient, place in PATIENTS.items():
            self.world.patient(patient, NUMBERS[place])

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.come_to_the_end()

    def some_visit(self, data: st.DataObject) -> Appointment:
        return self.world.get(Appointment, data.draw(st.sampled_from(sorted(a.id for a in self.world.all_of(Appointment)))))

    @rule(
        visit=st.sampled_from(VISITS), patient=st.sampled_from(sorted(PATIENTS)), days=st.integers(0, 9),
        hour=st.integers(13, 23), minute=st.sampled_from([0, 30]),
    )  # fmt: skip
    def booked(self, visit: str, patient: str, days: int, hour: int, minute: int) -> None:
        world = self.world
        known = world.get(Appointment, visit)
        at = (world.now + timedelta(days=days)).replace(hour=hour, minute=minute, second=0)
        world.book(visit, known.patient_id if known else patient, at, "rescheduled" if known else "booked")

    @precondition(lambda self: self.world.all_of(Appointment))
    @rule(
        data=st.data(), status=st.sampled_from(["cancelled", "deleted", "no_show", "arrived", "complete", "booked", "changed"])
    )
    def its_status_changes(self, data: st.DataObject, status: str) -> None:
        visit = self.some_visit(data)
        self.world.book(visit.id, visit.patient_id, None, status)

    @precondition(lambda self: self.world.all_of(Appointment))
    @rule(data=st.data(), hours=st.integers(-30, 90))
    def it_moves_without_being_planned(self, data: st.DataObject, hours: int) -> None:
        """By a flow that plans nothing."""
        visit = self.some_visit(data)
        self.world.keep(visit.model_copy(update={"starts_at": visit.starts_at + timedelta(hours=hours)}))

    @precondition(lambda self: self.world.all_of(Appointment))
    @rule(data=st.data(), status=st.sampled_from(["cancelled", "no_show", "arrived", "booked"]))
    def its_status_changes_without_being_planned(self, data: st.DataObject, status: str) -> None:
        visit = self.some_visit(data)
        self.world.keep(visit.model_copy(update={"status": status}))
        self.unplanned.add(visit.id)

    @rule(patient=st.sampled_from(["P-1", "P-2"]))
    def charts_are_merged(self, patient: str) -> None:
        self.world.keep(self.world.get(Patient, patient).model_copy(update={"merged_into": "P-3"}))

    @precondition(lambda self: self.world.due)
    @rule()
    def the_next_is_due(self) -> None:
        world = self.world
        world.fire(min(world.due, key=lambda key: (world.due[key].at, key)))

    @rule(minutes=st.sampled_from([1, 20, 60, 300, 700, 1500, 4000]), data=st.data())
    def the_hub_was_off(self, minutes: int, data: st.DataObject) -> None:
        """What has become due meanwhile is done when it is on again, in any order."""
        world = self.world
        world.now += timedelta(minutes=minutes)
        keys = sorted(key for key, due in world.due.items() if due.at <= world.now)
        for key in data.draw(st.permutations(keys)):
            if key in world.due and world.due[key].at <= world.now:
                world.fire(key)

    @precondition(lambda self: self.world.out)
    @rule(
        data=st.data(),
        said=st.sampled_from(["queued", "sent", "ringing", "delivered", "failed", "failed", "late", "opted_out"]),
    )
    def the_partner_says(self, data: st.DataObject, said: str) -> None:
        """Of any order that ever left: late, twice and out of order."""
        out = self.world.out[data.draw(st.integers(0, len(self.world.out) - 1))]
        if said == "ringing" and out.channel == "text":
            said = "sent"
        if out.channel == "call":
            said = {"sent": "ringing", "delivered": "answered", "opted_out": "failed"}.get(said, said)
        if said == "late" and out.said:
            return  # only the answer to an order says that it did not leave
        if said == "opted_out":
            self.world.wants_none |= {out.to} if not {"delivered", "failed", "late"} & set(out.said) else set()
        if said in ("failed", "opted_out"):
            self.world.doubtful.discard(self.world.about(out))  # its word settles the doubt
        out.said.append(said)
        self.world.says(out, "failed" if said in ("late", "opted_out") else said, said if said in ("late", "opted_out") else "")

    @precondition(lambda self: [out for out in self.world.out if not out.said])
    @rule(data=st.data(), doubtful=st.booleans())
    def an_order_gets_no_answer(self, data: st.DataObject, doubtful: bool) -> None:
        silent = [out for out in self.world.out if not out.said]
        out = silent[data.draw(st.integers(0, len(silent) - 1))]
        out.said.append("unknown" if doubtful else "failed")
        if doubtful:
            self.world.doubtful.add(self.world.about(out))
        self.world.fails(out, doubtful=doubtful)

    @rule(
        place=st.sampled_from(sorted(PATIENTS.values())),
        text=st.sampled_from(["C", "R", "what?", "STOP", "no more, stop", "START"]),
    )
    def somebody_answers(self, place: str, text: str) -> None:
        number = NUMBERS[place]
        if "stop" in text.lower():
            self.world.wants_none.add(number)
        elif text == "START":
            self.world.wants_none.discard(number)
        self.world.replies(number, text)

    @invariant()
    def what_does_not_take_place_has_nothing_planned(self) -> None:
        world = self.world
        for visit in world.all_of(Appointment):
            if visit.status not in (*TAKES_PLACE, "pending") and visit.id not in self.unplanned:
                assert not [key for job, key in world.due if job == "reminder" and key.startswith(f"{visit.id}/")]

    @invariant()
    def every_doubt_is_shown(self) -> None:
        causes = {item.cause for item in self.world.all_of(WorklistItem)}
        for out in self.world.out:
            if "unknown" in out.said:
                assert f"unknown {out.id}" in causes

    def come_to_the_end(self) -> None:
        """Nobody answers any more; all that is planned is done, and what is not over waits only for a partner."""
        for _ in range(500):
            if not self.world.due:
                break
            self.the_next_is_due()
        assert not self.world.due, "it never comes to an end"
        for reminder in self.world.all_of(Reminder):
            assert reminder.tries or REMINDER.is_over(reminder.state), f"{reminder.id} is {reminder.state} for ever"


Story.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
TestStory = Story.TestCase


# A year.


def expected(starts: datetime, before: timedelta, at: int | None, place: str) -> datetime:
    """By walking over the minutes, which needs no rule of the clock."""
    zone = ZONES[place]
    if at is None:
        moment = starts - before
    else:
        day = starts.astimezone(zone).date() - before
        moment = datetime(day.year, day.month, day.day, at, tzinfo=zone)
    moment = moment.astimezone(ZONES["chicago"])
    if not is_quiet_there(moment, place):
        return moment
    minute, later, earlier = (
        timedelta(minutes=1),
        moment.astimezone(utc(2000, 1, 1).tzinfo),
        moment.astimezone(utc(2000, 1, 1).tzinfo),
    )
    while is_quiet_there(later, place):
        later += minute
    if later <= starts - 30 * minute:
        return later
    while is_quiet_there(earlier - minute, place):
        earlier -= minute
    return earlier - 30 * minute


@pytest.mark.parametrize("people", [24, pytest.param(1000, marks=pytest.mark.long)])
def test_a_year_of_visits_is_reminded_at_the_right_local_times_in_four_zones(people: int) -> None:
    world = World(utc(2027, 1, 1, 6))
    wanted: dict[tuple[str, str], datetime] = {}
    places = list(ZONES)
    visits = []
    for number in range(people):
        place = places[number % 4]
        world.patient(f"P-{number}", NUMBERS[place][:-6] + f"{number:06d}".replace("0", "2", 1))
        for month in range(12):
            day = utc(2027, month + 1, 1) + timedelta(days=8 + (number * 7 + month * 3) % 19)
            starts = datetime(
                day.year, day.month, day.day, 8 + (number + month) % 10, 30 * (month % 2), tzinfo=ZONES["chicago"]
            )
            visits.append((starts, f"V-{number}-{month}", f"P-{number}", place))
    delivered = 0
    for starts, visit, patient, place in sorted(visits):
        world.until(starts - timedelta(days=8))
        delivered = deliver(world, delivered)
        world.book(visit, patient, starts)
        for step, before, at in (
            ("5d", timedelta(days=5), 10),
            ("1d", timedelta(days=1), 18),
            ("2h", timedelta(hours=2), None),
        ):
            wanted[visit, step] = expected(starts, before, at, place)
    world.until(utc(2028, 1, 10))
    sent = {(out.headers["appointment"], out.headers["reminder"].split("/")[1]): out.at for out in world.out}
    overtaken = {key for key in wanted if key not in sent}
    for visit, step in overtaken:
        assert step == "1d", "only the evening before may be overtaken by what had to leave before quiet hours"
        assert wanted[visit, "2h"] <= wanted[visit, "1d"] + timedelta(hours=2)
    assert {key: at for key, at in wanted.items() if key not in overtaken} == sent
    assert len(sent) == len(world.out), "none twice"
    assert len(overtaken) < len(wanted) / 4


def deliver(world: World, delivered: int) -> int:
    for out in world.out[delivered:]:
        world.says(out, "delivered")
    return len(world.out)

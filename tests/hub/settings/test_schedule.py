"""Times of flows: once a day whatever the clocks do, intervals that know no days, and nonsense that is refused at its place."""

from __future__ import annotations

import itertools
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from hub.clinic import load_clinic
from hub.errors import ConfigError
from hub.settings.schedule import EverySettings, Schedule, moment_of
from tests.support import clinic_folder

US = ("America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles", "Pacific/Honolulu")
YEARS = range(2024, 2036)
FLOW = "connections: {{}}\nflows: {{nightly: {{from: {source}, steps: [{{worklist: {{queue: front_desk}}}}]}}}}\n"


def daily(zone: str, at: str, every: str = "day") -> Schedule:
    return Schedule.of(EverySettings.model_validate({"every": every, "at": at}), zoneinfo.ZoneInfo(zone))


def runs(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    found, moment = [], begin
    while (moment := schedule.after(moment)) <= end:
        found.append(moment)
    return found


@pytest.mark.parametrize("zone", US)
@pytest.mark.parametrize("at", ["01:30", "02:00", "02:30", "03:00", "06:00", "23:59", "00:00"])
def test_every_day_of_twelve_years_has_its_time_exactly_once(zone: str, at: str) -> None:
    """All changes of the clocks among them, and Arizona and Hawaii, which have none."""
    found = runs(daily(zone, at), datetime(2023, 12, 31, 23, tzinfo=UTC), datetime(2035, 12, 31, tzinfo=UTC))
    days = [run.astimezone(zoneinfo.ZoneInfo(zone)).date() for run in found]
    assert len(set(days)) == len(days)
    assert len(days) >= 12 * 365
    assert {b - a for a, b in itertools.pairwise(days)} == {timedelta(days=1)}
    local = {run.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%H:%M") for run in found}
    assert local <= {at, f"{int(at[:2]) + 1:02d}{at[2:]}"}
    if at not in ("02:00", "02:30"):
        assert local == {at}


def test_a_time_that_is_skipped_comes_an_hour_later_and_of_one_that_comes_twice_the_first_counts() -> None:
    chicago = zoneinfo.ZoneInfo("America/Chicago")
    spring = moment_of(date(2026, 3, 8), time(2, 30), chicago)
    assert spring == datetime(2026, 3, 8, 8, 30, tzinfo=UTC)
    assert spring.astimezone(chicago).strftime("%H:%M") == "03:30"
    autumn = moment_of(date(2026, 11, 1), time(1, 30), chicago)
    assert autumn == datetime(2026, 11, 1, 6, 30, tzinfo=UTC), "daylight saving time, the first of the two"
    assert daily("America/Chicago", "01:30").after(autumn) == datetime(2026, 11, 2, 7, 30, tzinfo=UTC)


def test_a_day_that_a_place_left_out_does_not_run_twice() -> None:
    """Samoa went from the 29th to the 31st of December 2011."""
    found = runs(daily("Pacific/Apia", "06:00"), datetime(2011, 12, 28, tzinfo=UTC), datetime(2012, 1, 3, tzinfo=UTC))
    assert len(set(found)) == len(found)
    days = [run.astimezone(zoneinfo.ZoneInfo("Pacific/Apia")).day for run in found]
    assert days == [28, 29, 31, 1, 2, 3]


def test_days_of_the_week_are_those_of_the_site() -> None:
    found = runs(
        daily("Pacific/Auckland", "06:00", "monday"), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    )
    assert {run.astimezone(zoneinfo.ZoneInfo("Pacific/Auckland")).weekday() for run in found} == {0}
    assert {run.weekday() for run in found} == {6}, "it is still Sunday in UTC"
    assert len(found) == 4
    week = runs(
        daily("America/Chicago", "06:00", "weekday"), datetime(2026, 1, 4, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)
    )
    assert len(week) == 5


@given(
    st.sampled_from([*US, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns"]),
    st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),
    st.times(),
)
@settings(max_examples=300, deadline=None)
def test_after_and_latest_are_two_sides_of_the_same_times(zone: str, naive: datetime, at: time) -> None:
    schedule = daily(zone, f"{at:%H:%M}")
    moment = naive.replace(tzinfo=UTC)
    latest, following = schedule.latest(moment), schedule.after(moment)
    assert latest <= moment < following
    assert following - latest < timedelta(hours=49)
    assert schedule.after(latest) == following
    assert schedule.latest(following) == following
    assert schedule.has(latest)


@given(st.integers(1, 100_000), st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)))
@settings(max_examples=200, deadline=None)
def test_intervals_do_not_depend_on_when_somebody_asks(seconds: int, naive: datetime) -> None:
    schedule = Schedule.of(EverySettings.model_validate({"every": f"{seconds}s"}), UTC)
    moment = naive.replace(tzinfo=UTC)
    following = schedule.after(moment)
    assert following - schedule.latest(moment) == timedelta(seconds=seconds)
    assert schedule.after(following - timedelta(microseconds=1)) == following
    assert int(following.timestamp()) % seconds == 0


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{every: day}", "at: is needed with days"),
        ('{every: 5m, at: "06:00"}', "goes with days"),
        ('{every: moonday, at: "06:00"}', "an interval such as 15m, or days"),
        ('{every: [monday, 5m], at: "06:00"}', "has a day that is none"),
        ("{every: 10ms}", "at least one second"),
        ('{every: day, at: "06:00", missed: sometimes}', "missed"),
        ('{every: day, at: "06:00", site: moon}', "no site 'moon'"),
        ('{every: day, at: "25:00"}', "24-hour clock"),
        ("{due: eligibility, missed: perhaps}", "missed"),
        ("{due: eligibility, misssed: skip}", "unknown field 'misssed'"),
        ("{due: eligibilty}", "no due work 'eligibilty'"),
        ("{failed: nightly, missed: skip}", "`from` is a connection"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_place(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_clinic(clinic_folder(tmp_path, FLOW.format(source=source)))
    assert caught.value.problems[0].line > 0


def test_the_first_site_counts_unless_one_is_named(tmp_path: Path) -> None:
    head = """
organisation: {name: Test Clinic, npi: "1234567893"}
sites: {main: {timezone: America/Chicago}, west: {timezone: America/Los_Angeles}}
store: sqlite:///var/hub.db
"""
    for source, hour in (('{every: day, at: "06:00"}', 12), ('{every: day, at: "06:00", site: west}', 14)):
        clinic = load_clinic(clinic_folder(tmp_path, FLOW.format(source=source), head=head))
        schedule = clinic.settings.flows["nightly"].schedule
        assert schedule is not None
        assert schedule.after(datetime(2026, 1, 1, tzinfo=UTC)).hour == hour

"""Durations, sizes, times of day and moments, as people write and read them."""

from datetime import UTC, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, ValidationError

from hub.moments import from_micros, to_micros
from hub.units import (
    Duration,
    Size,
    TimeOfDay,
    age_in_words,
    iso,
    parse_duration,
    parse_rate,
    parse_size,
    parse_time_of_day,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("24h", 86400), ("3d", 259200), ("0s", 0), (" 5 m ", 300)],
)
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["90", "5", "", "s", "-5s", "5 minutes", "5M", "5S", "1h30m", "1e3s", ".5s", "5m,", "None", "٥x"]
)
def test_what_is_no_duration_is_refused_and_the_text_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="90s, 5m, 24h or 3d"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "in_a_second"), [("10/s", 10), ("600/min", 10), ("1800 / h", 0.5), ("0.5/s", 0.5)])
def test_rates_are_read_with_their_time(text: str, in_a_second: float) -> None:
    assert parse_rate(text) == pytest.approx(in_a_second)


@pytest.mark.parametrize("text", ["10", "10/m", "0/s", "-1/s", "ten/s", "10/s/s", "", "/s", True])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="10/s, 600/min or 1000/h"):
        parse_rate(text)


@pytest.mark.parametrize("value", [True, None, [], {"s": 1}])
def test_only_texts_and_numbers_are_durations(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("512B", 512), ("1KB", 1000), ("256KiB", 262144), ("20MiB", 20971520), ("20mib", 20971520), ("2 GiB", 2 << 30)],
)
def test_sizes_are_read_with_their_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["20", "20M", "MiB", "-1B", "1.5MiB", "20 MiBs", "twenty", "", "1TiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="256KiB or 20MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "value"), [("06:00", time(6)), ("6:00", time(6)), ("00:00", time(0)), ("23:59", time(23, 59))]
)
def test_times_of_day_are_on_the_24_hour_clock(text: str, value: time) -> None:
    assert parse_time_of_day(text) == value


@pytest.mark.parametrize("text", ["24:00", "6", "06:60", "6:5", "6am", "06:00:00", "", "360"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 06:00"):
        parse_time_of_day(text)


class Sample(BaseModel):
    """Settings with all three kinds."""

    wait: Duration = 5.0
    most: Size = 1024
    at: TimeOfDay = time(6)


def test_settings_take_all_three_as_text() -> None:
    sample = Sample.model_validate({"wait": "2m", "most": "1MiB", "at": "07:30"})
    assert (sample.wait, sample.most, sample.at) == (120, 1048576, time(7, 30))
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate({"wait": "2", "most": "1", "at": "7"})
    assert caught.value.error_count() == 3


moments = st.datetimes(
    min_value=datetime(1900, 1, 1),
    max_value=datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, ZoneInfo("America/Chicago")]),
)


@given(moments)
@settings(max_examples=200, deadline=None)
def test_moments_come_back_from_the_store_as_they_were(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment.astimezone(UTC)


@given(moments, moments)
@settings(max_examples=200, deadline=None)
def test_moments_keep_their_order_in_the_store(one: datetime, other: datetime) -> None:
    assert (to_micros(one) < to_micros(other)) == (one.astimezone(UTC) < other.astimezone(UTC))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 9, 12, 1, 999999, tzinfo=UTC), "2026-11-23T09:12:01Z"),
        (datetime(2026, 11, 24, 14, 30, tzinfo=ZoneInfo("America/Chicago")), "2026-11-24T14:30:00-06:00"),
        (datetime(2026, 6, 24, 14, 30, tzinfo=ZoneInfo("America/Chicago")), "2026-06-24T14:30:00-05:00"),
        (datetime(2026, 6, 24, 14, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-06-24T14:30:00+05:30"),
        (datetime(2026, 6, 24, 14, 30, tzinfo=ZoneInfo("Europe/London")), "2026-06-24T14:30:00+01:00"),
    ],
)
def test_moments_are_written_with_their_zone(moment: datetime, text: str) -> None:
    assert iso(moment) == text
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (42, "42 s"), (119, "119 s"), (120, "2 min"), (420, "7 min"), (7200, "2 h"), (10800, "3 h"), (172800, "2 d")],
)
def test_ages_are_told_in_words(seconds: float, words: str) -> None:
    assert age_in_words(seconds) == words

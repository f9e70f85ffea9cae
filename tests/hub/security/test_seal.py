"""Sealing (sentence 11): bound to key and place, a data key for each day, ids as keyed digests; the key file is guarded."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from hub.errors import ConfigError
from hub.security import seal as seals
from hub.security.seal import VERSION, Seal, SealBroken, new_key, read_key, write_key

KEY = bytes(range(32))
TODAY = datetime.now(UTC)


def sealer(key: bytes = KEY, *days: datetime) -> Seal:
    seal = Seal(key)
    seal.load({number_of(day): seal.new_data_key(number_of(day)) for day in days or (TODAY, TODAY + timedelta(days=1))})
    return seal


def number_of(day: datetime) -> int:
    return int(day.astimezone(UTC).strftime("%Y%m%d"))


def key_number(sealed: bytes) -> int:
    return int.from_bytes(sealed[1:5], "big")


# Values.


@given(st.binary(max_size=500), st.text(max_size=50).filter(lambda text: text.isprintable()))
@settings(max_examples=200, deadline=None)
def test_what_was_sealed_opens_at_its_place(plain: bytes, place: str) -> None:
    seal = sealer()
    sealed = seal.seal(plain, place)
    assert seal.open(sealed, place) == plain
    assert sealed[0] == VERSION
    if len(plain) > 3:
        assert plain not in sealed


@given(st.binary(min_size=1, max_size=60), st.data())
@settings(max_examples=200, deadline=None)
def test_no_change_of_any_bit_goes_unnoticed(plain: bytes, data: st.DataObject) -> None:
    seal = sealer()
    sealed = bytearray(seal.seal(plain, "message|1"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        seal.open(bytes(sealed), "message|1")


@given(st.binary(max_size=60), st.data())
@settings(max_examples=100, deadline=None)
def test_no_cut_goes_unnoticed(plain: bytes, data: st.DataObject) -> None:
    seal = sealer()
    sealed = seal.seal(plain, "message|1")
    with pytest.raises(SealBroken):
        seal.open(sealed[: data.draw(st.integers(0, len(sealed) - 1))], "message|1")


@pytest.mark.parametrize("place", ["message|2", "note|1", "message|", "", "message|1 "])
def test_a_value_does_not_open_at_another_place(place: str) -> None:
    seal = sealer()
    with pytest.raises(SealBroken):
        seal.open(seal.seal(b"plain", "message|1"), place)


def test_a_value_of_another_clinic_does_not_open() -> None:
    with pytest.raises(SealBroken):
        sealer(new_key()).open(sealer().seal(b"plain", "p"), "p")


def test_the_error_names_the_table_and_nothing_of_the_value_or_the_row() -> None:
    seal = sealer()
    with pytest.raises(SealBroken) as caught:
        seal.open(seal.seal(b"ZQXSECRET", "record|patient|ZQXROW"), "record|patient|ZQXOTHER")
    assert "record" in str(caught.value)
    assert "ZQX" not in str(caught.value)


def test_the_same_value_looks_different_each_time() -> None:
    seal = sealer()
    assert len({seal.seal(b"same", "p") for _ in range(20_000)}) == 20_000


def test_no_nonce_is_used_twice() -> None:
    seal = sealer()
    assert len({seal.seal(b"", "p")[5:17] for _ in range(50_000)}) == 50_000


# Large values, a piece at a time.


@pytest.mark.parametrize("size", [0, 1, 2 * seals._PIECE, 2 * seals._PIECE + 1])
def test_what_is_sealed_in_pieces_is_what_is_sealed_at_once(tmp_path: Path, size: int) -> None:
    seal, plain = sealer(), os.urandom(size)
    in_pieces = b"".join(seal.seal_in_pieces(plain, "file|1"))
    assert seal.open(in_pieces, "file|1") == plain
    for sealed in (in_pieces, seal.seal(plain, "file|1")):
        (tmp_path / "file").write_bytes(sealed)
        with (tmp_path / "file").open("rb") as file:
            assert seal.open_file(file, "file|1") == plain


@pytest.mark.parametrize("change", ["head", "day", "middle", "tag", "cut", "short", "longer", "place"])
def test_a_file_that_was_changed_or_moved_does_not_open(tmp_path: Path, change: str) -> None:
    seal = sealer()
    sealed = bytearray(seal.seal(os.urandom(3 * seals._PIECE), "file|1"))
    at = {"head": 0, "day": 3, "middle": len(sealed) // 2, "tag": len(sealed) - 1}.get(change)
    if at is not None:
        sealed[at] ^= 1
    if change in ("cut", "short"):
        del sealed[-1 if change == "cut" else 20 :]
    (tmp_path / "file").write_bytes(sealed + b"x" * (change == "longer"))
    with (tmp_path / "file").open("rb") as file, pytest.raises(SealBroken):
        seal.open_file(file, "file|2" if change == "place" else "file|1")


# Data keys.


def test_values_are_sealed_with_the_key_of_their_day() -> None:
    seal = sealer(KEY, TODAY - timedelta(days=1), TODAY, TODAY + timedelta(days=1))
    assert key_number(seal.seal(b"x", "p")) in (number_of(TODAY), number_of(datetime.now(UTC)))


def test_values_are_still_sealed_with_the_key_of_their_day_after_that_of_tomorrow_was_made() -> None:
    """As every night: the hub runs over midnight and makes the key of the day after."""
    seal = sealer(KEY, TODAY - timedelta(days=1), TODAY)
    seal.seal(b"x", "p")
    tomorrow = number_of(TODAY + timedelta(days=1))
    seal.load({tomorrow: seal.new_data_key(tomorrow)})
    assert key_number(seal.seal(b"x", "p")) in (number_of(TODAY), number_of(datetime.now(UTC)))


def test_a_hub_that_could_make_no_new_key_goes_on_with_the_newest_there_is() -> None:
    seal = sealer(KEY, TODAY - timedelta(days=9), TODAY - timedelta(days=5))
    assert key_number(seal.seal(b"x", "p")) == number_of(TODAY - timedelta(days=5))


def test_a_clock_before_all_keys_does_not_keep_the_hub_from_sealing() -> None:
    seal = sealer(KEY, TODAY + timedelta(days=5), TODAY + timedelta(days=6))
    assert seal.open(seal.seal(b"x", "p"), "p") == b"x"


@pytest.mark.parametrize(
    ("now", "missing"),
    [
        pytest.param(datetime(2026, 3, 1, 0, 0, tzinfo=UTC), [20260301, 20260302], id="new-store"),
        pytest.param(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), [20261231, 20270101], id="end-of-the-year"),
        pytest.param(datetime(2028, 2, 28, 12, 0, tzinfo=UTC), [20280228, 20280229], id="leap-year"),
        pytest.param(datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-6))), [20260302, 20260303], id="utc-counts"),
    ],
)
def test_the_keys_of_today_and_tomorrow_are_made(now: datetime, missing: list[int]) -> None:
    assert Seal(KEY).missing_days(now) == missing


def test_over_midnight_only_the_key_of_the_new_tomorrow_is_made() -> None:
    seal = Seal(KEY)
    evening = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
    seal.load({number: seal.new_data_key(number) for number in seal.missing_days(evening)})
    assert seal.missing_days(evening) == []
    assert seal.missing_days(evening + timedelta(minutes=2)) == [20260303]
    assert seal.missing_days(evening + timedelta(days=3)) == [20260304, 20260305], "after some days off"


def test_values_of_former_days_open_as_long_as_their_key_is_there() -> None:
    old = sealer(KEY, TODAY - timedelta(days=400))
    sealed = old.seal(b"last year", "p")
    number = key_number(sealed)
    fresh = Seal(KEY)
    with pytest.raises(SealBroken, match="is gone"):
        fresh.open(sealed, "p")
    assert number == number_of(TODAY - timedelta(days=400))


def test_a_wrapped_data_key_belongs_to_its_number_and_its_clinic() -> None:
    wrapped = Seal(KEY).new_data_key(20260301)
    Seal(KEY).load({20260301: wrapped})
    for key, number, blob in ((KEY, 20260302, wrapped), (new_key(), 20260301, wrapped), (KEY, 20260301, wrapped[:-1])):
        with pytest.raises(SealBroken):
            Seal(key).load({number: blob})


def test_every_data_key_is_another() -> None:
    seal = Seal(KEY)
    assert len({seal.new_data_key(20260301) for _ in range(100)}) == 100


# Ids.


def test_a_digest_of_an_id_is_the_same_for_the_same_kind_and_key_only() -> None:
    seal = Seal(KEY)
    digest = seal.mac("patient", "00042")
    assert digest == Seal(KEY).mac("patient", "00042")
    assert len(digest) == 22
    others = [
        seal.mac("member", "00042"),
        seal.mac("patient", "00043"),
        Seal(new_key()).mac("patient", "00042"),
        seal.mac("patient", ""),
    ]
    assert digest not in others
    assert "00042" not in digest


def test_a_digest_of_a_body_says_nothing_without_the_key() -> None:
    import hashlib

    assert Seal(KEY).digest(b"body") == Seal(KEY).digest(b"body")
    assert Seal(KEY).digest(b"body") != Seal(new_key()).digest(b"body")
    assert Seal(KEY).digest(b"body") != hashlib.blake2b(b"body", digest_size=16).digest()


def test_the_check_value_tells_keys_apart() -> None:
    assert Seal(KEY).check == Seal(KEY).check != Seal(new_key()).check


# The key file.


def test_a_key_file_is_written_for_its_owner_and_read_back(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        write_key(tmp_path / "hub.key", KEY)
    finally:
        os.umask(before)
    assert (tmp_path / "hub.key").stat().st_mode & 0o777 == 0o600
    assert read_key(tmp_path / "hub.key") == KEY


def test_a_key_file_is_never_written_over(tmp_path: Path) -> None:
    write_key(tmp_path / "hub.key", KEY)
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "hub.key", new_key())
    assert read_key(tmp_path / "hub.key") == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o777, 0o610])
def test_a_key_file_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    write_key(tmp_path / "hub.key", KEY)
    (tmp_path / "hub.key").chmod(mode)
    with pytest.raises(ConfigError, match="other users can read the key file; chmod 600") as caught:
        read_key(tmp_path / "hub.key")
    assert caught.value.code == "SEC-004"


WRONG = {
    "missing": (None, "SEC-002"),
    "empty": (b"", "SEC-003"),
    "other-file": (b"clinic-hub-key-2 " + b"A" * 44, "SEC-003"),
    "no-base64": (b"clinic-hub-key-1 ***", "SEC-003"),
    "too-short": (b"clinic-hub-key-1 AAAA", "SEC-003"),
    "cut": (b"clinic-hub-key-1 " + b"A" * 40, "SEC-003"),
    "no-text": (b"\xff\xfe\x00", "SEC-003"),
}


@pytest.mark.parametrize(("content", "code"), WRONG.values(), ids=WRONG.keys())
def test_a_key_file_that_is_none_is_refused_with_words(tmp_path: Path, content: bytes | None, code: str) -> None:
    file = tmp_path / "hub.key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(ConfigError, match="put the one of this store back") as caught:
        read_key(file)
    assert caught.value.code == code
    assert str(file) in str(caught.value)


def test_new_keys_are_random() -> None:
    assert len({new_key() for _ in range(100)}) == 100
    assert len(new_key()) == 32

"""Questions written one by one leave as one interchange, and nothing of them is lost or changed on the way."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from hub.errors import MessageUnusable
from hub.formats.x12.envelope import read
from hub.formats.x12.inquiry import Inquiry, PersonNamed, build_270, build_batch
from hub.formats.x12.joined import is_270, join_270s
from hub.formats.x12.report import describe
from hub.formats.x12.tokens import Delimiters

NOW = datetime(2026, 11, 23, 20, 30)
PERSON = PersonNamed(family="Doe", given="Jane", birth_date=date(1980, 2, 29), sex="F")


def inquiry(**more: object) -> Inquiry:
    given = {
        "sender": "CLINIC", "receiver": "HOUSE", "usage": "T", "payer_name": "Aetna", "payer_id": "60054",
        "provider_name": "Riverside", "provider_npi": "1234567893", "member_id": "W100", "subscriber": PERSON,
        "service_date": date(2026, 11, 30), "service_types": ["30", "98"],
    }  # fmt: skip
    return Inquiry(**(given | more))  # type: ignore[arg-type]


def question(number: int, **more: object) -> bytes:
    return build_270(inquiry(**more), control_number=number, trace=f"T{number}", now=NOW)


VARIANTS = [
    {},
    {"repeat_types": True},
    {"patient": PersonNamed(family="Doe", given="Tim", birth_date=date(2015, 1, 2)), "relationship": "child"},
    {"service_end": date(2026, 12, 1), "references": [("SY", "123456789")], "provider_taxonomy": "207Q00000X"},
]


def test_what_was_written_one_by_one_is_the_batch_that_would_have_been_written_at_once() -> None:
    asked = [inquiry(**more) for more in VARIANTS]  # type: ignore[arg-type]
    ones = [build_270(one, control_number=100 + place, trace=f"T{place}", now=NOW) for place, one in enumerate(asked)]
    joined = join_270s(ones, control_number=7, now=NOW)
    assert joined.body == build_batch([(one, f"T{place}") for place, one in enumerate(asked)], control_number=7, now=NOW)
    assert joined.taken == [0, 1, 2, 3]
    assert describe(joined.body)["findings"] == []


def test_other_separators_stay_what_they_are() -> None:
    separators = Delimiters(element="|", repetition="!", component=">", segment="\n")
    joined = join_270s([question(1, delimiters=separators, repeat_types=True), question(2, delimiters=separators)],
                       control_number=7, now=NOW)  # fmt: skip
    assert b"EQ|30!98\n" in joined.body
    assert len(read(joined.body).transactions()) == 2


@pytest.mark.parametrize("other", [{"receiver": "ELSEWHERE"}, {"sender": "OTHER"}, {"usage": "P"}], ids=str)
def test_what_goes_to_another_receiver_or_counts_otherwise_is_not_mixed_in(other: dict[str, object]) -> None:
    joined = join_270s([question(1), question(2, **other), question(3)], control_number=7, now=NOW)
    assert joined.taken == [0, 2]
    assert len(read(joined.body).transactions()) == 2


@pytest.mark.parametrize(
    "wrong",
    [b"", b"no X12", b"ISA*00", question(1)[:200], question(1) + question(2), question(1).replace(b"ST*270", b"ST*271")],
)
def test_what_is_no_single_270_is_left_out(wrong: bytes) -> None:
    assert not is_270(wrong)
    assert join_270s([wrong, question(3)], control_number=7, now=NOW).taken == [1]
    with pytest.raises(MessageUnusable, match="no 270"):
        join_270s([wrong], control_number=7, now=NOW)


def test_thousands_of_questions_are_one_file() -> None:
    joined = join_270s([question(number) for number in range(1, 3001)], control_number=999_999_999, now=NOW)
    found = read(joined.body)
    assert len(found.transactions()) == 3000
    assert found.interchanges[0].findings == []
    assert found.transactions()[-1].control_number == "3000"

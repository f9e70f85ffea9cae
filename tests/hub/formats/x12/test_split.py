"""A file of answers, taken apart: each part is an interchange of its own that says what it said in the file."""

from __future__ import annotations

from hypothesis import given, strategies as st

from hub.formats.x12 import report
from hub.formats.x12.split import split_answers
from tests.hub.formats.messages import HEAD_271, ISA, PROPERTY, answer_271, group, interchange, transaction


def subscriber(number: int, *more: str, trace: str = "") -> list[str]:
    return [
        f"HL*{number}*2*22*0",
        f"TRN*2*{trace or f'TRACE{number}'}*9123456789",
        f"NM1*IL*1*DOE*N{number}****MI*W{number}",
        *more,
    ]


def test_an_answer_alone_is_read_as_it_was() -> None:
    whole = answer_271("EB*1**30**GOLD", "EB*B**98***27*25*****Y")
    (part,) = split_answers(whole).parts
    assert (part.kind, part.traces) == ("271", ["TRACE1"])
    assert report.answer(part.body, ["98"]) == report.answer(whole, ["98"])


def test_each_transaction_set_and_each_patient_in_one_is_a_part_with_the_levels_above() -> None:
    several = transaction("271", *HEAD_271, *subscriber(3, "EB*1**30**GOLD"), *subscriber(4, "EB*6**30**SILVER"))
    family = transaction(
        "271", *HEAD_271, "HL*3*2*22*1", "NM1*IL*1*DOE*JANE****MI*W9", "HL*4*3*23*0", "TRN*2*CHILD*9123456789",
        "NM1*03*1*DOE*ANNA", "EB*1**30**FAMILY", number="0002",
    )  # fmt: skip
    file = split_answers(interchange(group(several, family)))
    assert [list(part.traces) for part in file.parts] == [["TRACE3"], ["TRACE4"], ["CHILD"]]
    read = [report.answer(part.body) for part in file.parts]
    assert [(a["status"], a["plan"], a["payer"]["id"]) for a in read] == [
        ("active", "GOLD", "60054"),
        ("inactive", "SILVER", "60054"),
        ("active", "FAMILY", "60054"),
    ]
    assert [answer["findings"] for answer in read] == [[], [], []]
    assert file.unread == 0


def test_a_rejection_above_all_patients_is_known_by_the_reference() -> None:
    body = interchange(group(transaction("271", *HEAD_271[:3], "AAA*Y**42*R")))
    (part,) = split_answers(body).parts
    assert list(part.traces) == ["REF1"]


def test_of_acknowledgements_only_refusals_are_parts_with_the_numbers_they_are_about() -> None:
    verdicts = ["AK2*270*0001", "IK5*A", "AK2*270*0002", "IK3*NM1*8**8", "IK5*R*5", "AK2*270*0003", "IK5*E"]
    sets = transaction("999", "AK1*HS*000000042*005010X279A1", *verdicts, "AK9*P*3*3*2")
    file = split_answers(interchange(group(sets, kind="999")))
    assert [(part.kind, part.control_number, part.set_number) for part in file.parts] == [("999", "42", "0002")]
    assert "999" in report.answer(file.parts[0].body)["failure"]
    assert file.unread == 0
    accepted = transaction("999", "AK1*HS*42*005010X279A1", "AK9*A*3*3*3")
    assert split_answers(interchange(group(accepted, kind="999"))).parts == []
    refused = transaction("999", "AK1*HS*42*005010X279A1", "AK9*R*3*3*0")
    (whole,) = split_answers(interchange(group(refused, kind="999"))).parts
    assert (whole.control_number, whole.set_number) == ("42", "")


def test_a_refused_interchange_is_a_part_and_an_accepted_one_is_not() -> None:
    def answer(verdict: str) -> bytes:
        return f"{ISA}TA1*000000042*261130*1430*{verdict}~IEA*0*000000007~".encode()

    (part,) = split_answers(answer("R*006")).parts
    assert (part.kind, part.control_number) == ("TA1", "42")
    assert "006" in report.answer(part.body)["failure"]
    assert split_answers(answer("A*000")).parts == []


def test_what_answers_no_question_about_eligibility_is_counted() -> None:
    claim = ["ST*835*0001", "BPR*I*1", "SE*3*0001"]
    file = split_answers(interchange(["GS*HP*PAYER*CLINIC*20261130*1430*7*X*005010X221A1", *claim, "GE*1*7"]))
    assert (file.parts, file.unread) == ([], 1)


@PROPERTY
@given(
    st.lists(
        st.sampled_from(
            [
                "HL*3*2*22*0",
                "HL*9",
                "HL",
                "TRN*2*T*9",
                "NM1*IL*1*D",
                "EB*1**30",
                "LS*2120",
                "SE*1*0001",
                "AAA*Y**72*C",
                "ST*271*1",
                "GE",
                "IEA*1*7",
                "ISA*",
            ]
        ),
        max_size=30,
    )
)
def test_segments_in_any_order_are_parts_that_can_be_read(segments: list[str]) -> None:
    body = interchange(group(transaction("271", *HEAD_271, *segments)))
    for part in split_answers(body).parts:
        assert report.answer(part.body)["set"] in ("271", None)


@PROPERTY
@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_bytes_give_parts_or_none(noise: bytes, place: int) -> None:
    whole = answer_271("EB*1**30**GOLD")
    split_answers(noise)
    split_answers(whole[:place] + noise + whole[place:])

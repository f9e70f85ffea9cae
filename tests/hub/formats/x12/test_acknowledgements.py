"""999 and TA1: what a partner says about the form of what we sent."""

import pytest

from hub.formats.x12 import report
from tests.hub.formats.messages import ISA, answer_271, group, interchange, transaction, transactions

AK = "AK1*HS*7*005010X279A1"


def described(*segments: str):  # type: ignore[no-untyped-def]
    (found,) = transactions(report.describe(interchange(group(transaction("999", *segments), kind="999"))))
    return found["acknowledgements"]


def answered(*segments: str):  # type: ignore[no-untyped-def]
    return report.answer(interchange(group(transaction("999", *segments), kind="999")), ["30"])


def test_each_set_has_its_verdict() -> None:
    found = described(
        AK, "AK2*270*0001*005010X279A1", "IK5*A", "AK2*270*0002*005010X279A1", "IK3*NM1*8*2100*8", "IK4*9*67*1*X", "IK5*R*5",
        "AK2*270*0003", "IK3*DTP*9**I6", "IK5*E*5", "AK9*P*3*3*2",
    )  # fmt: skip
    assert [(a["group"], a["group_code"], a["group_result"], a["set"], a["control_number"], a["code"]) for a in found] == [
        ("7", "HS", "P", "270", "0001", "A"),
        ("7", "HS", "P", "270", "0002", "R"),
        ("7", "HS", "P", "270", "0003", "E"),
    ]
    assert [len(a["errors"]) for a in found] == [0, 1, 1]
    (error,) = found[1]["errors"]
    assert (error["segment"], error["position"], error["loop"], error["element"], error["code"]) == ("NM1", 8, "2100", "9", "1")
    assert error["text"] == "Required data element missing"
    (error,) = found[2]["errors"]
    assert (error["segment"], error["position"], error["loop"], error["element"], error["code"]) == ("DTP", 9, None, None, "I6")


def test_several_element_errors_of_a_segment_are_all_told() -> None:
    (found,) = described(
        AK, "AK2*270*0001", "IK3*DMG*10**8", "IK4*2*1251*8*19801399", "IK4*3*1068*7*X", "IK5*R*5", "AK9*R*1*1*0"
    )
    assert [(e["segment"], e["element"], e["code"]) for e in found["errors"]] == [("DMG", "2", "8"), ("DMG", "3", "7")]


def test_context_segments_change_nothing() -> None:
    (found,) = described(
        AK, "AK2*270*0001", "IK3*REF*12**3", "CTX*SITUATIONAL TRIGGER*NM1*8**9:3", "CTX*TRN02:1", "IK5*R*5", "AK9*R*1*1*0"
    )
    assert [(e["segment"], e["code"]) for e in found["errors"]] == [("REF", "3")]


def test_the_older_names_are_read_too() -> None:
    (found,) = described(AK, "AK2*270*0001", "AK3*NM1*8**8", "AK4*9*67*1", "AK5*R*5", "AK9*R*1*1*0")
    assert (found["code"], [e["element"] for e in found["errors"]]) == ("R", ["9"])


@pytest.mark.parametrize("code", ["A", "E", "P", "R"])
def test_a_group_without_sets_has_the_verdict_of_the_group(code: str) -> None:
    (found,) = described(AK, f"AK9*{code}*1*1*0")
    assert (found["group"], found["set"], found["code"], found["errors"]) == ("7", None, code, [])


@pytest.mark.parametrize(
    "segments", [[], ["IK5*R"], ["IK3*NM1*8**8"], ["IK4*1*2*3"], ["AK2"], ["AK2*270*1", "IK4*9*67*1"], ["AK9"], ["AK1"]]
)
def test_a_broken_999_is_read_as_far_as_it_goes(segments: list[str]) -> None:
    assert isinstance(described(*segments), list)
    assert answered(*segments)["status"] == "unknown"


@pytest.mark.parametrize("segment", ["IK3*NM1*x**8", "IK3*NM1*²**8", "IK3*NM1*" + "9" * 5000, "IK3", "IK3*NM1"])
def test_a_place_that_is_no_number_is_none(segment: str) -> None:
    (found,) = described(AK, "AK2*270*0001", segment, "IK5*R*5", "AK9*R*1*1*0")
    assert all(isinstance(error["position"], int | None) for error in found["errors"])


def test_a_refused_form_is_a_failure() -> None:
    found = answered(AK, "AK2*270*0001", "IK3*NM1*8**8", "IK5*R*5", "AK9*R*1*1*0")
    assert (found["set"], found["status"]) == ("999", "unknown")
    assert "999" in found["failure"]


@pytest.mark.parametrize("code", ["R", "M", "W", "X"])
def test_every_code_of_refusal_is_a_failure(code: str) -> None:
    assert answered(AK, "AK2*270*0001", f"IK5*{code}*5", "AK9*R*1*1*0")["set"] == "999"


@pytest.mark.parametrize(
    "segments",
    [
        ["AK2*270*0001", "IK5*A", "AK9*A*1*1*1"],
        ["AK2*270*0001", "IK3*NM1*8**8", "IK5*E*5", "AK9*E*1*1*1"],
        ["AK9*A*1*1*1"],
        ["AK9*E*1*1*1"],
    ],
    ids=["accepted", "accepted with errors", "group accepted", "group accepted with errors"],
)
def test_an_accepted_form_is_not_called_refused(segments: list[str]) -> None:
    found = answered(AK, *segments)
    assert found["status"] == "unknown"
    assert "refused" not in (found["failure"] or "")


def test_a_group_that_is_refused_is_a_failure() -> None:
    assert answered(AK, "AK9*R*1*1*0")["set"] == "999"


def ta1(code: str, note: str) -> bytes:
    return (ISA + f"TA1*000000050*261130*1430*{code}*{note}~IEA*0*000000007~").encode()


@pytest.mark.parametrize(
    ("code", "note", "words"),
    [("A", "000", "No error"), ("R", "006", "Invalid Interchange Sender ID"), ("E", "021", "Invalid Number"), ("R", "999", "")],
)
def test_a_ta1_is_the_verdict_on_an_interchange(code: str, note: str, words: str) -> None:
    found = report.describe(ta1(code, note))
    (verdict,) = found["interchanges"][0]["interchange_acknowledgements"]
    assert (verdict["control_number"], verdict["date"], verdict["time"]) == ("000000050", "261130", "1430")
    assert (verdict["code"], verdict["note"]) == (code, note)
    assert words in (verdict["text"] or "")
    assert found["findings"] == []


def test_a_refused_interchange_is_a_failure() -> None:
    found = report.answer(ta1("R", "006"), ["30"])
    assert (found["set"], found["status"]) == ("TA1", "unknown")
    assert "006" in found["failure"]


@pytest.mark.parametrize("code", ["A", "E"])
def test_an_accepted_interchange_is_not_called_refused(code: str) -> None:
    found = report.answer(ta1(code, "000" if code == "A" else "021"), ["30"])
    assert found["status"] == "unknown"
    assert "refused" not in (found["failure"] or "")


def test_a_ta1_beside_an_answer_does_not_hide_it() -> None:
    data = answer_271("EB*1**30").replace(b"~GS*", b"~TA1*000000050*261130*1430*A*000~GS*")
    assert report.answer(data)["status"] == "active"
    assert report.describe(data)["interchanges"][0]["interchange_acknowledgements"][0]["code"] == "A"

"""Rejections (AAA): in which loop they stand, what they mean, and who does what about them."""

import pytest

from hub.formats.x12 import codes, report
from hub.formats.x12.codes import OTHER_REJECTION, rejection
from tests.hub.formats.messages import HEAD_271, SUBSCRIBER, group, interchange, transaction, transactions

DEPENDENT = ["HL*3*2*22*1", "NM1*IL*1*DOE*JOHN****MI*W100", "HL*4*3*23*0", "TRN*2*TRACE1*9123456789", "NM1*03*1*DOE*MARY"]

PLACES = {
    "2000A": (["HL*1**20*1", "{}", *HEAD_271[2:], *SUBSCRIBER], "transaction"),
    "2100A": (["HL*1**20*1", "NM1*PR*2*ACME*****PI*1", "{}"], "transaction"),
    "2100B": ([*HEAD_271[1:], "{}"], "transaction"),
    "2100C": ([*HEAD_271[1:], *SUBSCRIBER[:3], "{}"], "coverage"),
    "2100D": ([*HEAD_271[1:], *DEPENDENT, "{}"], "coverage"),
    "2110C": ([*HEAD_271[1:], *SUBSCRIBER, "EB*F**30", "{}"], "coverage"),
    "2110D": ([*HEAD_271[1:], *DEPENDENT, "EB*F**30", "{}"], "coverage"),
}
"""Where an AAA may stand, and where it is told."""
USUAL = {
    "2000A": "04 41 42 79 80",
    "2100A": "04 41 42 79 80 T4",
    "2100B": "15 41 43 44 45 46 47 48 50 51 79 97 T4",
    "2100C": "15 35 42 43 45 47 48 49 51 52 56 57 58 60 61 62 63 71 72 73 74 75 76 78",
    "2100D": "15 35 42 43 45 47 48 49 51 52 56 57 58 60 61 62 63 64 65 66 67 68 71 77",
    "2110C": "33 53 54 55 69 70 98 AA AE AF AG AO CI E8 IA MA",
    "2110D": "33 53 54 55 69 70 98 AA AE AF AG AO CI E8 IA MA",
}
"""Research x12.md 4.6."""


def described(loop: str, aaa: str):  # type: ignore[no-untyped-def]
    body = ["BHT*0022*11*REF1", *(segment.format(aaa) for segment in PLACES[loop][0])]
    data = interchange(group(transaction("271", *body)))
    return data, transactions(report.describe(data))[0]


@pytest.mark.parametrize(("loop", "code"), [(loop, code) for loop, known in USUAL.items() for code in known.split()])
def test_a_rejection_stands_in_its_loop_with_its_words(loop: str, code: str) -> None:
    data, found = described(loop, f"AAA*N**{code}*C")
    told = found["rejections"] if PLACES[loop][1] == "transaction" else found["coverages"][0]["rejections"]
    assert [(r["loop"], r["code"], r["follow_up"]) for r in told] == [(loop, code, "C")]
    assert all(told[0][key] for key in ("text", "who", "action"))
    if PLACES[loop][1] == "transaction":
        assert all(not c["rejections"] for c in found["coverages"])
    else:
        assert found["rejections"] == []
    answer = report.answer(data, ["30"])
    assert answer["status"] == "rejected"
    assert [(r["loop"], r["code"]) for r in answer["rejections"]] == [(loop, code)]


def test_every_usual_code_has_words_of_its_own() -> None:
    """CAQH CORE rule 259: a text that uniquely describes the condition; never collapsed."""
    usual = {code for known in USUAL.values() for code in known.split()}
    assert sorted(code for code in usual if rejection(code) is OTHER_REJECTION) == []
    texts = [rejection(code).text for code in sorted(usual) if rejection(code) is not OTHER_REJECTION]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("code", "outcome", "who"),
    [
        ("42", "payer_unavailable", "hub"),
        ("80", "payer_unavailable", "hub"),
        ("79", "payer_unavailable", "it"),
        ("41", "unclear", "it"),
        ("T4", "unclear", "it"),
        ("43", "unclear", "it"),
        ("50", "unclear", "it"),
        ("51", "unclear", "it"),
        ("58", "mismatch", "coordinator"),
        ("71", "mismatch", "coordinator"),
        ("73", "mismatch", "coordinator"),
        ("64", "not_found", "coordinator"),
        ("67", "not_found", "coordinator"),
        ("72", "not_found", "coordinator"),
        ("75", "not_found", "coordinator"),
        ("77", "not_found", "coordinator"),
        ("76", "unclear", "coordinator"),
    ],
)
def test_a_code_says_what_it_comes_to_and_who_acts(code: str, outcome: str, who: str) -> None:
    found = rejection(code)
    assert (found.outcome, found.who) == (outcome, who)


@pytest.mark.parametrize("code", ["", "00", "XX", "99", "71 ", "\u00e9", "7" * 1000])
def test_a_code_nobody_knows_is_told_and_given_to_a_person(code: str) -> None:
    data, _ = described("2100C", f"AAA*N**{code}*C")
    (found,) = report.answer(data)["rejections"]
    assert found["who"] == "coordinator"
    assert found["text"]
    assert found["action"]


def test_several_rejections_are_all_told_in_order() -> None:
    body = [*HEAD_271, "AAA*N**51*N", *SUBSCRIBER, "AAA*N**71*C", "AAA*N**73*C", "AAA*N**71*C", "EB*F**30", "AAA*N**62*R"]
    found = report.answer(interchange(group(transaction("271", *body))))
    assert [(r["loop"], r["code"], r["follow_up"]) for r in found["rejections"]] == [
        ("2100B", "51", "N"),
        ("2100C", "71", "C"),
        ("2100C", "73", "C"),
        ("2100C", "71", "C"),
        ("2110C", "62", "R"),
    ]


def test_a_rejected_subscriber_is_told_with_the_dependent() -> None:
    body = [*HEAD_271, *DEPENDENT[:2], "AAA*N**72*C", *DEPENDENT[2:], "AAA*N**67*C"]
    (coverage,) = transactions(report.describe(interchange(group(transaction("271", *body)))))[0]["coverages"]
    assert [(r["loop"], r["code"]) for r in coverage["rejections"]] == [("2100C", "72"), ("2100D", "67")]
    assert coverage["status"] == "rejected"


@pytest.mark.parametrize("aaa", ["AAA*Y**72", "AAA*N**72*", "AAA***72"])
def test_a_rejection_may_say_nothing_of_what_to_do(aaa: str) -> None:
    _, found = described("2100C", aaa)
    assert [(r["code"], r["follow_up"]) for r in found["coverages"][0]["rejections"]] == [("72", None)]


def test_every_follow_up_has_words() -> None:
    assert set(codes.FOLLOW_UP) == set("CNPRSWXY")
    assert len(set(codes.FOLLOW_UP.values())) == 8


def test_the_words_for_a_rejection_are_whole() -> None:
    for meaning in (*codes.AAA.values(), OTHER_REJECTION):
        assert "{" not in meaning.text + meaning.action
        assert meaning.who in ("hub", "it", "coordinator")


# What the hub may do by itself (research x12.md 4.6).


@pytest.mark.parametrize(
    ("known", "action"),
    [
        ("42 80", "again_later"),
        ("79", "again_few"),
        ("41 T4 04", "stop_payer"),
        ("43 44 45 46 47 48 97 50 51", "stop_provider"),
        ("71 58", "after_correction"),
        ("72 64", "search_without_id"),
        ("73 65", "plain_name"),
        ("74 66", "without_sex"),
        ("75 67", "other_role"),
        ("76 68", "more_data"),
        ("77", "as_subscriber"),
        ("78", "without_group"),
        ("56 57 62 63", "as_of_today"),
        ("33", "fix_template"),
        ("52 53 69 70 98 AE AF AG CI E8", "keep_rest"),
        ("00", "after_correction"),
    ],
)
def test_each_code_has_its_action_for_the_machine(known: str, action: str) -> None:
    assert {codes.machine_action(code) for code in known.split()} == {action}


def test_data_missing_of_the_provider_is_not_for_the_coordinator() -> None:
    assert (codes.rejection("15", "2100B").who, codes.machine_action("15", "2100B")) == ("it", "stop_provider")
    assert (codes.rejection("15", "2100C").who, codes.machine_action("15", "2100C")) == ("coordinator", "more_data")
    _, found = described("2100B", "AAA*N**15*C")
    assert found["rejections"][0]["who"] == "it"

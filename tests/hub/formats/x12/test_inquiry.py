"""The 270 we build: read back by our own reader and by one that shares no code with it."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, strategies as st

from connectors.simulators.clearinghouse import read_270
from hub.errors import MessageUnusable
from hub.formats.x12 import envelope, report
from hub.formats.x12.inquiry import Inquiry, PersonNamed, build_270, build_batch, clean
from hub.formats.x12.tokens import Delimiters
from hub.formats.x12.write import Parties, interchange
from tests.hub.formats.messages import PROPERTY, transactions

NOW = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
JANE = PersonNamed(family="Doe", given="Jane", middle="Q", suffix="Jr", birth_date=date(1980, 2, 29), sex="F")
MARY = PersonNamed(family="Doe", given="Mary", birth_date=date(2010, 10, 14), sex="F")
PLAIN = Inquiry(
    sender="CLINIC",
    receiver="CLEARING",
    usage="T",
    payer_name="Acme Health",
    payer_id="60054",
    provider_name="Riverside Clinic",
    provider_npi="1234567893",
    member_id="W100",
    subscriber=JANE,
    service_date=date(2026, 11, 30),
    service_types=["30"],
)
CHILD = replace(PLAIN, patient=MARY, relationship="child", group="G77")


def built(inquiry: Inquiry = PLAIN, number: int = 7) -> str:
    return build_270(inquiry, control_number=number, trace="TRACE1", now=NOW).decode("ascii")


def segments(text: str) -> list[list[str]]:
    assert text.endswith("~")
    return [segment.split("*") for segment in text.removesuffix("~").split("~")]


def read_back(text: str):  # type: ignore[no-untyped-def]
    """What our reader makes of it; there must be nothing wrong."""
    found = report.describe(text.encode())
    assert found["findings"] == []
    (transaction,) = transactions(found)
    (inquiry,) = transaction["inquiries"]
    return inquiry


# Form.


def test_a_subscribers_inquiry_stands_as_it_must() -> None:
    assert built().split("~") == [
        "ISA*00*          *00*          *ZZ*CLINIC         *ZZ*CLEARING       *261130*1430*^*00501*000000007*0*T*:",
        "GS*HS*CLINIC*CLEARING*20261130*1430*7*X*005010X279A1",
        "ST*270*0007*005010X279A1",
        "BHT*0022*13*TRACE1*20261130*1430",
        "HL*1**20*1",
        "NM1*PR*2*ACME HEALTH*****PI*60054",
        "HL*2*1*21*1",
        "NM1*1P*2*RIVERSIDE CLINIC*****XX*1234567893",
        "HL*3*2*22*0",
        "TRN*1*TRACE1*9123456789",
        "NM1*IL*1*DOE*JANE*Q**JR*MI*W100",
        "DMG*D8*19800229*F",
        "DTP*291*D8*20261130",
        "EQ*30",
        "SE*13*0007",
        "GE*1*7",
        "IEA*1*000000007",
        "",
    ]


def test_a_dependent_stands_under_the_subscriber() -> None:
    assert built(CHILD).split("~")[8:18] == [
        "HL*3*2*22*1",
        "NM1*IL*1*DOE*JANE*Q**JR*MI*W100",
        "REF*6P*G77",
        "HL*4*3*23*0",
        "TRN*1*TRACE1*9123456789",
        "NM1*03*1*DOE*MARY",
        "DMG*D8*20101014*F",
        "INS*N*19",
        "DTP*291*D8*20261130",
        "EQ*30",
    ]


@pytest.mark.parametrize(
    ("sender", "receiver"), [("A", "B"), ("X" * 15, "Y" * 15), ("X" * 40, "Y" * 40), ("ÄÖÜ", "É" * 15), ("a*b~c:d^e", "x y")]
)
@pytest.mark.parametrize("number", [1, 42, 999_999_999])
def test_the_isa_has_106_characters_whatever_the_addresses(sender: str, receiver: str, number: int) -> None:
    text = built(replace(PLAIN, sender=sender, receiver=receiver), number)
    assert text.index("~") == 105
    assert [text[i] for i in (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)] == ["*"] * 16
    assert text[90:99] == f"{number:09d}"
    read_back(text)


@pytest.mark.parametrize("number", [1, 9999, 10_000, 20_000, 123_456_789, 999_999_999])
def test_the_control_numbers_agree(number: int) -> None:
    found = {s[0]: s for s in segments(built(number=number))}
    assert int(found["ISA"][13]) == int(found["GS"][6]) == int(found["GE"][2]) == int(found["IEA"][2]) == number
    assert found["ST"][2] == found["SE"][2]
    assert len(found["ST"][2]) >= 4
    assert int(found["ST"][2]) == number


@pytest.mark.parametrize("number", [0, -1, 1_000_000_000])
def test_a_control_number_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(MessageUnusable):
        built(number=number)


@pytest.mark.parametrize("inquiry", [PLAIN, CHILD, replace(CHILD, service_types=["30", "98", "UC"])])
def test_the_counts_are_right(inquiry: Inquiry) -> None:
    found = segments(built(inquiry))
    names = [s[0] for s in found]
    assert found[names.index("SE")][1] == str(names.index("SE") - names.index("ST") + 1)
    assert [s[1] for s in found if s[0] in ("GE", "IEA")] == ["1", "1"]
    levels = [s for s in found if s[0] == "HL"]
    assert [s[1] for s in levels] == [str(n) for n in range(1, len(levels) + 1)]
    assert [s[4] for s in levels] == ["1"] * (len(levels) - 1) + ["0"]
    assert [s[2] for s in levels] == ["", *(str(n) for n in range(1, len(levels)))]


def test_no_segment_ends_in_empty_elements() -> None:
    for segment in segments(built(replace(CHILD, subscriber=PersonNamed(), group=None)))[1:]:
        assert segment[-1], segment


# Read back.


def test_our_reader_reads_what_was_asked() -> None:
    found = read_back(built(replace(PLAIN, service_types=["30", "98"])))
    assert found["trace_numbers"] == ["TRACE1"]
    assert found["payer"] == {"name": "ACME HEALTH", "id": "60054"}
    assert found["provider"]["npi"] == "1234567893"
    assert found["subscriber"] == {
        "family": "DOE", "given": "JANE", "birth_date": "19800229", "member_id": "W100", "group": None,
    }  # fmt: skip
    assert found["patient"]["relationship"] == "self"
    assert found["service_types"] == ["30", "98"]
    assert found["dates"] == [{"qualifier": "291", "from": "20261130", "to": None}]


def test_our_reader_reads_the_dependent() -> None:
    found = read_back(built(CHILD))
    assert found["subscriber"]["given"] == "JANE"
    assert found["subscriber"]["group"] == "G77"
    assert found["patient"] == {"relationship": "child", "family": "DOE", "given": "MARY", "birth_date": "20101014"}
    assert found["trace_numbers"] == ["TRACE1"]
    assert found["service_types"] == ["30"]


def test_another_reader_reads_the_same() -> None:
    found = read_270(built(replace(PLAIN, service_types=["30", "98"])))
    assert (found.sender.strip(), found.receiver.strip(), found.control_number) == ("CLINIC", "CLEARING", "000000007")
    assert (found.reference, found.trace[2]) == ("TRACE1", "TRACE1")
    assert (found.payer, found.payer_name) == ("60054", "ACME HEALTH")
    assert found.provider.split("*")[9] == "1234567893"
    assert found.subscriber[3:6] == ["DOE", "JANE", "Q"]
    assert found.member_id == "W100"
    assert found.birth_dates == ["22:19800229"]
    assert (found.service_date, found.service_types) == ("20261130", ["30", "98"])
    assert found.dependent == []


def test_another_reader_reads_the_same_dependent() -> None:
    found = read_270(built(CHILD))
    assert found.dependent[3:5] == ["DOE", "MARY"]
    assert found.birth_dates == ["23:20101014"]
    assert found.member_id == "W100"


@pytest.mark.parametrize(
    ("relationship", "code"), [("spouse", "01"), ("child", "19"), ("other", "34"), ("dependent", "34"), ("grandchild", "34")]
)
def test_the_relationship_is_coded(relationship: str, code: str) -> None:
    assert f"INS*N*{code}~" in built(replace(CHILD, relationship=relationship))


@pytest.mark.parametrize(("sex", "end"), [("F", "*F~"), ("M", "*M~"), ("U", "~"), ("O", "~"), (None, "~"), ("f*x", "~")])
def test_only_f_and_m_are_said_of_the_sex(sex: str | None, end: str) -> None:
    assert f"DMG*D8*19800229{end}" in built(replace(PLAIN, subscriber=replace(JANE, sex=sex)))


def test_without_a_birth_date_the_member_id_suffices() -> None:
    found = read_back(built(replace(PLAIN, subscriber=PersonNamed(family="Doe"))))
    assert (found["subscriber"]["birth_date"], found["subscriber"]["member_id"]) == (None, "W100")
    assert "DMG" not in built(replace(PLAIN, subscriber=PersonNamed(family="Doe")))


def test_without_a_member_id_name_and_birth_date_suffice() -> None:
    found = read_back(built(replace(PLAIN, member_id=None)))
    assert (found["subscriber"]["family"], found["subscriber"]["member_id"]) == ("DOE", None)


# What is missing.


@pytest.mark.parametrize(
    "changes",
    [
        {"payer_id": ""},
        {"payer_id": "  "},
        {"payer_id": "*~"},
        {"provider_npi": ""},
        {"service_types": []},
        {"service_types": [""]},
        {"sender": ""},
        {"receiver": ""},
        {"usage": ""},
        {"usage": "X"},
        {"member_id": None, "subscriber": PersonNamed()},
        {"member_id": "", "subscriber": PersonNamed(family="Doe")},
        {"member_id": None, "subscriber": PersonNamed(birth_date=date(1980, 2, 29))},
        {"member_id": " * ", "subscriber": PersonNamed()},
        {"member_id": None, "subscriber": PersonNamed(family="***", birth_date=date(1980, 2, 29))},
        {"member_id": None, "subscriber": PersonNamed(family="山田", birth_date=date(1980, 2, 29))},
        {"patient": PersonNamed(), "relationship": "child"},
        {"patient": PersonNamed(given="Mary"), "relationship": "child"},
    ],
    ids=lambda changes: ", ".join(f"{k} {v!r}"[:40] for k, v in changes.items()),
)
def test_an_inquiry_without_what_it_needs_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MessageUnusable) as refused:
        built(replace(PLAIN, **changes))  # type: ignore[arg-type]
    assert "Doe" not in str(refused.value)


def test_everything_missing_is_named_at_once() -> None:
    with pytest.raises(MessageUnusable, match=r"payer.*NPI.*member.*service type"):
        built(replace(PLAIN, payer_id="", provider_npi="", member_id=None, subscriber=PersonNamed(), service_types=[]))


# Names that would break the form.


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("O'Donnell-Griswold", "O'DONNELL-GRISWOLD"),
        ("Müller", "MULLER"),
        ("González Ñ", "GONZALEZ N"),
        ("Doe*Jane", "DOE JANE"),
        ("Doe~EB*1", "DOE EB 1"),
        ("Doe:Jane^X", "DOE JANE X"),
        ("Doe\r\nJane", "DOE JANE"),
        ("  Doe   Jane ", "DOE JANE"),
        ("Doe\tJane", "DOE JANE"),
        ("Łukasz", "LUKASZ"),
        ("Søren Groß", "SOREN GROSS"),
        (None, ""),
    ],
)
def test_names_are_written_so_that_every_reader_takes_them(name: str | None, written: str) -> None:
    assert clean(name, 60) == written


def test_a_name_that_is_cut_does_not_end_in_a_blank() -> None:
    assert clean("ANNE MARIE", 5) == "ANNE"


@PROPERTY
@given(text=st.one_of(st.text(), st.text(st.sampled_from("*:^~\r\n\x00\x07\x1c\x7f ÄéŁß山A"))), most=st.integers(1, 80))
def test_what_is_written_is_plain_and_short_enough(text: str, most: int) -> None:
    written = clean(text, most)
    assert len(written) <= most
    assert all(" " <= character <= "~" for character in written)
    assert not set("*:^~") & set(written)
    assert written == written.upper() == " ".join(written.split())


texts = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("*:^~\r\n|><AZ09 ")), max_size=90)
people = st.builds(
    PersonNamed,
    family=texts,
    given=texts,
    middle=texts,
    suffix=texts,
    birth_date=st.one_of(st.none(), st.dates(date(1900, 1, 1), date(2026, 1, 1))),
    sex=st.one_of(st.none(), texts),
)
inquiries = st.builds(
    Inquiry,
    sender=texts.map("S".__add__),
    receiver=texts.map("R".__add__),
    usage=st.sampled_from("TP"),
    payer_name=texts,
    payer_id=texts.map("P1".__add__),
    provider_name=texts,
    provider_npi=st.just("1234567893"),
    member_id=texts.map("M1".__add__),
    subscriber=people,
    service_date=st.dates(date(2000, 1, 1), date(2050, 1, 1)),
    service_types=st.lists(st.sampled_from(["30", "98", "UC", "1"]), min_size=1, max_size=4),
    patient=st.one_of(st.none(), people.map(lambda p: replace(p, family=f"F{p.family}", birth_date=date(2010, 1, 1)))),
    relationship=texts,
    group=st.one_of(st.none(), texts),
)


@PROPERTY
@given(inquiry=inquiries, number=st.integers(1, 999_999_999))
def test_any_inquiry_is_well_formed_and_reads_back(inquiry: Inquiry, number: int) -> None:
    text = built(inquiry, number)
    assert text.index("~") == 105
    found = read_back(text)
    other = read_270(text)
    assert found["subscriber"]["member_id"] == other.member_id == clean(inquiry.member_id, 80)
    assert found["payer"]["id"] == other.payer == clean(inquiry.payer_id, 80)
    assert found["service_types"] == other.service_types == list(inquiry.service_types)
    assert (found["patient"]["relationship"] == "self") == (inquiry.patient is None) == (other.dependent == [])
    patient = inquiry.patient or inquiry.subscriber
    assert (found["patient"]["given"] or "") == clean(patient.given, 35).strip()


@pytest.mark.parametrize("value", ["30~EB*1", "30*98", "30\r\n"])
@pytest.mark.parametrize("field", ["service_types", "provider_npi"])
def test_no_value_can_begin_a_segment_or_element_of_its_own(field: str, value: str) -> None:
    plain = [len(s) for s in segments(built())]
    try:
        text = built(replace(PLAIN, **{field: [value] if field == "service_types" else value}))  # type: ignore[arg-type]
    except MessageUnusable:
        return
    assert [len(s) for s in segments(text)] == plain
    assert not set("\r\n") & set(text)


# What some payers want besides.


def test_a_range_of_days_is_asked_for() -> None:
    found = read_back(text := built(replace(PLAIN, service_end=date(2026, 12, 31))))
    assert "DTP*291*RD8*20261130-20261231~" in text
    assert found["dates"] == [{"qualifier": "291", "from": "20261130", "to": "20261231"}]
    assert "*D8*20261130~" in built(replace(PLAIN, service_end=date(2026, 11, 30)))


def test_several_service_types_stand_in_one_segment_where_a_payer_wants_that() -> None:
    found = read_back(text := built(replace(PLAIN, service_types=["30", "98", "UC"], repeat_types=True)))
    assert "EQ*30^98^UC~" in text
    assert found["service_types"] == ["30", "98", "UC"]


def test_taxonomy_and_further_ids_stand_where_they_belong() -> None:
    asked = replace(
        PLAIN, provider_taxonomy="207Q00000X", provider_references=[("EO", "S-1"), ("TJ", "123456789")], provider_name="Welby",
        provider_given="Marcus", references=[("SY", "123456789"), ("EJ", "A-7")],
    )  # fmt: skip
    lines = built(asked).split("~")
    read_back(built(asked))
    assert lines[7:11] == ["NM1*1P*1*WELBY*MARCUS****XX*1234567893", "REF*EO*S-1", "REF*TJ*123456789", "PRV*BI*PXC*207Q00000X"]
    assert lines[14:16] == ["REF*SY*123456789", "REF*EJ*A-7"]
    child = built(replace(CHILD, references=[("EJ", "A-7")])).split("~")
    assert child[child.index("NM1*03*1*DOE*MARY") + 1] == "REF*EJ*A-7"


def test_a_subscriber_can_be_found_by_number_and_birth_date_alone() -> None:
    anonymous = PersonNamed(birth_date=date(1980, 2, 29))
    read_back_lines = built(replace(PLAIN, member_id=None, subscriber=anonymous, references=[("SY", "123456789")]))
    assert "REF*SY*123456789~DMG*D8*19800229~" in read_back_lines


@pytest.mark.parametrize(
    "changes", [{"references": [("ZZ", "1")]}, {"provider_references": [("SY", "*")]}, {"service_end": date(2026, 11, 29)}]
)
def test_what_a_270_has_no_place_for_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MessageUnusable):
        built(replace(PLAIN, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("separators", [Delimiters("|", ">", "}", "!"), Delimiters("\x1d", "\x1f", "\x1e", "\x1c")])
def test_other_separators_are_taken_out_of_what_is_written(separators: Delimiters) -> None:
    person = replace(JANE, family="Do!e|x", given="J>a}ne*")
    found = read_back(built(replace(PLAIN, subscriber=person, delimiters=separators)))
    taken = str.maketrans(dict.fromkeys((*separators, "*"), " "))
    assert found["subscriber"]["family"] == "DO!E|X".translate(taken)
    assert found["subscriber"]["given"] == "J>A}NE*".translate(taken).strip()


# Many at once.


def test_a_batch_is_one_group_of_many_sets() -> None:
    asked = [(PLAIN, "T-1"), (CHILD, "T-2"), (replace(PLAIN, member_id="W200"), "T-3")]
    data = build_batch(asked, control_number=7, now=NOW)
    found = report.describe(data)
    assert found["findings"] == []
    sets = transactions(found)
    assert [t["control_number"] for t in sets] == ["0001", "0002", "0003"]
    assert [t["inquiries"][0]["trace_numbers"] for t in sets] == [["T-1"], ["T-2"], ["T-3"]]
    assert [t["inquiries"][0]["patient"]["given"] for t in sets] == ["JANE", "MARY", "JANE"]


def test_a_night_of_inquiries_is_built_in_one_file() -> None:
    data = build_batch([(PLAIN, f"T-{n}") for n in range(3000)], control_number=7, now=NOW)
    assert b"~GE*3000*7~IEA*1*000000007~" in data
    assert envelope.read(data).findings == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "at least one"),
        ([(PLAIN, "T-1"), (replace(PLAIN, receiver="OTHER"), "T-2")], "one sender"),
        ([(PLAIN, "T-1"), (CHILD, "T-1")], "trace number of its own"),
        ([(PLAIN, "T-1"), (replace(PLAIN, payer_id=""), "T-2")], "payer's id"),
    ],
)
def test_a_batch_that_could_not_be_answered_is_refused(asked: list[tuple[Inquiry, str]], words: str) -> None:
    with pytest.raises(MessageUnusable, match=words):
        build_batch(asked, control_number=7, now=NOW)


def test_the_writer_refuses_what_holds_a_separator() -> None:
    parties = Parties("A", "B", "T")
    for value in ("a*b", "a~", "a:b", "a^b", "é", "a\nb"):
        with pytest.raises(MessageUnusable):
            interchange(parties, control_number=1, now=NOW, groups=[("270", [[["ST", value]]])])

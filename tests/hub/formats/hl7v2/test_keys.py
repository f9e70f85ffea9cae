"""What an HL7 v2 message is filed under, and what a mapping may ask of it."""

from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.errors import MessageUnusable
from hub.formats.hl7v2.codec import Hl7Format
from hub.message import Message
from tests.hub.formats.messages import MSH, hl7, with_charset
from tests.support import ask, clinic_folder, port_of, running_hub

FORMAT = Hl7Format()
PID = "PID|1||42^^^RIVER^MR~99^^^SSA^SS||DOE^JANE"
SIU = MSH.replace("ADT^A04", "SIU^S12")


def keys(*segments: str, head: str = MSH, **headers: str):  # type: ignore[no-untyped-def]
    return FORMAT.keys(hl7(*segments, head=head), headers)


def test_a_registration_is_filed_under_its_patient_and_its_cards() -> None:
    found = keys(PID, "IN1|1|PPO|60054" + "|" * 33 + "W100" + "|" * 13 + "W200^^^ACME", "IN1|2|HMO|1" + "|" * 33 + "W300")
    assert (found.type, found.control_id) == ("ADT^A04", "42")
    assert list(found.patient) == ["42", "99"]
    assert sorted(found.member) == ["W100", "W200", "W300"]
    assert list(found.ordering) == ["RIVER|42"]
    assert list(found.appointment) == []
    assert list(found.findings) == []


@pytest.mark.parametrize(
    ("sch", "appointment"),
    [
        ("SCH|P9^EPIC|F77^EPIC", ["F77"]),
        ("SCH||F77", ["F77"]),
        ("SCH|P9", ["P9"]),
        ('SCH|P9|""', ["P9"]),
        ("SCH|P9|  ", ["P9"]),
        ("SCH|F77|F77", ["F77"]),
        ("SCH", []),
        ('SCH|""|""', []),
    ],
)
def test_a_booking_is_filed_under_the_ehrs_id_else_under_the_placers(sch: str, appointment: list[str]) -> None:
    assert list(keys(sch, PID, head=SIU).appointment) == appointment


def test_the_placers_id_finds_the_booking_too() -> None:
    assert ("placer", "P9") in keys("SCH|P9|F77", PID, head=SIU).other


@pytest.mark.parametrize("sch", ['SCH|""|F77', "SCH|  |F77", "SCH||F77", "SCH|F77|F77"])
def test_no_placer_is_filed_where_none_was_sent(sch: str) -> None:
    assert list(keys(sch, PID, head=SIU).other) == []


def test_a_merge_holds_the_order_of_every_chart_it_touches() -> None:
    found = keys(
        "PID|1||S1^^^RIVER^MR", "MRG|O1^^^RIVER^MR", "PID|2||S2^^^LAKE^MR", "MRG|O2", head=MSH.replace("A04", "A40"),
        authority="HUB",
    )  # fmt: skip
    assert sorted(found.ordering) == ["HUB|O2", "LAKE|S2", "RIVER|O1", "RIVER|S1"]
    assert sorted(found.patient) == ["O1", "O2", "S1", "S2"]


def test_the_authority_of_the_connection_stands_in_for_one_not_sent() -> None:
    assert list(keys("PID|1||42", authority="RIVER").ordering) == list(keys("PID|1||42^^^RIVER").ordering)
    assert list(keys("PID|1||42^^^LAKE", authority="RIVER").ordering) == ["LAKE|42"]


@pytest.mark.parametrize("pid", ["PID|1||", 'PID|1||""', "PID|1||  ", "PID|1||^^^RIVER", 'PID|1||""^^^RIVER', "ZZZ|1"])
def test_without_a_patient_id_the_order_is_that_of_the_connection(pid: str) -> None:
    assert list(keys(pid, authority="RIVER").ordering) == []
    assert list(keys(pid, authority="RIVER").patient) == []


def test_a_connection_may_name_the_path_of_its_order() -> None:
    assert list(keys(PID, "PV1|1|O" + "|" * 17 + "V7", ordering_path="PV1-19.1").ordering) == ["V7"]
    assert list(keys(PID, ordering_path="PV1-19.1").ordering) == ["RIVER|42"]


def test_a_resend_is_known_by_sender_facility_and_control_id() -> None:
    first = keys(PID).duplicate_key
    assert first
    assert keys("PID|1||other").duplicate_key == first
    for other in ("EPIC|LAKE", "ATHENA|RIVER"):
        assert keys(PID, head=MSH.replace("EPIC|RIVER|", other + "|", 1)).duplicate_key != first
    assert keys(PID, head=MSH.replace("|42|", "|43|")).duplicate_key != first


@pytest.mark.parametrize("control_id", ["", "   "])
def test_without_a_control_id_nothing_is_a_resend(control_id: str) -> None:
    assert keys(PID, head=MSH.replace("|42|", f"|{control_id}|")).duplicate_key == ""


def test_the_charset_of_the_connection_is_used() -> None:
    raw = with_charset(b"", "PID|1||Ł42".encode("iso-8859-2"))
    assert list(FORMAT.keys(raw, {"charset": "8859/2"}).patient) == ["Ł42"]
    assert FORMAT.open(Message(raw, "hl7v2", headers={"charset": "8859/2"})).get("PID-3") == "Ł42"


def test_ids_are_filed_once_and_without_blanks_around_them() -> None:
    assert list(keys("PID|1|| 42 ~42^^^LAKE").patient) == ["42"]


@pytest.mark.parametrize("body", [b"", b"hello", b"\x00" * 100, b"ISA*00*", b"MSH"])
def test_what_is_no_message_is_filed_under_nothing_and_says_so(body: bytes) -> None:
    found = FORMAT.keys(body, {})
    assert (found.type, found.control_id, found.duplicate_key) == ("", "", "")
    assert [*found.patient, *found.appointment, *found.member, *found.ordering, *found.other] == []
    assert found.findings
    with pytest.raises(MessageUnusable):
        FORMAT.open(Message(body, "hl7v2"))


# Paths and scopes of mappings.


@pytest.mark.parametrize("path", ["PID-5.1", "PID-3[2].4.2", "PID-3[5=MR].1", "OBX[*]-5", "1", "4.1"])
def test_a_good_path_has_no_error(path: str) -> None:
    assert FORMAT.path_error(path) is None


@pytest.mark.parametrize("path", ["", ".", "PID", "PID5", "name.family", "PID-0", "1..2", ".1", "1.", "4.1.2", "\u00b2"])
def test_a_wrong_path_is_named_before_anything_runs(path: str) -> None:
    assert repr(path) in (FORMAT.path_error(path) or "")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("PID-7 is no date", "PID-7 (Date time of birth) is no date"),
        ("pid-3[2].4.2 is empty", "pid-3[2].4.2 (Patient identifier list) is empty"),
        ("OBX[*,2=ED]-5.5 is empty", "OBX[*,2=ED]-5.5 (Observation value) is empty"),
        ("ZPD-1 is empty", "ZPD-1 is empty"),
        ("4.1 is empty", "4.1 is empty"),
        ("there is no PID-7", "there is no PID-7"),
        ("", ""),
    ],
)
def test_what_is_wrong_is_told_with_the_name_of_the_field(said: str, told: str) -> None:
    assert FORMAT.in_words(said, Message(hl7(PID), "hl7v2")) == told


async def test_in_quarantine_a_field_has_its_name(tmp_path: Path) -> None:
    """IT need not know fields by number."""
    text = (
        "connections: {ehr: {kind: mllp_listener, port: '0', reply: after_flow}}\n"
        "flows: {f: {from: ehr, steps: [{map: siu_to_appointment}]}}\n"
    )
    body = hl7("SCH|||||||||30|MIN|^^^202611301430", PID, head=SIU)
    async with running_hub(clinic_folder(tmp_path, text)) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        await ehr.send(body)
        (message,) = await ask(hub, "messages.list", connection="ehr")
    assert "SCH-2.1 (Filler appointment id) is empty" in message["reason"]


@pytest.mark.parametrize("scope", ["IN1", "PID", "ZPD", "PID-3", "MRG-1"])
def test_a_good_scope_has_no_error(scope: str) -> None:
    assert FORMAT.scope_error(scope) is None


@pytest.mark.parametrize("scope", ["", "IN", "IN12", "I-1", "coverages", "PID-x", "in 1"])
def test_a_wrong_scope_is_named_before_anything_runs(scope: str) -> None:
    assert repr(scope) in (FORMAT.scope_error(scope) or "")


@pytest.mark.parametrize(
    "scope", ["PID-3", "PID-3.4", "PID-3[*]", "PID-3[2]", "PID[*]-3", "PID-3[5=MR]", "IN1", "in1", "pid-3"]
)
def test_a_scope_that_is_accepted_can_be_read(scope: str) -> None:
    if FORMAT.scope_error(scope) is not None:
        return
    fields = FORMAT.open(Message(hl7(PID, "IN1|1|PPO|60054"), "hl7v2"))
    groups = list(fields.each(scope))
    assert groups
    for group in groups:
        group.get("1" if "-" in scope else "IN1-3")

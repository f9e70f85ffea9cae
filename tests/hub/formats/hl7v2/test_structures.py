"""Message structures by trigger, and the names of fields for people."""

import pytest

from hub.formats.describe import describe
from hub.formats.hl7v2.names import field_name, field_table, field_type
from hub.formats.hl7v2.structures import structure
from tests.hub.formats.messages import MSH, hl7

ADT = {
    "A01": "A01 A04 A08 A13",
    "A02": "A02",
    "A03": "A03",
    "A05": "A05 A14 A28 A31",
    "A06": "A06 A07",
    "A09": "A09 A10 A11",
    "A12": "A12",
    "A15": "A15",
    "A16": "A16",
    "A17": "A17",
    "A18": "A18",
    "A20": "A20",
    "A21": "A21 A22 A23 A25 A26 A27 A29 A32 A33",
    "A24": "A24",
    "A30": "A30 A34 A35 A36 A46 A47 A48 A49",
    "A37": "A37",
    "A38": "A38",
    "A39": "A40 A41 A42",
    "A43": "A43 A44",
    "A45": "A45",
    "A50": "A50 A51",
    "A60": "A60",
}
"""Table 0354, as far as clinics see it (research/hl7.md 3.1)."""
TRIGGERS = [
    *(("ADT", trigger, f"ADT_{name}") for name, triggers in ADT.items() for trigger in triggers.split()),
    *(("SIU", f"S{number}", "SIU_S12") for number in (*range(12, 25), 26)),
    *(("MDM", f"T{number:02d}", "MDM_T02") for number in (2, 4, 6, 8, 10)),
    *(("MDM", f"T{number:02d}", "MDM_T01") for number in (1, 3, 5, 7, 9, 11)),
    ("ORU", "R01", "ORU_R01"),
    ("ACK", "A01", "ACK"),
    ("ACK", "", "ACK"),
]


@pytest.mark.parametrize(("code", "trigger", "name"), TRIGGERS, ids=lambda value: value or "-")
def test_the_trigger_names_the_structure(code: str, trigger: str, name: str) -> None:
    assert structure(code, trigger) == name


@pytest.mark.parametrize(
    ("code", "trigger"), [("ADT", "A99"), ("ADT", ""), ("SIU", "S25"), ("MDM", "T12"), ("XYZ", "A01"), ("", "")]
)
def test_an_event_nobody_knows_has_no_structure(code: str, trigger: str) -> None:
    assert structure(code, trigger) is None


@pytest.mark.parametrize("third", ["", "^ADT_A04", "^ADT_A01", "^SIU_S12", "^nonsense"])
def test_what_msh_9_says_of_the_structure_is_not_trusted(third: str) -> None:
    found = describe(hl7(head=MSH.replace("ADT^A04", f"ADT^A04{third}")))["messages"][0]
    assert (found["type"], found["structure"]) == ("ADT^A04", "ADT_A01")


@pytest.mark.parametrize("version", ["2.1", "2.3", "2.5", "2.5.1", "2.7", "2.8.2", "2.9", "", "nonsense", "os"])
def test_fields_have_names_in_every_version(version: str) -> None:
    assert field_name(version, "PID", 5).lower() == "patient name"
    assert field_name(version, "ZPD", 1) == ""
    assert field_name(version, "PID", 999) == ""


def test_fields_have_data_types() -> None:
    assert [field_type("2.5", "PID", number) for number in (3, 5, 8, 999)] == ["CX", "XPN", "IS", ""]
    assert field_type("2.3", "PID", 5) == "XPN"
    assert field_type("", "ZPD", 1) == ""


@pytest.mark.parametrize("version", ["2.3", "2.5", "2.8", "", "9.9"])
def test_codes_have_their_table(version: str) -> None:
    table, codes = field_table(version, "PID", 8)
    assert table == "0001"
    assert {"F", "M"} <= codes or version == "2.3", "hl7apy has no codes for 2.3"
    assert field_table(version, "PID", 5) == ("", frozenset())
    assert field_table(version, "ZPD", 1) == ("", frozenset())
    assert field_table(version, "PID", 999) == ("", frozenset())

"""No value of a message is ever part of an error or a note: it may be patient data, and errors go to logs and answers."""

from hypothesis import example, given, settings, strategies as st

from connectors.simulators.ehr import message, segment
from hub.errors import MessageUnusable
from hub.formats.hl7v2.codec import Hl7Format
from hub.mapping import load_mapping, run_mapping
from hub.mapping.rules import Notes, parse_rule
from hub.message import Message
from tests.hub.mapping.bench import HEADER, TABLES, catalogue, context

KNOWN = catalogue()
CANARY = "ZZCANARY7F3A"

CANARIES = st.one_of(
    st.just(CANARY),
    st.sampled_from(["٣١٤١٥٩٢٦٥", "3.14159265358979", "+31415926535", "31415926535-0600", "1980-02-30", "2026-11-30T25:61:00"]),
    st.from_regex(r"[0-9]{7,14}([+-][0-9]{4})?", fullmatch=True),
    st.from_regex(r"\d{4}-\d{2}-\d{2}(T.{0,9})?", fullmatch=True),
    st.text(st.characters(exclude_characters="|^~\\&\r\n\x0b\x1c", exclude_categories=["Cs"]), min_size=7, max_size=20),
)

STEPS = [
    *(name for name, transform in KNOWN.transforms.items() if transform.arguments[0] == 0),
    "is A", "keep_if A", "drop_if A", "table sexes", "table kept.csv", "table told.csv", "join ','", "required",
]  # fmt: skip


def leaks(text: str, value: str) -> bool:
    """True when a text shows a value; digits alone could be there by chance, in `00:00` or `YYYYMMDD`."""
    return len(value.strip()) >= 7 and value.strip() in text


@given(CANARIES, st.lists(st.sampled_from(STEPS), min_size=1, max_size=3), st.booleans())
@example("١٩٨٠-٠٢-٢٩", ["date"], False)
@example("9" * 20, ["datetime"], False)
@settings(max_examples=300, deadline=None)
def test_no_rule_shows_the_value_it_cannot_work_on(value: str, steps: list[str], many: bool) -> None:
    path = "ZZZ[*]-1" if many else "ZZZ-1"
    rule, _ = parse_rule(" | ".join([path, *steps]), "target", KNOWN.transforms, TABLES)
    fields = Hl7Format().open(Message(f"{HEADER}\rZZZ|{value}\rZZZ|{value}".encode(), "hl7v2"))
    notes, told = Notes(), ""
    try:
        rule.value(fields, context(), notes)
    except MessageUnusable as error:
        told = f"{error} {error.help}"
    except (AttributeError, TypeError):
        return  # transforms that do not fit together are another test's business
    assert not leaks(f"{told} {notes.found}", value)


FIELDS = {
    "SCH": (1, 2, 6, 7, 8, 9, 10, 11, 25),
    "TQ1": (7, 8),
    "PID": (3, 5, 7, 8, 13, 30),
    "PV1": (3, 20, 44),
    "MRG": (1,),
    "IN1": (2, 3, 4, 8, 12, 13, 16, 17, 18, 22, 36, 43, 49),
    "AIS": (4,),
    "AIP": (3, 6),
}


@given(CANARIES, st.sampled_from([(name, number) for name, numbers in FIELDS.items() for number in numbers]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_built_in_mapping_shows_a_value(value: str, place: tuple[str, int], in_components: bool) -> None:
    sent = "^".join([value] * 6) if in_components else value
    segments = [segment(name, **({f"f{place[1]}": sent} if name == place[0] else {"f1": "1"})) for name in FIELDS]
    body = message(HEADER, *segments)
    for name in ("adt_to_patient", "siu_to_appointment"):
        mapping, _ = load_mapping(name, KNOWN)
        assert mapping is not None
        told = ""
        try:
            told = str(run_mapping(mapping, Message(body, "hl7v2"), context()).notes)
        except MessageUnusable as error:
            told = f"{error} {error.help}"
        assert not leaks(told, value)

"""What the formats of eligibility have in common, whichever bytes they are: what a question and an answer consist of.

A mapping gives an `Inquiry` field by field and reads an answer field by field; X12 270/271, JSON and forms are ways to write
the one and to read the other, so that what follows (outcome, card, FHIR) does not know which of them it was.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import date
from typing import Any

from hub.errors import MessageUnusable
from hub.format import Fields, WritableFormat
from hub.formats.dotted import DottedFields
from hub.formats.x12.benefits import IN_OFFICE, Where
from hub.formats.x12.inquiry import Inquiry, PersonNamed
from hub.formats.x12.write import MOST_CONTROL
from hub.message import Message
from hub.step import Context

ANSWER_FIELDS = frozenset(
    [
        "set",
        "status",
        "failure",
        "findings",
        "rejections",
        "reference",
        "trace_numbers",
        "payer",
        "provider",
        "subscriber",
        "patient",
        "plan",
        "dates",
        "covered_from",
        "covered_to",
        "benefits",
        "accumulators",
        "other_coverage",
        "programmes",
        "chosen",
        "other_payer",
    ]
)
_OF_ONE = frozenset(
    [
        *["loop", "code", "follow_up", "text", "who", "action"],
        *["kind", "segment", "rank", "insurance_type", "insurance", "policy", "phone", "name", "amount", "service_types"],
    ]
)
"""What one rejection, other coverage or programme has, for the `each` of a mapping."""
_PERSON = ("family", "given", "middle", "suffix", "birth_date", "sex")
INQUIRY_FIELDS = frozenset(
    [
        *[
            "sender",
            "receiver",
            "usage",
            "payer.name",
            "payer.id",
            "provider.name",
            "provider.npi",
            "member_id",
            "group",
            "relationship",
        ],
        *["service_date", "service_end", "service_types", "repeat_types", "references"],
        *["provider.given", "provider.taxonomy", "provider.references"],
        *(f"{who}.{part}" for who in ("subscriber", "patient") for part in _PERSON),
    ]
)
_FOREIGN = {"set": "271", "failure": "The answer belongs to another question: its trace number is not ours."}
"""All that is read of an answer about somebody else."""


class EligibilityFormat(WritableFormat):
    """A way to ask a payer and to read what it says."""

    @abstractmethod
    def answer(self, body: bytes, service_types: list[str], service_date: str, where: Where) -> dict[str, Any]:
        """What the payer says, as `report.answer` tells it.  Total: any bytes are an answer or a `failure`.

        `service_types` are those that were asked for, `service_date` is the day of the visit (CCYYMMDD), `where` its place.
        """

    def open(self, message: Message) -> Fields:
        types = message.headers.get("service_types", "").split()
        answer = self.answer(message.body, types, _day(message), _where(message))
        asked, answered = message.headers.get("trace"), answer.get("trace_numbers")
        if asked and answered and asked not in answered:
            return DottedFields(_FOREIGN)
        return DottedFields(answer)

    def path_error(self, path: str) -> str | None:
        first = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
        if first in ANSWER_FIELDS or first in _OF_ONE:
            return None
        return f"{path!r}: an answer about eligibility has {', '.join(sorted(ANSWER_FIELDS))}"

    def target_error(self, path: str) -> str | None:
        if path in INQUIRY_FIELDS:
            return None
        return f"a question about eligibility has no {path!r}; it has {', '.join(sorted(INQUIRY_FIELDS))}"


async def numbers_for(message: Message, context: Context) -> tuple[str, int]:
    """Trace and control number of a question: those it was planned with (headers `trace`, `control_number`), else new ones."""
    trace, number = message.headers.get("trace"), message.headers.get("control_number")
    if trace and number and number.isdecimal():
        return trace, int(number)
    return await new_numbers(context)


async def new_numbers(context: Context) -> tuple[str, int]:
    """A trace number that a repeat of this run gives again, and a control number that is never given twice."""
    return context.new_id().upper(), (await context.number("x12_interchange") - 1) % MOST_CONTROL + 1


def _day(message: Message) -> str:
    """The day of the visit, as X12 writes it."""
    return message.headers.get("service_date", "").replace("-", "")[:8]


def _where(message: Message) -> Where:
    """Where the visit takes place (headers `network`: in, out; `places`: codes)."""
    places = tuple(message.headers.get("places", "").split())
    return Where(message.headers.get("network") != "out", places or IN_OFFICE.places)


def inquiry_of(values: dict[str, Any]) -> Inquiry:
    """The question a mapping has put together, keyed by dotted path; raises MessageUnusable without the day of the visit.

    A dependent is asked for under the subscriber; who is the subscriber is named once, as the insured or the patient.
    """
    subscriber, patient = _person(values, "subscriber"), _person(values, "patient")
    own = values.get("relationship", "self") == "self"
    types = values.get("service_types") or []
    service_date = values.get("service_date")
    if not isinstance(service_date, date):
        raise MessageUnusable("a 270 cannot be built without the day of the visit", code="X12-270")
    return Inquiry(
        sender=values.get("sender", ""),
        receiver=values.get("receiver", ""),
        usage=values.get("usage", "T"),
        payer_name=values.get("payer.name", ""),
        payer_id=values.get("payer.id", ""),
        provider_name=values.get("provider.name", ""),
        provider_npi=values.get("provider.npi", ""),
        member_id=values.get("member_id"),
        subscriber=_filled(subscriber, patient) if own else subscriber,
        service_date=service_date,
        service_types=types if isinstance(types, list) else [types],
        patient=None if own else patient,
        relationship=values.get("relationship", "self"),
        group=values.get("group"),
        service_end=_last_day(values.get("service_end")),
        references=_references(values.get("references")),
        provider_given=values.get("provider.given"),
        provider_taxonomy=values.get("provider.taxonomy"),
        provider_references=_references(values.get("provider.references")),
        repeat_types=str(values.get("repeat_types", "")).lower() in ("true", "yes", "1"),
    )


def _last_day(value: object) -> date | None:
    if value is not None and not isinstance(value, date):
        raise MessageUnusable("the last day a 270 asks for is no date", code="X12-270")
    return value


def _references(value: object) -> list[tuple[str, str]]:
    """`SY:123456789`, one or a list: qualifier and value."""
    given = value if isinstance(value, list) else [value] if value else []
    pairs = [str(one).partition(":") for one in given]
    return [(kind, number) for kind, _, number in pairs]


def _filled(person: PersonNamed, other: PersonNamed) -> PersonNamed:
    """The insured as the card names them; what it does not say, as the chart does."""
    return PersonNamed(**{part: getattr(person, part) or getattr(other, part) for part in _PERSON})


def _person(values: dict[str, Any], who: str) -> PersonNamed:
    return PersonNamed(**{part: values.get(f"{who}.{part}") for part in _PERSON})

"""X12 as a format of the hub: what an interchange is filed under, how mappings read an answer and write an inquiry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from hub.errors import MessageUnusable
from hub.format import Fields, Keys, WritableFormat
from hub.formats.dotted import DottedFields
from hub.formats.x12 import report
from hub.formats.x12.eligibility import read_eligibility
from hub.formats.x12.envelope import read
from hub.formats.x12.inquiry import Inquiry, PersonNamed, build_270
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
MOST_PATIENTS_FILED = 1000
_FOREIGN = {"set": "271", "failure": "The answer belongs to another question: its trace number is not ours."}
"""All that is read of an answer about somebody else."""


class X12Format(WritableFormat):
    """X12 005010: reads 271, 999 and TA1 as the answer to an inquiry, writes a 270."""

    name = "x12"

    def keys(self, body: bytes, headers: Mapping[str, str]) -> Keys:  # noqa: ARG002
        file = read(body)
        transactions = file.transactions()
        kinds = dict.fromkeys(t.set for t in transactions)
        if not kinds and any(i.acknowledgements for i in file.interchanges):
            kinds = {"TA1": None}
        people = [p for t in transactions if t.set in report.ELIGIBILITY for p in read_eligibility(t).patients]
        people = people[:MOST_PATIENTS_FILED]
        return Keys(
            type=" ".join(kinds),
            control_id=file.interchanges[0].header[13] if file.interchanges else "",
            member=[p.subscriber.entity.id for p in people if p.subscriber.entity.id],
            other=[("trace", number) for p in people for _, number in p.level.traces if number],
        )

    def open(self, message: Message) -> Fields:
        answer = report.answer(message.body, message.headers.get("service_types", "").split(), _day(message))
        asked, answered = message.headers.get("trace"), answer.get("trace_numbers")
        if asked and answered and asked not in answered:
            return DottedFields(_FOREIGN)
        return DottedFields(answer)

    def path_error(self, path: str) -> str | None:
        first = path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
        if first in ANSWER_FIELDS or first in ("loop", "code", "follow_up", "text", "who", "action"):
            return None
        return f"{path!r}: an X12 answer has {', '.join(sorted(ANSWER_FIELDS))}"

    def target_error(self, path: str) -> str | None:
        return None if path in INQUIRY_FIELDS else f"a 270 has no {path!r}; it has {', '.join(sorted(INQUIRY_FIELDS))}"

    async def write(self, values: dict[str, Any], message: Message, context: Context) -> Message:
        inquiry = _inquiry(values)
        trace = context.new_id().upper()
        number = (await context.number("x12_interchange") - 1) % 999_999_999 + 1
        body = build_270(inquiry, control_number=number, trace=trace, now=context.now.astimezone(context.site.zone))
        headers = {"service_types": " ".join(inquiry.service_types), "trace": trace}
        return message.derive(body, format=self.name, type="270", headers=headers)


def _day(message: Message) -> str:
    """The day of the visit, as X12 writes it."""
    return message.headers.get("service_date", "").replace("-", "")[:8]


def _inquiry(values: dict[str, Any]) -> Inquiry:
    """A dependent is asked for under the subscriber; who is the subscriber is named once, as the insured or the patient."""
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

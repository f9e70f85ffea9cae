"""X12 as a format of the hub: what an interchange is filed under, how mappings read an answer and write an inquiry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.format import Keys
from hub.formats.x12 import report
from hub.formats.x12.benefits import Where
from hub.formats.x12.eligibility import read_eligibility
from hub.formats.x12.envelope import read
from hub.formats.x12.exchange import EligibilityFormat, inquiry_of, numbers_for
from hub.formats.x12.inquiry import build_270
from hub.message import Message
from hub.step import Context

MOST_PATIENTS_FILED = 1000


class X12Format(EligibilityFormat):
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

    def answer(self, body: bytes, service_types: list[str], service_date: str, where: Where) -> dict[str, Any]:
        return report.answer(body, service_types, service_date, where)

    async def write(self, values: dict[str, Any], message: Message, context: Context) -> Message:
        inquiry = inquiry_of(values)
        trace, number = await numbers_for(message, context)
        body = build_270(inquiry, control_number=number, trace=trace, now=context.now.astimezone(context.site.zone))
        headers = {"service_types": " ".join(inquiry.service_types), "trace": trace}
        return message.derive(body, format=self.name, type="270", headers=headers)

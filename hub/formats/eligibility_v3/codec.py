"""Eligibility v3 as a format of the hub: what an answer is filed under, how mappings read it and write a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.format import Keys
from hub.formats.eligibility_v3.answer import answer, read_answer
from hub.formats.eligibility_v3.request import build_request, control_number
from hub.formats.x12.benefits import Where
from hub.formats.x12.exchange import EligibilityFormat, inquiry_of, numbers_for
from hub.message import Message
from hub.step import Context


class EligibilityV3Format(EligibilityFormat):
    """JSON of clearinghouses: reads an answer as it reads a 271, writes the question of a 270."""

    name = "eligibility_v3"

    def keys(self, body: bytes, headers: Mapping[str, str]) -> Keys:  # noqa: ARG002
        read = read_answer(body)
        people = read.reply.patients
        traces = [number for p in people for _, number in p.level.traces]
        return Keys(
            type="271" if read.failure is None else "",
            control_id=next(iter(read.control_numbers), ""),
            member=[p.subscriber.entity.id for p in people if p.subscriber.entity.id],
            other=[("trace", number) for number in dict.fromkeys([*traces, *read.control_numbers])],
        )

    def answer(self, body: bytes, service_types: list[str], service_date: str, where: Where) -> dict[str, Any]:
        return answer(body, service_types, service_date, where)

    async def write(self, values: dict[str, Any], message: Message, context: Context) -> Message:
        inquiry = inquiry_of(values)
        _, number = await numbers_for(message, context)
        control = control_number(number)
        headers = {"service_types": " ".join(inquiry.service_types), "trace": control}
        return message.derive(build_request(inquiry, control=control), format=self.name, type="270", headers=headers)

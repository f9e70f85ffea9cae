"""Coverages as a format of the hub: what an answer is filed under, how mappings read it and write the form of a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.format import Keys
from hub.formats.coverages.answer import answer, read_answer
from hub.formats.coverages.form import build_form
from hub.formats.x12.benefits import Where
from hub.formats.x12.exchange import EligibilityFormat, inquiry_of
from hub.message import Message
from hub.step import Context


class CoveragesFormat(EligibilityFormat):
    """A form that is posted, JSON that is fetched: reads an answer as it reads a 271, writes the question of a 270."""

    name = "coverages"

    def keys(self, body: bytes, headers: Mapping[str, str]) -> Keys:  # noqa: ARG002
        read = read_answer(body)
        people = read.reply.patients
        return Keys(
            type="271" if read.failure is None else "",
            control_id=read.reply.control_number,
            member=[p.subscriber.entity.id for p in people if p.subscriber.entity.id],
        )

    def answer(self, body: bytes, service_types: list[str], service_date: str, where: Where) -> dict[str, Any]:
        return answer(body, service_types, service_date, where)

    async def write(self, values: dict[str, Any], message: Message, context: Context) -> Message:  # noqa: ARG002
        """No number goes along: the partner gives each question an id of its own, under which its answer is fetched."""
        inquiry = inquiry_of(values)
        headers = {"service_types": " ".join(inquiry.service_types)}
        return message.derive(build_form(inquiry), format=self.name, type="270", headers=headers)

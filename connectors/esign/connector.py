"""Orders in, reports out: an envelope is sent once, and everything else may be asked again.

A send that was not answered is looked for under our reference; when it is not found either, nobody knows, and a person is told.
One that a person replays is looked for first.
Services that make an envelope first and send it in a second step (`start`) are asked for that step whenever a look finds the
envelope still waiting for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connectors.esign.service import Service
from connectors.esign.settings import EsignConfig
from hub.calls import Answer, Api, Call, File
from hub.connector import Destination
from hub.errors import ConnectionDown, MessageRejected, MessageUnusable
from hub.formats.dotted import DottedFields
from hub.formats.loose_json import Unreadable, read_json
from hub.message import Message
from hub.records_signing import EnvelopeOrder, EnvelopeReport, EnvelopeState

READY_AFTER = (0.2, 1.0, 2.0, 4.0)
"""Seconds before each look whether an envelope that was made can be sent; later looks go on."""
NOT_KNOWN = "the service does not know it (any more)"
NOTHING_FITS = "the service says something that the `states` of its profile do not know"


class Esign(Destination[EsignConfig]):
    """A signing service."""

    kind = "esign"
    repeat = "ask"

    def __init__(self, name: str, config: EsignConfig) -> None:
        super().__init__(name, config)
        self._service = Service(name, config)

    async def send(self, message: Message) -> Message | None:
        order = _order(message)
        async with self._service.opened() as api:
            if order.action == "send":
                is_replay = message.generation > 0
                known = await self._found(api, order) if is_replay and self.config.find is not None else None
                return _said(known if known is not None and known.partner_id is not None else await self._sent(api, order))
            if order.partner_id is None:
                return _said(await self._found(api, order))
            if order.action == "look":
                return _said(await self._looked(api, order))
            if order.action == "remind":
                return _said(await self._reminded(api, order))
            if order.action == "void":
                return _said(await self._voided(api, order))
            return await self._fetched(api, order)

    # Sending.

    async def _sent(self, api: Api, order: EnvelopeOrder) -> EnvelopeReport:
        call = self.config.send if order.template is None else self.config.send_template
        if call is None:
            other = "a `template`" if order.template is None else "`files`"
            raise MessageUnusable(f"the profile of {self.name} cannot send this packet; name {other} in it", code="MSG-002")
        values = await self._values(api, order)
        answer = await api.order(call, values, find=self.config.find)
        partner_id = answer.text("partner_id") if answer is not None else None
        if partner_id is None:
            return await self._found(api, order)
        return await self._started(api, order.model_copy(update={"partner_id": partner_id}), answer)

    async def _values(self, api: Api, order: EnvelopeOrder) -> dict[str, Any]:
        """Everything a call may be filled with; documents are brought to the service where it wants them first."""
        signers = [
            {
                "role": s.role,
                "name": s.name,
                "email": s.email,
                "order": str(s.order),
                "number": str(number),
                "index": str(number - 1),
                "rank": str(s.order - 1),
            }
            for number, s in enumerate(order.signers, 1)
        ]
        values: dict[str, Any] = {
            **self.config.values,
            **(signers[0] if signers else {}),
            "reference": order.id,
            "partner_id": order.partner_id,
            "title": order.title,
            "text": order.text,
            "template": order.template,
            "reason": order.reason,
            "signers": signers,
            "expires": "false" if order.expires_at is None else "true",
            "endless": "true" if order.expires_at is None else "false",
        }
        if order.expires_at is not None:
            until = order.expires_at.timestamp()
            values |= {"expires_at": str(int(until)), "expires_days": str(max(1, math.ceil((until - time.time()) / 86400)))}
        if order.action == "send":
            values["documents"] = [await self._document(api, values, n, name) for n, name in enumerate(order.files, 1)]
            if values["documents"]:
                values = {**values["documents"][0], **values}
        return values

    async def _document(self, api: Api, values: Mapping[str, Any], number: int, name: str) -> dict[str, Any]:
        body = await asyncio.to_thread(_read, self.config.documents, name)
        file = File(body, "application/pdf", name)
        document: dict[str, Any] = {"file": file, "file_name": name, "number": str(number), "index": str(number - 1)}
        if self.config.upload is not None:
            answer = await api.ask(self.config.upload, {**values, **document})
            document["uploaded"] = answer.text("uploaded") if answer is not None else None
        return document

    async def _started(self, api: Api, order: EnvelopeOrder, answer: Answer | None) -> EnvelopeReport:
        """What became of an envelope that was made: it is sent by a second call where the service wants one."""
        if self.config.start is None:
            state = self._state(answer, otherwise="sent")
            return self._report(order, state if state not in ("ordered", "unknown") else "sent")
        report = self._report(order, "draft")
        for wait in READY_AFTER:
            await asyncio.sleep(wait)
            with contextlib.suppress(ConnectionDown, MessageRejected):  # it is made: later looks go on
                looked = await self._looked(api, order)
                report = looked if looked.found else report  # services know what they made a moment later
            if report.state != "draft":
                break
        return report

    # Looking.

    async def _found(self, api: Api, order: EnvelopeOrder) -> EnvelopeReport:
        """An envelope whose id at the service we do not know: there may be none."""
        found = await api.find(self.config.find, await self._values(api, order)) if self.config.find is not None else None
        partner_id = found.text("partner_id") if found is not None else None
        if partner_id is None:
            return self._report(order, "unknown")
        return await self._looked(api, order.model_copy(update={"partner_id": partner_id}))

    async def _looked(self, api: Api, order: EnvelopeOrder) -> EnvelopeReport:
        answer = await self._asked(api, self.config.look, order)
        if answer is None:
            return self._report(order, "unknown", NOT_KNOWN).model_copy(update={"found": False})
        if self.config.start is not None and _fits(_fields(answer), self.config.start_if):
            await self._asked(api, self.config.start, order)
            answer = await self._asked(api, self.config.look, order)
        state = self._state(answer, otherwise="ordered")
        detail = answer.text("detail") if answer is not None else None
        return self._report(order, state, detail if state != "ordered" else NOTHING_FITS)

    def _state(self, answer: Answer | None, *, otherwise: EnvelopeState) -> EnvelopeState:
        fields = _fields(answer)
        return next((rule.state for rule in self.config.states if _fits(fields, rule.if_)), otherwise)

    # What may be asked of an envelope that is out.

    async def _reminded(self, api: Api, order: EnvelopeOrder) -> EnvelopeReport:
        if self.config.remind is not None:
            await api.order(self.config.remind, await self._values(api, order))
        return await self._looked(api, order)

    async def _voided(self, api: Api, order: EnvelopeOrder) -> EnvelopeReport:
        await self._asked(api, self.config.void, order)
        return self._report(order, "voided")

    async def _fetched(self, api: Api, order: EnvelopeOrder) -> Message:
        call = self.config.fetch if order.action == "fetch" else self.config.certificate
        if call is None:
            return _said(self._report(order, "completed", "the certificate is a part of the document"))
        answer = await self._asked(api, call, order)
        if answer is None or answer.not_yet or not answer.body.lstrip()[:5].startswith(b"%PDF-"):
            return _said(self._report(order, "completed", ready=False))
        headers = {"envelope": order.id, "action": order.action, "service": self.name, "media_type": "application/pdf"}
        return Message(answer.body, "document", headers=headers)

    # Asking.

    async def _asked(self, api: Api, call: Call, order: EnvelopeOrder) -> Answer | None:
        return await api.ask(call, await self._values(api, order))

    def _report(
        self, order: EnvelopeOrder, state: EnvelopeState, detail: str | None = None, *, ready: bool = True
    ) -> EnvelopeReport:
        words = detail[:300] if detail else None
        return EnvelopeReport(
            id=order.id, action=order.action, partner_id=order.partner_id, state=state, detail=words, ready=ready
        )

    async def check(self) -> str:
        return await self._service.check()

    async def close(self) -> None:
        await self._service.close()


def _order(message: Message) -> EnvelopeOrder:
    record = message.record
    if isinstance(record, EnvelopeOrder):
        return record
    try:
        return EnvelopeOrder.model_validate_json(message.body)
    except ValidationError:
        text = f"a signing service takes an envelope_order, but this is {message.format}"
        raise MessageUnusable(text, code="MSG-002") from None


def _said(report: EnvelopeReport) -> Message:
    return Message(report, "envelope_report", headers={"envelope": report.id, "action": report.action})


def _read(folder: Path | None, name: str) -> bytes:
    """Raises MessageUnusable, naming the file."""
    if folder is None or Path(name).name != name:
        raise MessageUnusable(f"there is no folder `documents` with the file {name!r} of the packet", code="MSG-002")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise MessageUnusable(
            f"the file {name!r} of the packet cannot be read in the folder `documents`: {why}", code="FIL-001"
        ) from None


def _fields(answer: Answer | None) -> DottedFields:
    if answer is None:
        return DottedFields({})
    try:
        return DottedFields(read_json(answer.body) if answer.body.strip() else {})
    except Unreadable:
        return DottedFields({})


def _fits(fields: DottedFields, wanted: Mapping[str, list[str]]) -> bool:
    """Every path has one of its values."""
    if not wanted:
        return False
    return all(
        (found := fields.get_all(path)) and ("*" in values or set(found) & set(values)) for path, values in wanted.items()
    )

"""The connection: orders and looks go out, what came in is fetched, and the carrier's words become ours.

Three formats are taken, each is asked and answered:

    document   an order.  Headers: fax (our id), reference (our id of the try), to (E.164), from_name, cover; of the try before:
               before (its reference), before_partner_id                                                    -> fax_report
    look, fax  how is it?  Headers: fax, reference, partner_id (where it is known)                          -> fax_report
    fetch      one that came in.  Headers: partner_id                                                       -> document

What may have been sent without an answer is looked for by our reference before it counts as doubtful; it is never sent twice.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import structlog

from connectors.fax.settings import FaxConfig
from connectors.fax.words import E164, our_error, told
from hub.calls import Answer, Api, File
from hub.connector import Deliver, Destination, Poller
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable
from hub.formats.document import media_type
from hub.message import Message
from hub.records_fax import FaxReport

log = structlog.get_logger(__name__)

PDF, TIFF = "application/pdf", "image/tiff"
PIECE = 1 << 20
"""Characters of a document in Base64 that are decoded at once."""


class FaxLine(Poller[FaxConfig], Destination[FaxConfig]):
    """A fax line at a carrier."""

    kind = "fax"
    repeat = "ask"

    def __init__(self, name: str, config: FaxConfig) -> None:
        super().__init__(name, config)
        self._connected: Api | None = None
        self._brought: set[str] = set()
        """Ids of what was delivered and is listed still, where the carrier cannot be told."""
        self._troubled: set[str] = set()
        """Ids of what could not be fetched: others go first, so that one that never can be keeps none from coming."""
        self._cut: dict[str, int] = {}
        """Lengths of documents that came without their end, by the ids of their faxes."""

    @property
    def _api(self) -> Api:
        if self._connected is None:
            self._connected = Api(self.name, self.config)
        return self._connected

    def may_repeat(self, message: Message) -> bool:
        return message.format != "document"  # all else are questions

    async def send(self, message: Message) -> Message | None:
        match message.format:
            case "document":
                return told(await self._order(message), message, self.name)
            case "look" | "fax":
                return told(await self._look(message), message, self.name)
            case "fetch":
                return await self._fetch(message.headers.get("partner_id", ""), {})
            case _:
                text = f"{self.name} takes a document to send, a look or a fetch, and no {message.format}"
                raise MessageUnusable(text, code="FAX-001")

    # Sending.

    async def _order(self, message: Message) -> FaxReport:
        to, reference = message.headers.get("to", ""), message.headers.get("reference", "")
        if not E164.fullmatch(to):
            raise MessageUnusable("the number to fax to is not written as +13125550100 (E.164)", code="FAX-002")
        if not reference:
            raise MessageUnusable("the order of a fax has no reference, by which it is found again", code="FAX-001")
        if (report := await self._arrived_before(message)) is not None:
            return report
        if message.generation and (known := await self._known(reference)) is not None:
            return self._report(known, reference=reference)  # a person had it sent again: it may have been sent after all
        answer = await self._api.order(self.config.send, await self._values_of(message, to, reference), find=self.config.find)
        if answer is None or not answer.text("partner_id"):
            answer = await self._known(reference)
        if answer is None:
            raise DoubtfulSend(f"{self.name}: the carrier took a fax and did not say under which id; it may have been sent")
        return self._report(answer, reference=reference)

    async def _arrived_before(self, message: Message) -> FaxReport | None:
        """The try before, if it arrived after all: then nothing is sent.  Carriers report failures that were none."""
        reference, partner_id = message.headers.get("before", ""), message.headers.get("before_partner_id", "")
        if self.config.look is None or not reference or not partner_id:
            return None
        answer = await self._api.ask(self.config.look, self._values({"reference": reference, "partner_id": partner_id}))
        report = self._report(answer, reference=reference, partner_id=partner_id) if answer is not None else None
        return report if report is not None and report.state == "sent" else None

    async def _values_of(self, message: Message, to: str, reference: str) -> dict[str, Any]:
        cover = message.headers.get("cover", "")
        document, kind = await self._as_carrier_wants(message.body)
        if cover and "cover" not in self.config.send.blanks:
            document = await self._with_cover(cover, document)
        name = f"{reference}.{'tif' if kind == TIFF else 'pdf'}"
        values = {"reference": reference, "to": to, "from_name": message.headers.get("from_name", ""), "cover": cover}
        return self._values({**values, "document": File(document, kind, name), "file_name": name})

    async def _as_carrier_wants(self, document: bytes) -> tuple[bytes, str]:
        """The document as PDF or TIFF.  Raises MessageUnusable when it cannot be read."""
        from hub.formats import pages

        if self.config.document == "tiff":
            return await pages.to_tiff(document), TIFF
        return (document if media_type(document) == PDF else await pages.to_pdf(document)), PDF

    async def _with_cover(self, cover: str, document: bytes) -> bytes:
        """A page in front, where the carrier has no cover page of its own."""
        from hub.formats import pages

        if self.config.document == "tiff":
            raise MessageUnusable(f"{self.name} sends TIFF, which a cover page cannot be put in front of", code="FAX-001")
        return await pages.join(await pages.cover("Fax", cover.splitlines()), document)

    # Looking.

    async def _look(self, message: Message) -> FaxReport:
        reference, partner_id = message.headers.get("reference", ""), message.headers.get("partner_id", "")
        if not partner_id:
            known = await self._known(reference)
            return self._report(known, reference=reference) if known is not None else FaxReport(state="unknown")
        if self.config.look is None:
            raise MessageUnusable(f"{self.name} cannot ask how a fax is: its profile has no `look`", code="FAX-001")
        answer = await self._api.ask(self.config.look, self._values({"reference": reference, "partner_id": partner_id}))
        if answer is None:  # the carrier has forgotten it: what is known stays
            return FaxReport(reference=reference, partner_id=partner_id, state="unknown")
        return self._report(answer, reference=reference, partner_id=partner_id)

    async def _known(self, reference: str) -> Answer | None:
        """What the carrier has under our reference."""
        if self.config.find is None:
            return None
        return await self._api.find(self.config.find, self._values({"reference": reference}))

    def _report(self, answer: Answer, *, reference: str, partner_id: str | None = None) -> FaxReport:
        state = self.config.states.get(answer.text("state") or "", "queued")
        why = answer.text("error") or None
        pages = answer.text("pages") or ""
        return FaxReport(
            reference=reference,
            partner_id=partner_id or answer.text("partner_id") or None,
            state=state,
            error=our_error(why, self.config.errors) if state == "failed" else None,
            reason=why[:80] if why and state == "failed" else None,
            pages=int(pages) if pages.isdecimal() and pages.isascii() and len(pages) < 6 else None,
        )

    # What came in.

    async def open(self, deliver: Deliver) -> None:
        if self.config.inbox is not None:
            await super().open(deliver)

    async def poll(self, deliver: Deliver) -> None:
        """Raises ConnectionDown when the carrier cannot be asked, or when some of what came in could not be fetched."""
        assert self.config.inbox is not None  # noqa: S101 - polled only where there is one
        answer = await self._api.ask(self.config.inbox, self._values({}))
        listed = {
            str(item["partner_id"]): item for item in (answer.items if answer is not None else ()) if "partner_id" in item
        }
        self._brought &= listed.keys()
        self._troubled &= listed.keys()
        failed = 0
        for partner_id in sorted(listed, key=self._troubled.__contains__):
            try:
                await self._bring(partner_id, listed[partner_id], deliver)
            except (MessageRejected, MessageUnusable) as error:
                log.warning("a fax could not be fetched", connection=self.name, code=error.code)
                failed += 1
            except ConnectionDown:
                self._troubled.add(partner_id)
                raise
            self._troubled.discard(partner_id)
        if failed:
            raise ConnectionDown(
                f"{self.name}: {failed} fax(es) that came in could not be fetched; look at them with the carrier"
            )

    async def _bring(self, partner_id: str, item: Mapping[str, str | bytes], deliver: Deliver) -> None:
        if partner_id not in self._brought:
            message = await self._fetch(partner_id, item)
            if message is None:
                return
            await deliver([message])
            self._brought.add(partner_id)
        if self.config.taken is not None:
            await self._api.ask(self.config.taken, self._values({"partner_id": partner_id}))

    async def _fetch(self, partner_id: str, listed: Mapping[str, str | bytes]) -> Message | None:
        """One fax with its document; None while it is not ready.  Raises MessageUnusable when the carrier knows of none,
        MessageRejected when what it gives is no document, or not a whole one."""
        if self.config.fetch is None or not partner_id:
            raise MessageUnusable(f"{self.name} has no fax to fetch: no `fetch` in its profile, or no id", code="FAX-001")
        answer = await self._api.ask(self.config.fetch, self._values({"partner_id": partner_id}))
        if answer is None:
            raise MessageUnusable(f"{self.name}: the carrier has no fax of this id", code="FAX-003")
        if answer.not_yet:
            return None
        document = await asyncio.to_thread(_bytes_of, answer)  # others have their turn while a long one is read
        if _is_cut(document) and self._cut.pop(partner_id, None) != len(document):
            self._cut[partner_id] = len(document)  # the same again is what the carrier has
            raise MessageRejected(f"{self.name}: a document came without its end; it is fetched again", answer="cut")
        found = {name: str(value) for name, value in {**listed, **answer.found}.items() if name != "document"}
        headers = {"partner_id": partner_id, "source": "fax", "line": self.name, "answer": "document"}
        headers |= {name: found[name] for name in ("from", "pages", "received_at") if found.get(name)}
        return Message(document, "document", headers=headers, duplicate_key=partner_id)

    # The rest.

    def _values(self, told: dict[str, Any]) -> dict[str, Any]:
        return {**told, **{f"value.{name}": text for name, text in self.config.values.items()}}

    async def check(self) -> str:
        return await self._api.check()

    async def close(self) -> None:
        await super().close()
        if self._connected is not None:
            api, self._connected = self._connected, None
            await api.close()


def _bytes_of(answer: Answer) -> bytes:
    """Raises MessageRejected when there is no document in the answer."""
    document = answer.found.get("document")
    if isinstance(document, str):
        try:
            document = _from_base64(document)
        except ValueError:
            document = b""
    if not document or media_type(document) not in (PDF, TIFF):
        raise MessageRejected("the carrier's answer has no document in it", answer="no document", code="FAX-003")
    return document


def _from_base64(text: str) -> bytes:
    """Some of it at a time, because other threads wait meanwhile.  Raises ValueError when it is no Base64."""
    written, rest = bytearray(), ""
    for at in range(0, len(text), PIECE):
        piece = rest + "".join(text[at : at + PIECE].split())
        whole = len(piece) - len(piece) % 4
        written += base64.b64decode(piece[:whole], validate=True)
        rest = piece[whole:]
    return bytes(written + base64.b64decode(rest, validate=True))


def _is_cut(document: bytes) -> bool:
    """A PDF ends with this mark; how long a TIFF is cannot be told by its end."""
    return document.startswith(b"%PDF") and b"%%EOF" not in document[-1024:]

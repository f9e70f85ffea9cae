"""A document becomes a fax, and each try of it an order for the fax line.

    flows:
      referral_letters:  {from: letters, steps: [{send_fax: {to: "+13125550100"}}]}
      faxes_out:         {from: {due: fax}, steps: [fax_order, {ask: fax_line}, save_fax]}

Other plugins order a fax by saving a `Fax` with the document's bytes in `kept`: `await context.save(Fax(id="", to=..., ...))`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

from hub import Context, Due, Message, MessageUnusable, Prepared, Step, StepConfig, StepResult
from hub.formats import pages
from hub.records_fax import Fax, FaxPolicy, FaxTry
from plugins.faxes.progress import LOOK, advanced, settle, tries_to

JOB = "fax"
_FILLING = re.compile(r"[\s().\-/]")


def in_e164(number: str) -> str:
    """`(312) 555-0100` and `+1 312 555 0100` as `+13125550100`; ten digits are of North America.  Raises ValueError."""
    plain = _FILLING.sub("", number)
    if re.fullmatch(r"[2-9]\d{9}", plain):
        return f"+1{plain}"
    if re.fullmatch(r"1[2-9]\d{9}", plain):
        return f"+{plain}"
    if re.fullmatch(r"\+[1-9]\d{6,14}", plain):
        return plain
    raise ValueError("is no fax number; write it with its country, as +13125550100")


def _number(value: object) -> object:
    return in_e164(value) if isinstance(value, str) and value else value


Number = Annotated[str, BeforeValidator(_number)]


class SendFaxConfig(StepConfig):
    """Settings of `send_fax`."""

    to: Number = ""
    """Number to fax to, with its country: +13125550100. Without it the header `fax_to` of the message says."""
    to_in_name: bool = False
    """The number is how the name of the file begins, up to a blank or `_`: +13125550100_letter.pdf."""
    from_name: str = Field(default="", max_length=80)
    """Who sends it, for the carrier and the cover page."""
    cover: list[str] = Field(default=[], max_length=20)
    """Lines of a cover page; no cover page without any. They are the same for all and never about a patient."""
    policy: FaxPolicy = FaxPolicy()
    """When it is tried again, and when the carrier is asked how it is."""
    queue: str = "front_desk"
    """Worklist for a fax that does not arrive."""


class SendFax(Step[SendFaxConfig]):
    """Has a document faxed: the tries are due work of their own, and the flow goes on with the document."""

    kind = "send_fax"
    main = "to"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.record is not None:
            raise MessageUnusable(f"send_fax works on the bytes of a document, but this is {message.format}", code="FAX-004")
        headers = message.headers
        to = self.config.to or self._number_of(headers)
        fax = Fax(
            id="",
            to=to,
            sender=self.config.from_name,
            cover=self.config.cover,
            document=headers.get("document", ""),
            kept=await context.keep(message),
            appointment=headers.get("appointment", ""),
            patient_id=headers.get("patient_id", ""),
            policy=self.config.policy,
            queue=self.config.queue,
        )
        saved = await context.save(fax)
        return message.derive(message.payload, format=message.format, headers={"fax": saved.id})

    def _number_of(self, headers: Mapping[str, str]) -> str:
        given = headers.get("fax_to", "")
        if self.config.to_in_name:
            given = re.split(r"[ _]", headers.get("file", "").removesuffix(".pdf"), maxsplit=1)[0]
        try:
            return in_e164(given)
        except ValueError:
            text = (
                "nobody says where to fax to: set `to`, the header fax_to, or the name of the file to a number as +13125550100"
            )
            raise MessageUnusable(text, code="FAX-002") from None


async def keep_fax(fax: Fax, context: Context) -> Fax:
    """How a fax is saved: one without an id is new and is ordered, of others this plugin alone says what has become of them.

    Saving, and not only keeping, lets other plugins react.  Raises MessageUnusable for one that cannot be sent.
    """
    if not fax.id:
        return await _order(fax, context)
    await context.put(fax)
    return fax


async def _order(fax: Fax, context: Context) -> Fax:
    """Its first try is due now."""
    if fax.kept is None:
        raise MessageUnusable("a fax without a document cannot be sent", code="FAX-004")
    try:
        to = in_e164(fax.to)
    except ValueError as error:
        raise MessageUnusable(f"the number to fax to {error}", code="FAX-002") from None
    looked = await pages.look(context.body(fax.kept))
    if looked.state != "whole":
        raise MessageUnusable(f"the document cannot be faxed: {looked.why}", code="FAX-005")
    ordered = fax.model_copy(
        update={
            "id": context.new_id("f"),
            "to": to,
            "pages": looked.pages or None,
            "ordered_at": context.now,
            "state": "ordered",
        }
    )
    await context.put(ordered)
    context.plan(Due(JOB, ordered.id, context.now, {"fax": ordered.id, "try": "1"}))
    if ordered.appointment:
        context.key("appointment", ordered.appointment)
    context.note("fax", "A fax is ordered", plain=True)
    return ordered


async def prepare_order(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """Due work: the next try, unless the fax arrived after all or the try was made already."""
    fax = await context.get(Fax, payload.get("fax", ""))
    if fax is None or str(len(fax.tries) + 1) != payload.get("try"):
        return None
    if fax.state not in ("ordered", "waiting", *(("failed", "unknown") if payload.get("again") else ())):
        return None
    return Prepared(fax, {"fax": fax.id, "appointment": fax.appointment} if fax.appointment else {"fax": fax.id})


class FaxOrder(Step[StepConfig]):
    """Makes the order of the next try: the whole document, or the pages that are missing."""

    kind = "fax_order"

    async def run(self, message: Message, context: Context) -> StepResult:
        fax = message.record
        if not isinstance(fax, Fax) or fax.kept is None:
            raise MessageUnusable(f"fax_order works on a fax that is due, but this is {message.format}", code="FAX-004")
        first = next_page(fax)
        one = FaxTry(reference=context.new_id(), to=fax.to, first_page=first, ordered_at=context.now)
        tried = advanced(fax.model_copy(update={"tries": [*fax.tries, one]}), context.now)
        await settle(fax, tried, context)
        wait = fax.policy.look[0] if fax.policy.look else None
        if wait is not None:
            context.plan(Due(LOOK, fax.id, context.now + timedelta(seconds=wait), {"fax": fax.id, "reference": one.reference}))
        body = context.body(fax.kept)
        headers = {"fax": fax.id, "reference": one.reference, "to": fax.to, "try": str(len(tried.tries))}
        headers |= before_of(fax)
        headers |= {"from_name": fax.sender} if fax.sender else {}
        headers |= {"cover": "\n".join(fax.cover)} if fax.cover else {}
        if first == 1:
            return message.derive(body, format="document", headers=headers)
        return message.derive(await pages.part(body, first), format="document", headers=headers)


def before_of(fax: Fax) -> dict[str, str]:
    """The try before, for a last look at it: it may have arrived after all."""
    last = next(reversed(tries_to(fax)), None)
    return {"before": last.reference, "before_partner_id": last.partner_id} if last is not None and last.partner_id else {}


def next_page(fax: Fax) -> int:
    """The first page that has not arrived there yet: of a try that broke off, what came before is not sent again."""
    last = next(reversed(tries_to(fax)), None)
    if last is None or last.error != "partial":
        return last.first_page if last is not None else 1
    arrived = max(0, (last.pages or 0) - (1 if fax.cover else 0))
    return min(last.first_page + arrived, fax.pages or 1)

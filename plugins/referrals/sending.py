"""Sending a referral: its documents become one PDF, which is faxed or mailed as the directory allows.

The fax or mail is followed by the plugin of its kind: tried again, waited for, told on the timeline of the visit, and put on
the worklist when it does not arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from hub import (
    Context,
    Message,
    MessageUnusable,
    Prepared,
    Step,
    StepConfig,
    StepResult,
    WorklistItem,
)
from hub.formats.pages import UnusableDocument, join
from hub.people import current_chart
from hub.records import Content, Document
from hub.records_fax import Fax, FaxPolicy
from hub.step import Misreference, References
from plugins.referrals.directory import DirectoryError, Specialist, plain, read_directory
from plugins.referrals.records import Referral, Way

JOB = "referral"


class SendReferralConfig(StepConfig):
    """Settings of `send_referral`."""

    directory: Path
    """The specialists: a CSV or XLSX file with the columns name, fax, direct."""
    prefer: Way = "mail"
    """The way for specialists that have both: fax or mail."""
    from_name: str = Field(default="", max_length=80)
    """Who sends it, for the fax carrier and the cover page."""
    cover: list[str] = Field(default=["Referral. Confidential: for the addressee only."], max_length=20)
    """Lines of the cover page of a fax; never about a patient."""
    policy: FaxPolicy = FaxPolicy()
    """When a fax is tried again, and when the carrier is asked how it is."""
    queue: str = "front_desk"
    """Worklist for referrals that could not be sent."""


class SendReferral(Step[SendReferralConfig]):
    """Orders the fax of a referral, and ends; or makes its mail, for the steps that follow."""

    kind = "send_referral"
    main = "directory"

    def __init__(self, name: str, config: SendReferralConfig) -> None:
        super().__init__(name, config)
        self._specialists: dict[str, Specialist] | None = None

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:  # noqa: ARG003 - it names a file only
        try:
            read_directory(config.directory)
        except DirectoryError as error:
            yield Misreference("directory", str(error))

    async def run(self, message: Message, context: Context) -> StepResult:
        referral = message.record
        if not isinstance(referral, Referral):
            raise MessageUnusable(f"send_referral works on a referral, but this is {message.format}", code="REF-001")
        context.key("appointment", referral.appointment)
        try:
            specialist, way = self._reached(referral)
            kept = await _as_one(referral, context)
            if way == "mail":
                return message.derive(context.body(kept), format="document", headers={"to": specialist.direct})
            await self._fax(referral, specialist, kept, context)
        except MessageUnusable as error:
            await self._not_sent(referral, str(error), context)
        return None

    def _reached(self, referral: Referral) -> tuple[Specialist, Way]:
        """Raises MessageUnusable when the directory does not say."""
        if self._specialists is None:
            try:
                self._specialists = read_directory(self.config.directory)
            except DirectoryError as error:
                raise MessageUnusable(str(error), code="REF-002") from None
        found = self._specialists.get(plain(referral.to))
        if found is None:
            raise MessageUnusable("the directory has no specialist of this name", code="REF-002")
        addresses: dict[Way, str] = {"mail": found.direct, "fax": found.fax}
        there = [way for way, address in addresses.items() if address]
        wanted = referral.way or (self.config.prefer if self.config.prefer in there else there[0])
        if wanted not in there:
            raise MessageUnusable(f"the directory has no way by {wanted} to this specialist", code="REF-002")
        return found, wanted

    async def _fax(self, referral: Referral, specialist: Specialist, kept: Content, context: Context) -> None:
        fax = Fax(
            id="",
            to=specialist.fax,
            sender=self.config.from_name,
            cover=self.config.cover,
            kept=kept,
            appointment=referral.appointment,
            patient_id=referral.patient_id,
            policy=self.config.policy,
            queue=self.config.queue,
        )
        saved = await context.save(fax)
        await context.put(referral.model_copy(update={"fax": saved.id}))
        context.note("referral", f"A referral ({len(referral.documents)} document(s)) goes out by fax", plain=True)

    async def _not_sent(self, referral: Referral, why: str, context: Context) -> None:
        await context.put(referral.model_copy(update={"why": why}))
        listed = f"hub referrals list --appointment {referral.appointment}"
        text = f"A referral was not sent: {why}. Mend that, and send it again: {listed}"
        topic = f"referral {referral.id}"
        item = WorklistItem(queue=self.config.queue, appointment=referral.appointment, topic=topic, text=text, cause="not sent")
        await context.save(item)
        context.note("referral", "A referral was not sent", plain=True)


async def _as_one(referral: Referral, context: Context) -> Content:
    """The documents as one PDF; raises MessageUnusable when they are no longer those of the patient, or make none."""
    kept: list[Content] = []
    for id in referral.documents:
        document = await context.get(Document, id)
        chart = await current_chart(document.patient_id, context) if document is not None else None
        owner = await current_chart(referral.patient_id, context)
        if document is None or document.kept is None or chart is None or owner is None or chart.id != owner.id:
            raise MessageUnusable(f"the document {id} is no longer one of this patient", code="REF-003")
        kept.append(document.kept)
    try:
        return await context.keep(await join(*(context.body(one) for one in kept)))
    except UnusableDocument as error:
        raise MessageUnusable(f"its documents make no PDF: {error}", code="REF-003") from None


class NoteReferral(Step[StepConfig]):
    """Notes with the referral which mail it goes out by; stands between `track_mail` and the `ask`."""

    kind = "note_referral"

    async def run(self, message: Message, context: Context) -> StepResult:
        referral = await context.get(Referral, message.headers.get("referral", ""))
        mail = message.headers.get("mail_id", "")
        if referral is None or not mail:
            raise MessageUnusable("note_referral stands behind send_referral and track_mail, before the ask", code="REF-001")
        await context.put(referral.model_copy(update={"mail": mail}))
        context.note("referral", f"A referral ({len(referral.documents)} document(s)) goes out by mail", plain=True)
        return message


async def prepare_referral(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The referral that is to be sent; None for one that was."""
    referral = await context.get(Referral, payload.get("referral", ""))
    if referral is None or referral.fax or referral.mail:
        return None
    return Prepared(referral, {"referral": referral.id, "appointment": referral.appointment})

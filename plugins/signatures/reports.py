"""What the signing service says, and what follows from it.

Reports come to orders, to looks that were due, and to looks that a webhook asked for; late, twice and in any order.  The state
only moves forward (`ENVELOPE`), and what follows a state follows once: when it is reached.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hub import Context, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.records import Document, Failure
from hub.records_signing import ENVELOPE, Envelope, EnvelopeReport
from plugins.signatures.envelopes import keyed, note, plan, plan_look, settle, tell, withdraw_all
from plugins.signatures.sending import ordered

FETCH_AGAIN = (5.0, 30.0, 120.0, 600.0, 3600.0)
"""Seconds after which a document that was not ready is asked for again; the last is repeated."""
REFUSED_AGAIN = 3600.0
"""The same for one that was refused."""
GONE_LOOKS = 5
"""After so many looks in a row at which the service did not know an envelope it is given up,"""
GONE_AFTER = timedelta(days=1)
"""and not before this time: a service may lose sight of what it has for some hours, and webhooks make looks too."""

UNKNOWN = (
    "{title}: nobody knows whether it reached the signing service, so it is not sent again by itself. Look for the reference"
    " {id} there; when it is not there, `hub signatures send {id}` sends it."
)
TOLD = {
    "unknown": ("it", UNKNOWN),
    "declined": ("coordinator", "{title}: the signer said no{detail}. Talk to the patient before the visit."),
    "expired": ("coordinator", "{title}: it was not signed in time. Have it signed at the desk, or send it again."),
    "bounced": (
        "coordinator",
        "{title}: the e-mail did not reach the signer. Correct the address in the chart, then send again.",
    ),
    "failed": (
        "it",
        "{title}: the signing service did not take it{detail}. IT looks at the message; have it signed at the desk.",
    ),
    "voided": (
        "coordinator",
        "{title}: it was withdrawn at the signing service, by nobody here{detail}. Send it again if need be.",
    ),
}
"""Who is told of a state, and in which words."""

GONE = (
    "{title}: the signing service has not known it for days. It may be out all the same. Look for the reference {id} there;"
    " only when nobody finds it, `hub signatures send {id}` sends it again."
)


class SaveSignature(Step[StepConfig]):
    """Keeps what the signing service said: how far an envelope is, or the signed document, which the flow goes on with."""

    kind = "save_signature"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format == "document" and message.record is None:
            return await _save_document(message, context)
        report = message.record
        if report is None and message.format == "envelope_report":
            report = EnvelopeReport.model_validate_json(message.body)
        if not isinstance(report, EnvelopeReport):
            raise MessageUnusable(f"save_signature works on an envelope_report, but this is {message.format}", code="SIG-002")
        envelope = await context.get(Envelope, report.id)
        if envelope is None:
            raise MessageUnusable(f"there is no envelope {report.id}", code="SIG-003")
        keyed(envelope, context)
        if not report.ready:
            wait = FETCH_AGAIN[min(envelope.fetches, len(FETCH_AGAIN) - 1)]
            plan(envelope, report.action, context.now + timedelta(seconds=wait), context)
            envelope = envelope.model_copy(update={"fetches": envelope.fetches + 1})
        await save_report(envelope, report, context)
        return None


async def save_report(envelope: Envelope, report: EnvelopeReport, context: Context) -> None:
    """Takes over what is new, and does once what follows from a state that is reached."""
    envelope, report = _counted(envelope, report, context)
    state = ENVELOPE.advance(envelope.state, report.state)
    update: dict[str, Any] = {"state": state, "partner_id": envelope.partner_id or report.partner_id}
    if report.state != "unknown":
        update["told_at"] = context.now
    if report.action == "look":
        update["looking_since"] = None
    is_new = state != envelope.state
    if is_new:
        update["detail"] = report.detail
    saved = envelope.model_copy(update=update)
    if is_new:
        saved = await _reached(envelope, saved, context)
    elif saved.state == "completed" and saved.document is None and report.action == "look":
        plan(saved, "fetch", context.now, context)  # a webhook may say that the document is ready
    if saved.withdrawn is not None and not saved.is_over and saved.partner_id is not None and envelope.partner_id is None:
        plan(saved, "void", context.now, context)
    await context.put(saved)


def _counted(envelope: Envelope, report: EnvelopeReport, context: Context) -> tuple[Envelope, EnvelopeReport]:
    """One answer that the service does not know it is none; it counts as withdrawn when that is said again for days."""
    if report.found:
        return envelope.model_copy(update={"missed": 0, "missed_since": None}), report
    missed, since = envelope.missed + 1, envelope.missed_since or context.now
    note(envelope, context, "the signing service does not know it; the hub looks again")
    if missed >= GONE_LOOKS and context.now - since >= GONE_AFTER:
        report = report.model_copy(update={"state": "voided"})
    return envelope.model_copy(update={"missed": missed, "missed_since": since}), report


async def _reached(before: Envelope, envelope: Envelope, context: Context) -> Envelope:
    """What follows when a state is reached."""
    if envelope.is_over:
        envelope = envelope.model_copy(update={"ended_at": context.now})
        withdraw_all(envelope, context)
    note(envelope, context)
    if envelope.state == "completed":
        if (seconds := envelope.plan.valid_for) is not None:
            envelope = envelope.model_copy(update={"valid_until": context.now + timedelta(seconds=seconds)})
        await settle(envelope, "signed", context)
        plan(envelope, "fetch", context.now, context)
        if envelope.plan.certificate:
            plan(envelope, "certificate", context.now, context)
    elif envelope.state in TOLD and envelope.withdrawn is None:
        await tell_state(envelope, context)
    elif envelope.is_over:
        await settle(envelope, "withdrawn", context)
    elif before.state == "unknown":
        await settle(envelope, "found at the signing service", context, cause="unknown")
    return envelope


async def tell_state(envelope: Envelope, context: Context) -> None:
    who, words = ("it", GONE) if envelope.state == "voided" and envelope.missed else TOLD[envelope.state]
    detail = f" ({envelope.detail})" if envelope.detail else ""
    text = words.format(title=envelope.title or envelope.packet, id=envelope.id, detail=detail)
    await tell(envelope, envelope.state, text, context, who=who)


async def _save_document(message: Message, context: Context) -> StepResult:
    """The signed document, or the certificate: kept once, and handed on."""
    envelope = await context.get(Envelope, message.headers.get("envelope", ""))
    if envelope is None:
        raise MessageUnusable("this document is of no envelope that is known here", code="SIG-003")
    keyed(envelope, context)
    is_certificate = message.headers.get("action") == "certificate"
    name = "certificate" if is_certificate else "document"
    if getattr(envelope, name) is not None:
        return None
    kind, service = "certificate" if is_certificate else "signed", message.headers.get("service")
    document = Document(
        id=f"{envelope.id}-{kind}",
        kind=kind if is_certificate else envelope.packet,
        title=f"{envelope.title} (certificate)" if is_certificate else envelope.title,
        media_type="application/pdf",
        source="signing",
        received_at=context.now,
        written_at=envelope.ended_at,
        filing="matched",
        kept=await context.keep(message),
        partner_ids={service: envelope.partner_id} if service and envelope.partner_id else {},
        appointment=envelope.appointments[-1] if envelope.appointments else None,
        patient_id=envelope.patient_id,
    )
    saved = await context.save(document)
    await context.put(envelope.model_copy(update={name: document.id}))
    await settle(envelope, "it is here", context, cause="certificate" if is_certificate else "fetch")
    note(envelope, context, f"{kind if is_certificate else 'the signed document'} is here")
    return message.derive(saved, format="document")


class SignatureFailed(Step[StepConfig]):
    """What becomes of an envelope when the signing service refused an order, or nobody knows whether it got it."""

    kind = "signature_failed"

    async def run(self, message: Message, context: Context) -> StepResult:
        failure = message.record
        if failure is None and message.format == "failure":
            failure = Failure.model_validate_json(message.body)
        if not isinstance(failure, Failure):
            raise MessageUnusable(f"signature_failed works on a failure, but this is {message.format}", code="SIG-004")
        envelope = await context.get(Envelope, failure.headers.get("envelope", ""))
        if envelope is None:
            return None
        keyed(envelope, context)
        match failure.headers.get("action"):
            case "send":
                await _not_sent(envelope, failure, context)
            case "void" | "fetch" | "certificate" as what if failure.doubtful:
                plan(envelope, what, context.now, context)  # may be asked again: a hub that stopped in between does
            case "void":
                await _not_voided(envelope, context)
            case "fetch" | "certificate" as what:
                plan(envelope, what, context.now + timedelta(seconds=REFUSED_AGAIN), context)
                name = "document" if what == "fetch" else "certificate"
                text = f"{envelope.title}: it is signed, but the {name} could not be fetched. The hub tries again each hour."
                await tell(envelope, what, text, context, who="it")
            case "look":
                await context.put(envelope.model_copy(update={"looking_since": None}))
            case "remind":
                note(envelope, context, "the signing service did not remind")
        return None


async def _not_sent(envelope: Envelope, failure: Failure, context: Context) -> None:
    doubtful = failure.may_be_done
    report = EnvelopeReport(
        id=envelope.id, action="send", state="unknown" if doubtful else "failed", detail=None if doubtful else failure.code
    )
    await save_report(envelope, report, context)


async def _not_voided(envelope: Envelope, context: Context) -> None:
    """It may be over already: a look tells."""
    note(envelope, context, "could not be withdrawn at the signing service")
    if not envelope.is_over:
        await context.put(plan_look(envelope.model_copy(update={"looks": 0}), context))
        text = f"{envelope.title}: it is not needed any more, but could not be withdrawn. Withdraw it at the signing service."
        await tell(envelope, "not withdrawn", text, context)


class SignatureEvent(Step[StepConfig]):
    """A webhook says that something happened to an envelope: the service is asked what."""

    kind = "signature_event"

    async def run(self, message: Message, context: Context) -> StepResult:
        found = await context.find(Envelope, "partner", message.headers.get("resource", ""), limit=1)
        if not found:
            context.note("signature", "An event about an envelope that is not known here; looks that are due tell", plain=True)
            return None
        keyed(found[0], context)
        asked = ordered(found[0], "look")
        return message.derive(asked.record, format="envelope_order", headers=asked.headers)

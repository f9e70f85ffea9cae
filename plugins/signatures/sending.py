"""What is asked of the signing service when it is due: to send, to look, to remind, to withdraw, to hand over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from hub import Appointment, Context, Patient, Prepared
from hub.people import current_chart
from hub.records import GONE
from hub.records_signing import ENVELOPE_WORDS, Envelope, EnvelopeAction, EnvelopeOrder, Signer
from plugins.signatures.envelopes import NEEDS_A_PERSON, OVERDUE, keyed, note, plan_look, tell, withdraw
from plugins.signatures.packets import NO_EMAIL


async def prepare_signature(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """The order for the service; None when there is nothing to ask (any more)."""
    envelope = await context.get(Envelope, payload.get("envelope", ""))
    if envelope is None:
        return None
    keyed(envelope, context)
    match payload.get("action"):
        case "send":
            return await _send(envelope, context)
        case "look":
            return await _look(envelope, context)
        case "remind":
            if envelope.is_over or envelope.partner_id is None or envelope.withdrawn is not None:
                return None
            note(envelope, context, "the signing service is asked to remind")
            return ordered(envelope, "remind")
        case "void":
            return None if envelope.is_over or envelope.withdrawn is None else ordered(envelope, "void")
        case "fetch":
            return ordered(envelope, "fetch") if envelope.state == "completed" and envelope.document is None else None
        case "certificate":
            wanted = envelope.state == "completed" and envelope.certificate is None and envelope.plan.certificate
            return ordered(envelope, "certificate") if wanted else None
        case action if action == OVERDUE:
            await _overdue(envelope, payload.get("appointment", ""), context)
    return None


def ordered(envelope: Envelope, action: EnvelopeAction) -> Prepared:
    order = EnvelopeOrder(
        id=envelope.id,
        action=action,
        partner_id=envelope.partner_id,
        title=envelope.title,
        text=envelope.text,
        files=envelope.files,
        template=envelope.template,
        signers=envelope.signers,
        expires_at=envelope.expires_at,
        reason=WITHDRAWN if action == "void" else "",
    )
    return Prepared(order, {"envelope": envelope.id, "action": action}, lane=envelope.id)


WITHDRAWN = "The appointment was changed or cancelled."
ANSWERED_WITHIN = timedelta(days=1)
"""A look without an answer counts as lost after this time."""
LONG_OVER = timedelta(days=30)
"""After the last visit of an envelope that is not signed."""


async def _send(envelope: Envelope, context: Context) -> Prepared | None:
    """Once: from then on it counts as sent until the service, or a person, says otherwise."""
    if envelope.asked_at is not None or envelope.is_over or envelope.withdrawn is not None:
        return None
    chart = await current_chart(envelope.patient_id, context)
    if chart is None or not chart.email:
        waiting = envelope.model_copy(update={"lacks": "email"})
        await context.put(waiting)
        await tell(waiting, "no e-mail", NO_EMAIL.format(title=envelope.title), context)
        return None
    signers = [_filled(signer, chart) for signer in envelope.signers]
    asked = envelope.model_copy(update={"signers": signers, "asked_at": context.now, "lacks": None})
    asked = plan_look(asked, context)
    await context.put(asked)
    note(asked, context, "handed to the signing service")
    return ordered(asked, "send")


def _filled(signer: Signer, chart: Patient) -> Signer:
    if signer.role != "patient":
        return signer
    name = " ".join(part for part in (chart.name.given, chart.name.family) if part)
    return signer.model_copy(update={"name": name, "email": chart.email or ""})


async def _look(envelope: Envelope, context: Context) -> Prepared | None:
    """The next look is planned before this one: no answer that gets lost ends them.  Long after its visits nobody needs it."""
    if envelope.is_over or envelope.asked_at is None:
        return None
    if await _is_long_over(envelope, context):
        if envelope.withdrawn is None:
            await withdraw(envelope, "its visits are long over", context)
        return None
    envelope = plan_look(envelope, context)
    since = envelope.looking_since
    if since is not None and context.now - since < ANSWERED_WITHIN:
        await context.put(envelope)  # one look at a time: while the service is away, they do not pile up
        return None
    await context.put(envelope.model_copy(update={"looking_since": context.now}))
    return ordered(envelope, "look")


async def _is_long_over(envelope: Envelope, context: Context) -> bool:
    starts = [envelope.ordered_at]
    for id in envelope.appointments:
        visit = await context.get(Appointment, id)
        starts.append(visit.starts_at if visit is not None else None)
    return max(at for at in starts if at is not None) < context.now - LONG_OVER


async def _overdue(envelope: Envelope, appointment: str, context: Context) -> None:
    """A visit comes near, and its packet is not signed."""
    visit = await context.get(Appointment, appointment)
    if envelope.state == "completed" or visit is None or visit.status in GONE or appointment not in envelope.appointments:
        return
    if envelope.lacks is not None or envelope.state in NEEDS_A_PERSON:
        return  # there is an item already, and it says more
    words = ENVELOPE_WORDS[envelope.state]
    text = f"{envelope.title}: the visit comes near and it is {words}. Call the patient, or have it signed at the desk."
    await tell(envelope.model_copy(update={"appointments": [appointment]}), "not signed", text, context)
    note(envelope, context, "not signed in time for the visit")

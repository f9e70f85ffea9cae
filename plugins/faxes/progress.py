"""What is reported of a try, and what follows: another try, a look, somebody who must see to it, or the end.

What a fax is follows from its tries alone, and a try only moves forward: reports may come in any order, twice, and late.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hub import Context, Due, Message, MessageUnusable, Prepared, Step, StepConfig, StepResult, WorklistItem
from hub.records import Failure
from hub.records_fax import ERRORS, FAX, Fax, FaxReport, FaxState, FaxTry
from plugins.faxes.arriving import received

JOB, LOOK = "fax", "fax_look"
TOPIC = "fax"
_WORDS = {
    "ordered": "A try is ordered",
    "unknown": "It is not known whether the fax was sent",
    "queued": "The carrier has the fax",
    "sending": "The fax is being sent",
    "waiting": "The fax did not arrive ({error}); it is tried again",
    "sent": "The fax arrived",
    "failed": "The fax did not arrive ({error})",
}
_TODO = {
    "bad_number": "The number is wrong or no fax answers there. Find out the right one.",
    "refused": "The carrier refuses it. IT looks at the message.",
    "busy": "The line was busy at every try. Call, or send it again later.",
    "no_answer": "Nobody answered at any try. Call, or send it again later.",
    "partial": "The line broke off at every try. Send it again later, or another way.",
    "other": "The carrier gives no reason that is known here. IT looks at it with the carrier.",
}


# What follows from the tries.


def reported(fax: Fax, report: FaxReport, now: datetime) -> Fax | None:
    """The fax after a report; None when it is about no try of it.  The same in whatever order reports come."""
    number = next((n for n, one in enumerate(fax.tries) if _is_about(one, report)), None)
    if number is None:
        return None
    one = fax.tries[number]
    state = FAX.advance(one.state, report.state)
    error, reason = max((one.error, one.reason), (report.error, report.reason), key=_weight)
    update: dict[str, Any] = {
        "state": state,
        "error": error,
        "reason": reason,
        "line": one.line or report.line,
        "partner_id": one.partner_id or report.partner_id,
        "pages": max((pages for pages in (one.pages, report.pages) if pages is not None), default=None),
        "ended_at": one.ended_at or (now if FAX.is_over(state) else None),
    }
    tries = [*fax.tries[:number], one.model_copy(update=update), *fax.tries[number + 1 :]]
    return advanced(fax.model_copy(update={"tries": tries}), now)


def _is_about(one: FaxTry, report: FaxReport) -> bool:
    if report.reference:
        return one.reference == report.reference
    return report.partner_id is not None and one.partner_id == report.partner_id


def _weight(why: tuple[str | None, str | None]) -> tuple[int, str]:
    error, reason = why
    rank = len(ERRORS) - ERRORS.index(error) if error in ERRORS else 0
    return rank, reason or ""


def advanced(fax: Fax, now: datetime) -> Fax:
    """The fax with the state that its tries come to."""
    state = state_of(fax)
    ended_at = (fax.ended_at or now) if state in ("sent", "failed") else None
    return fax.model_copy(update={"state": state, "ended_at": ended_at})


def tries_to(fax: Fax) -> list[FaxTry]:
    """The tries to the number it goes to now: what another number got is nothing to this one."""
    return [one for one in fax.tries if one.to in ("", fax.to)]


def state_of(fax: Fax) -> FaxState:
    """One try that was sent has brought what those before it had left; else the last one counts."""
    tries = tries_to(fax)
    if not tries:
        return "ordered"
    if any(one.state == "sent" for one in tries):
        return "sent"
    last = tries[-1]
    if last.state != "failed":
        return last.state
    return "failed" if wait_for_next(fax) is None else "waiting"


def wait_for_next(fax: Fax) -> float | None:
    """Seconds until the next try; None when there is none.  Each kind of error has its own waits, one for each time."""
    tries = tries_to(fax)
    error = tries[-1].error
    same = sum(one.error == error for one in tries)
    waits = fax.policy.waits(error)
    return waits[same - 1] if same <= len(waits) else None


async def settle(old: Fax, new: Fax, context: Context) -> None:
    """Keeps what a fax has become, and does what follows."""
    await context.save(new)
    if new.appointment:
        context.key("appointment", new.appointment)
    context.key("fax", new.id)
    if new.state == old.state and len(new.tries) == len(old.tries):
        return
    tries = tries_to(new)
    error = (tries[-1].error or "other").replace("_", " ") if tries else ""
    context.note("fax", f"Try {len(new.tries)}: {_WORDS[new.state].format(error=error)}", plain=True)
    if new.state == "waiting":
        at = context.now + timedelta(seconds=wait_for_next(new) or 0.0)
        context.plan(Due(JOB, new.id, at, {"fax": new.id, "try": str(len(new.tries) + 1)}))
    elif new.state != "ordered":
        context.withdraw(JOB, new.id)
    if new.state in ("waiting", "sent", "failed"):
        context.withdraw(LOOK, new.id)
    await _tell(new, context)


async def _tell(fax: Fax, context: Context) -> None:
    """Somebody must see to a fax that failed, or of which nobody knows; nobody any more once it is on its way."""
    match fax.state:
        case "failed":
            error = tries_to(fax)[-1].error or "other"
            await _open(fax, f"A fax did not arrive. {_TODO[error]}", error, context)
        case "unknown":
            text = (
                "It is not known whether a fax was sent. The hub looks for it with the carrier; it is not sent again by itself."
            )
            await _open(fax, text, "unknown", context)
        case "sent" | "queued" | "sending":
            await context.save(_item(fax, open=False, closed_because=f"the fax is {fax.state}"))


async def _open(fax: Fax, text: str, cause: str, context: Context) -> None:
    if not fax.appointment:  # the worklist itself lets one item of a visit and topic take the place of another
        await context.save(_item(fax, open=False, closed_because=f"now {cause}"))
    await context.save(_item(fax, queue=fax.queue, text=f"{text} See hub faxes show {fax.id}.", cause=cause))


def _item(fax: Fax, **more: Any) -> WorklistItem:
    """Of one fax: those of other faxes of the same visit stay."""
    return WorklistItem(appointment=fax.appointment, topic=f"{TOPIC} {fax.id}", **more)


# Steps.


class SaveFax(Step[StepConfig]):
    """Keeps what the carrier says of a fax, and ends; a fax that came in goes on as a document, once."""

    kind = "save_fax"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format == "document":
            return await received(message, context)
        if message.format != "fax_report":
            raise MessageUnusable(f"save_fax works on the answer of a fax line, but this is {message.format}", code="FAX-004")
        report = FaxReport.model_validate_json(message.body)
        await save_report(report.fax or message.headers.get("fax", ""), report, context)
        return None


async def save_report(id: str, report: FaxReport, context: Context) -> None:
    """Raises MessageUnusable for a report of no fax of ours."""
    fax = await context.get(Fax, id)
    known = reported(fax, report, context.now) if fax is not None else None
    if fax is None or known is None:
        raise MessageUnusable("the carrier speaks of a fax that is not known here", code="FAX-006")
    await settle(fax, known, context)


class FaxFailed(Step[StepConfig]):
    """What follows when an order could not be sent, or nobody knows whether it was."""

    kind = "fax_failed"

    async def run(self, message: Message, context: Context) -> StepResult:
        if message.format != "failure":
            raise MessageUnusable(f"fax_failed works on a failure, but this is {message.format}", code="FAX-004")
        failure = message.record or Failure.model_validate_json(message.body)
        assert isinstance(failure, Failure)  # noqa: S101 - that is what the format says
        reference, id = failure.headers.get("reference", ""), failure.headers.get("fax", "")
        fax = await context.get(Fax, id)
        if fax is None or not any(one.reference == reference for one in fax.tries):
            return message
        if failure.may_be_done:
            report = FaxReport(fax=id, reference=reference, state="unknown")
        else:
            report = FaxReport(fax=id, reference=reference, state="failed", error="refused", reason=failure.code)
        await save_report(id, report, context)
        return message


async def prepare_look(payload: Mapping[str, str], context: Context) -> Prepared | None:
    """Due work: the carrier is asked how the last try is, and once more later."""
    fax = await context.get(Fax, payload.get("fax", ""))
    last = fax.tries[-1] if fax is not None and fax.tries else None
    if fax is None or last is None or last.reference != payload.get("reference") or FAX.is_over(last.state):
        return None
    looks = last.looks + 1
    last = last.model_copy(update={"looks": looks})
    await context.put(fax.model_copy(update={"tries": [*fax.tries[:-1], last]}))
    if looks < len(fax.policy.look):
        at = context.now + timedelta(seconds=fax.policy.look[looks])
        context.plan(Due(LOOK, fax.id, at, payload))
    else:
        await _open(fax, "The carrier has not told how a fax ended. IT looks at it with the carrier.", "no report", context)
    headers = {"fax": fax.id, "reference": last.reference}
    headers |= {"partner_id": last.partner_id} if last.partner_id else {}
    headers |= {"appointment": fax.appointment} if fax.appointment else {}
    return Prepared(fax, headers)

"""A payer that refuses us, whoever the patient is: one problem for payer and provider; nothing more is asked until it is over.

A rejection about payer or provider (AAA 41, 43, 50, T4 ...) opens a `PayerStop`: one item for IT, all checks of that payer
wait, their visits show the one cause.  After a time one question goes out as a probe; when the payer answers it, or a person
says so (`hub eligibility resume`), the problem is closed and everything that waited is asked.  A payer that cannot be reached
(AAA 79) is probed sooner, and IT hears of it only when that did not help.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from hub import Context, CoverageCheck, Operation, Record, RecordKey, WorklistItem
from hub.errors import NotFound
from hub.formats.x12 import codes
from hub.records import CoverageAttempt, CoveragePlan, Payer, Rejection
from hub.units import iso
from plugins.eligibility.visits import plan_check

STOPPED = "stopped"
"""The reason of a check that had to wait for a payer."""
FEW = 3
"""Probes of a payer that cannot be reached before IT is told."""
MOST_WAITING = 10_000
_ACTIONS = (codes.STOP_PROVIDER, codes.STOP_PAYER, codes.AGAIN_FEW)


class PayerStop(Record):
    """A problem with a payer that concerns all its patients."""

    id: str
    """Our id of the payer and, where the problem is about the provider, the NPI."""
    payer: str
    name: str
    provider: str = ""
    cause: str = ""
    """The reject reasons, for instance `AAA 50`."""
    text: str = ""
    """What the payer said, and what to do."""
    outcome: str = "unclear"
    """What visits show meanwhile."""
    opened_at: AwareDatetime | None = None
    closed_at: AwareDatetime | None = None
    open: bool = True
    told: bool = False
    """Whether IT was told."""
    probe_at: AwareDatetime | None = None
    """From when on one question may go out to find out whether it is over."""
    probes: int = 0
    probe: str | None = None
    """Trace number of the question that went out last."""


def stop_keys(stop: PayerStop) -> list[RecordKey]:
    return [RecordKey("payer", stop.payer), RecordKey("open", "yes" if stop.open else "no")]


def _id(payer: str, provider: str) -> str:
    return f"{payer}|{provider}"


def stopping(rejections: list[Rejection]) -> str | None:
    """What a rejection asks for that is about payer or provider; None when it is about the patient or the moment."""
    actions = {codes.machine_action(rejection.code, rejection.loop) for rejection in rejections}
    return next((action for action in _ACTIONS if action in actions), None)


async def stop_of(payer: str, provider: str, context: Context) -> PayerStop | None:
    """The open problem with a payer."""
    for id in (_id(payer, ""), _id(payer, provider)):
        found = await context.get(PayerStop, id)
        if found is not None and found.open:
            return found
    return None


def may_probe(stop: PayerStop, now: datetime) -> bool:
    return stop.probe_at is None or now >= stop.probe_at


async def begin_probe(stop: PayerStop, trace: str, plan: CoveragePlan, context: Context) -> None:
    """One question goes out; the next one not before another wait."""
    following = stop.model_copy(update={"probe": trace, "probes": stop.probes + 1})
    wait = _wait(following, plan)
    await context.put(following.model_copy(update={"probe_at": context.now + timedelta(seconds=wait)}))
    context.note("probe", f"Asking {stop.name} whether it still refuses ({stop.cause})", plain=True)


def _wait(stop: PayerStop, plan: CoveragePlan) -> float:
    waits = plan.retry_after
    if stop.told or stop.probes >= min(FEW, len(waits)):
        return plan.probe_after
    return waits[stop.probes]


async def open_stop(
    action: str, check: CoverageCheck, attempt: CoverageAttempt, payer: Payer, outcome: str, context: Context
) -> PayerStop:
    """Opens the problem that a rejection tells of, or notes that it is still there."""
    provider = attempt.provider if action == codes.STOP_PROVIDER else ""
    known = await context.get(PayerStop, _id(payer.payer, provider))
    if known is None or not known.open:
        known = _new(check, payer, provider, outcome, context.now)
        wait = check.plan.retry_after[0] if action == codes.AGAIN_FEW and check.plan.retry_after else check.plan.probe_after
        known = known.model_copy(update={"probe_at": context.now + timedelta(seconds=wait)})
        context.note("stopped", f"Nothing more is asked of {payer.name}: {known.cause}", plain=True)
    if not known.told and (action != codes.AGAIN_FEW or known.probes >= min(FEW, len(check.plan.retry_after))):
        known = known.model_copy(update={"told": True})
        await context.save(_item(known))
    await context.put(known)
    return known


def _new(check: CoverageCheck, payer: Payer, provider: str, outcome: str, now: datetime) -> PayerStop:
    listed = list(dict.fromkeys(rejection.code for rejection in check.rejections))
    words = "; ".join(dict.fromkeys(rejection.text for rejection in check.rejections))
    what = " ".join(dict.fromkeys(codes.rejection(r.code, r.loop).action for r in check.rejections))
    return PayerStop(
        id=_id(payer.payer, provider),
        payer=payer.payer,
        name=payer.name,
        provider=provider,
        cause=f"AAA {', '.join(listed)}",
        text=f"{payer.name} refuses to answer us: {words}. {what}",
        outcome=outcome,
        opened_at=now,
        told=False,
    )


def _item(stop: PayerStop, *, open: bool = True, because: str = "") -> WorklistItem:
    end = f" Its visits wait: a question goes out now and then; when it is mended, `hub eligibility resume {stop.payer}`."
    return WorklistItem(
        queue="it", text=stop.text + end, who="it", cause=f"{stop.name}: {stop.cause}", open=open, closed_because=because
    )


def stopped(stop: PayerStop, check: CoverageCheck, context: Context) -> CoverageCheck:
    """A check that has to wait shows the one cause, and is looked at again when a probe may go out."""
    plan_check(check.id, STOPPED, max(stop.probe_at or context.now, context.now), context)
    update = {"outcome": stop.outcome, "action": None, "who": None, "cause": stop.cause}
    return check.model_copy(update=update | {"stopped_by": stop.id, "asked_for": None})


async def close_if_over(payer: str, attempt: CoverageAttempt, context: Context) -> None:
    """A payer that answers a probe refuses nobody any more."""
    stop = await stop_of(payer, attempt.provider, context)
    if stop is not None and stop.probe == attempt.trace:
        await close(stop, "the payer answers again", context)


async def close(stop: PayerStop, because: str, context: Context) -> int:
    """Closes a problem; everything that waited is asked now.  Returns how many visits waited."""
    await context.put(stop.model_copy(update={"open": False, "closed_at": context.now}))
    if stop.told:
        await context.save(_item(stop, open=False, because=because))
    context.note("resumed", f"{stop.name} is asked again", plain=True)
    waiting = await context.find(CoverageCheck, "stopped_by", stop.id, limit=MOST_WAITING)
    for check in waiting:
        plan_check(check.id, STOPPED, context.now, context)
    return len(waiting)


# What people ask.


class ResumeParams(BaseModel):
    """Which payer is to be asked again."""

    model_config = ConfigDict(extra="forbid")

    payer: str


async def resume(params: ResumeParams, context: Context) -> dict[str, Any]:
    """Closes what keeps a payer from being asked; raises NotFound when nothing does."""
    payer = context.payer(params.payer)
    id = payer.payer if payer is not None else params.payer
    stops = [stop for stop in await context.find(PayerStop, "payer", id) if stop.open]
    if not stops:
        raise NotFound(f"nothing keeps the payer {params.payer!r} from being asked")
    waiting = [await close(stop, "a person said so", context) for stop in stops]
    return {"payer": id, "visits": sum(waiting)}


class StopsParams(BaseModel):
    """All of them."""

    model_config = ConfigDict(extra="forbid")


async def list_stops(_: StopsParams, context: Context) -> list[dict[str, Any]]:
    """Payers that refuse us now, with the cause and when they are probed."""
    found = await context.find(PayerStop, "open", "yes", limit=1000)
    return [
        {
            "payer": stop.payer,
            "name": stop.name,
            "provider": stop.provider or None,
            "cause": stop.cause,
            "text": stop.text,
            "opened_at": iso(stop.opened_at) if stop.opened_at else None,
            "probe_at": iso(stop.probe_at) if stop.probe_at else None,
            "probes": stop.probes,
        }
        for stop in sorted(found, key=lambda stop: stop.id)
    ]


OPERATIONS = [
    Operation("eligibility.resume", "Ask a payer again that refused us.", ResumeParams, resume),
    Operation("eligibility.stops", "Payers that refuse us.", StopsParams, list_stops),
]

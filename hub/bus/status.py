"""How a hub is: what `hub status` shows.  A stop is explained here the moment it is one, with what to do about it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hub.bus.core import Core
from hub.bus.outgoing import OutgoingTarget
from hub.bus.signals import Histogram, Trouble
from hub.bus.target import Target
from hub.bus.telling import open_alerts, status_line
from hub.codes import CODES
from hub.connector import Poller
from hub.moments import from_micros
from hub.store.reader import Reader
from hub.units import iso

if TYPE_CHECKING:
    from hub.bus.hub import Hub


@dataclass(frozen=True, slots=True)
class Stop:
    """Something that does not go on: where, since when, why, and what to do."""

    where: str
    code: str
    text: str
    since: float | None = None
    """Seconds since 1970."""

    def line(self) -> dict[str, Any]:
        _, help = CODES.get(self.code, ("", ""))
        since = iso(datetime.fromtimestamp(self.since, UTC)) if self.since else None
        return {"where": self.where, "code": self.code, "text": self.text, "since": since, "help": help}


async def describe_status(core: Core, hub: Hub | None) -> dict[str, Any]:
    """How connections and flows are (INTERFACES section 3); without a running hub, what its store tells."""
    now, reader, clinic = time.time(), core.reader, core.clinic
    backlog = {row.target: row for row in await reader.backlog()}
    last = await reader.last_messages()
    stopped = {row.name: row.state for row in await reader.route_states()}

    def line(name: str, target: str, state: str, error: str | None) -> dict[str, Any]:
        row = backlog.get(target)
        moment = last.get(name)
        return {
            "name": name,
            "state": state,
            "waiting": row.waiting if row else 0,
            "held": row.held if row else 0,
            "oldest_s": round(max(0.0, now - row.oldest / 1e6)) if row else 0,
            "last_message_at": iso(from_micros(moment)) if moment else None,
            "last_error": error,
        }

    connections = []
    for name in clinic.settings.connections:
        target = hub.targets.get(f"to:{name}") if hub else None
        source = hub.sources.get(name) if hub else None
        state, error = "up" if hub else "stopped", None
        if isinstance(target, OutgoingTarget):
            state, error = "down" if target.breaker.down else "up", target.last_error
        if isinstance(source, Poller) and source.failure:
            state, error = "down", source.failure
        state = stopped.get(f"to:{name}") or stopped.get(f"from:{name}") or state
        connections.append(line(name, f"to:{name}", state, error) | (_of_connection(hub, name) if hub else {}))
    running = "running" if hub else "stopped"
    flows = [
        line(name, f"flow:{name}", stopped.get(f"flow:{name}", running), None) | (_of_flow(hub, name) if hub else {})
        for name in clinic.settings.flows
    ]
    stops = await find_stops(hub) if hub else []
    store = {"backlog": sum(row.waiting for row in backlog.values()), "commits_per_s": 0}
    alerts = {alert.id: alert for alert in await open_alerts(core) if alert.cleared_at is None}
    if hub is not None:  # which knows more of its own; the others of the store are those of other hubs
        alerts = {id: alert for id, alert in alerts.items() if not hub.alerts.looks_after(alert)} | hub.alerts.raised
    found: dict[str, Any] = {
        "ready": bool(hub and hub.ready),
        "alerts": [status_line(alert) for alert in alerts.values()],
        "stops": [stop.line() for stop in stops],
        "connections": connections,
        "flows": flows,
    }
    if hub is None:
        return found | {"store": store}
    return found | {"store": store | _of_store(hub)} | _of_process(hub)


async def describe_lanes(reader: Reader, limit: int) -> list[dict[str, Any]]:
    """The longest lanes: how much waits for the same key behind which message.  A lane's name is a keyed digest."""
    now = time.time()
    return [
        {
            "where": place_of(row.target),
            "lane": row.lane[:12],
            "waiting": row.waiting,
            "oldest_s": round(max(0.0, now - row.at / 1e6)),
            "first": row.message,
            "state": row.state,
            "attempts": row.attempts,
            "reason": row.reason,
        }
        for row in await reader.longest_lanes(limit)
    ]


# Figures of a running hub.


def _of_connection(hub: Hub, name: str) -> dict[str, Any]:
    signals, now = hub.core.signals, time.monotonic()
    found: dict[str, Any] = {}
    if name in hub.sources:
        source = signals.source(name)
        found |= {
            "received": source.received,
            "received_per_s": round(source.rate.per_second(now, source.moved), 2),
            "duplicates": source.duplicates,
            "refused": source.refused,
            "acknowledged_ms": _spread(source.acknowledged),
        }
    target = hub.targets.get(f"to:{name}")
    if isinstance(target, OutgoingTarget):
        sent = target.signals
        found |= _of_target(target) | {
            "delivered": sent.done,
            "delivered_per_s": round(sent.rate.per_second(now, sent.moved), 2),
            "repeats": sent.repeats,
            "send_ms": _spread(sent.took),
            "received_to_delivered_ms": _spread(sent.since_received),
            "breaker": target.breaker.state(now),
        }
    return found


def _of_flow(hub: Hub, name: str) -> dict[str, Any]:
    target = hub.targets.get(f"flow:{name}")
    if target is None:
        return {}
    now, run = time.monotonic(), target.signals
    return _of_target(target) | {
        "done": run.done,
        "done_per_s": round(run.rate.per_second(now, run.moved), 2),
        "run_ms": _spread(run.took),
        "received_to_done_ms": _spread(run.since_received),
    }


def _of_target(target: Target) -> dict[str, Any]:
    signals = target.signals
    return {
        "under_way": len(target.running),
        "lanes": len(target.lanes.lanes),
        "attempts": signals.tries,
        "retried": signals.retried,
        "quarantined": signals.quarantined,
        "skipped": signals.skipped,
        "unknown": signals.unknown,
    }


def _of_store(hub: Hub) -> dict[str, Any]:
    journal = hub.core.signals.journal
    commits = max(journal.commits, 1)
    return {
        "commits_per_s": round(journal.rate.per_second(time.monotonic(), journal.moved), 1),
        "writes_per_commit": round(journal.writes / commits, 1),
        "rows_per_commit": round(journal.rows / commits, 1),
        "commit_ms": _spread(journal.took),
        "waiting_writes": hub.core.journal.waiting,
        "coming_in": hub.core.admission.messages,
        "slowed": hub.core.admission.slowed,
        "turned_away": hub.core.admission.turned_away,
        "disk_free_bytes": hub.core.space.free,
        "disk": hub.core.space.level,
    }


def _of_process(hub: Hub) -> dict[str, Any]:
    loop = hub.core.signals.loop
    return {
        "up_s": round((datetime.now(UTC) - hub.started_at).total_seconds()),
        "loop_lag_ms": _spread(loop.lag) | {"worst": round(loop.worst * 1000, 1)},
    }


def _spread(taken: Histogram) -> dict[str, float | None]:
    """Milliseconds since the hub started, to the upper bound of a bucket; None when there was nothing, or over an hour."""

    def millis(share: float) -> float | None:
        seconds = taken.quantile(share)
        return None if seconds in (None, float("inf")) else round(seconds * 1000, 1)

    return {"p50": millis(0.5), "p99": millis(0.99)}


# What does not go on.


async def find_stops(hub: Hub) -> list[Stop]:
    """Every stop of a running hub, the widest first."""
    found = []
    if (trouble := hub.core.signals.journal.trouble) is not None:
        found.append(_stop("the store", trouble))
    space = hub.core.space
    if space.level != "ok":
        found.append(Stop("the store", "STO-036" if space.level == "stop" else "STO-037", space.text, space.since))
    for name, source in hub.sources.items():
        if isinstance(source, Poller) and source.failure:
            found.append(Stop(f"connection {name}", source.failure_code, source.failure, source.failing_since))
    for target in hub.targets.values():
        if target.trouble is not None:
            found.append(_stop(place_of(target.name), target.trouble))
    reader = hub.core.reader
    return [*found, *await _stopped(reader), *await _held(reader), *await _refused(hub)]


def _stop(where: str, trouble: Trouble) -> Stop:
    return Stop(where, trouble.code, trouble.text, trouble.since)


async def _stopped(reader: Reader) -> list[Stop]:
    """What people have stopped."""
    return [
        Stop(place_of(row.name), "ALR-009", f"a person has stopped it: {row.state}", row.at / 1e6)
        for row in await reader.route_states()
    ]


async def _held(reader: Reader) -> list[Stop]:
    """Lanes that wait for a person."""
    return [
        Stop(place_of(row.target), "ALR-004", f"{row.held} held for a person, the first because: {row.reason}", row.at / 1e6)
        for row in await reader.held()
    ]


async def _refused(hub: Hub) -> list[Stop]:
    """Lanes whose first message was refused and is tried again later."""
    found = []
    for target in hub.targets.values():
        if target.lanes.waiting and target.trouble is None and (row := await hub.core.reader.last_error(target.name)):
            text = f"{target.lanes.waiting} wait for another try, the last because: {row.text}"
            found.append(Stop(place_of(target.name), row.code, text, row.at / 1e6))
    return found


def place_of(target: str) -> str:
    """`flow:NAME`, `to:NAME` and `from:NAME` in words."""
    kind, _, name = target.partition(":")
    return f"{'flow' if kind == 'flow' else 'connection'} {name}"

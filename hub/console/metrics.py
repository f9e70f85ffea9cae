"""Metrics for Prometheus: the figures of hub/bus/signals.py under their names, as text.

The home of prometheus_client.  Labels are names from the clinic file and codes; there is never a patient, an id or a body.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.bus.hub import Hub
from hub.bus.outgoing import OutgoingTarget
from hub.bus.signals import BOUNDS, Histogram
from hub.connector import Poller
from hub.console.server import Server
from hub.errors import ConnectionDown
from hub.settings.signals import MetricsSettings
from hub.store.reader import Backlog

Kind = Literal["counter", "gauge", "histogram"]
PREFIX = "clinic_hub_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One name of the reference.  Counters get `_total` at their end; histograms `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        return PREFIX + self.name + ("_total" if self.kind == "counter" else "")


_CONNECTION, _TARGET = ("connection",), ("kind", "name")
METRICS: tuple[Metric, ...] = (
    Metric("info", "gauge", ("version",), "1; the version of the hub."),
    Metric("ready", "gauge", (), "1 while all connections are open and the store is writable."),
    Metric("up_seconds", "gauge", (), "How long the hub has been running."),
    Metric("received_messages", "counter", _CONNECTION, "Messages taken over, duplicates among them."),
    Metric("duplicate_messages", "counter", _CONNECTION, "Messages sent again by their sender: answered, not routed."),
    Metric("refused_messages", "counter", _CONNECTION, "Messages answered negatively and kept as refused."),
    Metric("turned_away_requests", "counter", ("connection", "reason"), "What came and was no message: wrong signatures ..."),
    Metric("failed_deliveries", "counter", _CONNECTION, "Deliveries that could not be kept; the sender still has them."),
    Metric("last_received_timestamp_seconds", "gauge", _CONNECTION, "When the last message came, since 1970."),
    Metric("acknowledge_seconds", "histogram", _CONNECTION, "From the whole message to its commit, before the answer."),
    Metric("flow_runs", "counter", ("flow",), "Runs of a flow, repeats among them."),
    Metric("flow_messages", "counter", ("flow", "outcome"), "Messages a flow has ended: done, quarantined, held."),
    Metric("flow_unreachable", "counter", ("flow",), "Runs that could not reach something and are repeated."),
    Metric("flow_run_seconds", "histogram", ("flow",), "One run of a flow with its commit."),
    Metric("received_to_done_seconds", "histogram", ("flow",), "From receiving a message until the flow was done with it."),
    Metric("send_attempts", "counter", _CONNECTION, "Sends, repeats among them."),
    Metric("sent_messages", "counter", ("connection", "outcome"), "Messages by how they ended; held ones wait."),
    Metric("rejected_sends", "counter", _CONNECTION, "Sends the partner refused and that are repeated."),
    Metric("connection_failures", "counter", _CONNECTION, "Sends that failed because the partner was not reached or silent."),
    Metric("repeated_sends", "counter", _CONNECTION, "Sends of a message that may have arrived before, under the same id."),
    Metric("send_seconds", "histogram", _CONNECTION, "One send with its answer."),
    Metric("received_to_delivered_seconds", "histogram", _CONNECTION, "From receiving a message to its delivery here."),
    Metric("connection_up", "gauge", _CONNECTION, "0 while the breaker is open or polls fail."),
    Metric("breaker_failures", "gauge", _CONNECTION, "Failures in a row; 0 when the connection works."),
    Metric("waiting_messages", "gauge", _TARGET, "Open work of a flow or connection: waiting, under way or held."),
    Metric("held_messages", "gauge", _TARGET, "Of these, held for a person."),
    Metric("oldest_waiting_seconds", "gauge", _TARGET, "Age of the oldest open message; 0 when there is none."),
    Metric("running_messages", "gauge", _TARGET, "Messages under way at this moment."),
    Metric("lanes", "gauge", _TARGET, "Ordering keys with work in memory."),
    Metric("commits", "counter", (), "Commits of the journal."),
    Metric("commit_writes", "counter", (), "Sets of changes in all commits; divided by the commits, the size of a group."),
    Metric("commit_rows", "counter", (), "Rows inserted, changed or deleted in all commits."),
    Metric("failed_commits", "counter", (), "Commits that failed: no space, or a broken store."),
    Metric("waiting_writes", "gauge", (), "Sets of changes that no commit has taken yet."),
    Metric("commit_seconds", "histogram", (), "One commit, its sync included."),
    Metric("loop_lag_seconds", "histogram", (), "How late the event loop came back to what was due, looked at twice a second."),
    Metric("loop_lag_worst_seconds", "gauge", (), "The worst of the last minute."),
    Metric("disk_free_bytes", "gauge", (), "Room on the disk of the store."),
    Metric("certificate_expires_timestamp_seconds", "gauge", _CONNECTION, "When our certificate expires, since 1970."),
    Metric("alert_raised", "gauge", ("code", "where"), "1 for each alert that is raised."),
)  # fmt: skip
"""All metrics; docs/reference/metrics.md is made of them."""


class _Values:
    """What is known at one moment, as the families prometheus_client writes."""

    def __init__(self) -> None:
        self._metrics = {metric.name: metric for metric in METRICS}
        self.families: dict[str, Any] = {}

    def add(self, name: str, value: float | Histogram | None, *labels: str) -> None:
        if value is None:
            return
        metric = self._metrics[name]
        family = self.families.get(name) or self.families.setdefault(name, _family(metric))
        if isinstance(value, Histogram):
            family.add_metric(labels, _buckets(value), value.total)
        else:
            family.add_metric(labels, value)


def _family(metric: Metric) -> Any:
    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    return kinds[metric.kind](PREFIX + metric.name, metric.help, labels=metric.labels)


def _buckets(taken: Histogram) -> list[tuple[str, float]]:
    """Counts up to each bound, as Prometheus wants them."""
    found, total = [], 0
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], list(taken.counts), strict=True):
        total += count
        found.append((bound, float(total)))
    return found


async def collect(hub: Hub) -> list[Family]:
    """Everything as it is now."""
    values, backlog = _Values(), {row.target: row for row in await hub.core.reader.backlog()}
    _of_hub(values, hub)
    for name in hub.sources:
        _of_source(values, hub, name)
    for name in hub.clinic.settings.connections:
        values.add("connection_up", float(_is_up(hub, name)), name)
    for name, target in hub.targets.items():
        kind, _, short = name.partition(":")
        _of_target(values, hub, name, "flow" if kind == "flow" else "connection", short, backlog.get(name))
        if isinstance(target, OutgoingTarget):
            _of_outgoing(values, target)
        else:
            _of_flow(values, hub, short)
    for name, moment in hub.alerts.certificates.items():
        values.add("certificate_expires_timestamp_seconds", moment, name)
    for alert in hub.alerts.raised.values():
        values.add("alert_raised", 1.0, alert.code, alert.where)
    return list(values.families.values())


def _is_up(hub: Hub, name: str) -> bool:
    target, source = hub.targets.get(f"to:{name}"), hub.sources.get(name)
    down = isinstance(target, OutgoingTarget) and target.breaker.down
    return not down and not (isinstance(source, Poller) and source.failure)


def _of_hub(values: _Values, hub: Hub) -> None:
    journal, loop = hub.core.signals.journal, hub.core.signals.loop
    values.add("info", 1.0, version("clinic-hub"))
    values.add("ready", float(hub.ready))
    values.add("up_seconds", time.time() - hub.started_at.timestamp())
    values.add("commits", journal.commits)
    values.add("commit_writes", journal.writes)
    values.add("commit_rows", journal.rows)
    values.add("failed_commits", journal.failures)
    values.add("commit_seconds", journal.took)
    values.add("waiting_writes", hub.core.journal.waiting)
    values.add("loop_lag_seconds", loop.lag)
    values.add("loop_lag_worst_seconds", loop.worst)
    values.add("disk_free_bytes", hub.core.space.free)


def _of_source(values: _Values, hub: Hub, name: str) -> None:
    source = hub.core.signals.source(name)
    values.add("received_messages", source.received, name)
    values.add("duplicate_messages", source.duplicates, name)
    values.add("refused_messages", source.refused, name)
    for reason, count in source.turned_away.items():
        values.add("turned_away_requests", count, name, reason)
    values.add("failed_deliveries", source.failed, name)
    values.add("acknowledge_seconds", source.acknowledged, name)
    values.add("last_received_timestamp_seconds", source.last_at or None, name)


def _of_target(values: _Values, hub: Hub, name: str, kind: str, short: str, row: Backlog | None) -> None:
    target = hub.targets[name]
    values.add("waiting_messages", row.waiting if row else 0, kind, short)
    values.add("held_messages", row.held if row else 0, kind, short)
    values.add("oldest_waiting_seconds", max(0.0, time.time() - row.oldest / 1e6) if row else 0, kind, short)
    values.add("running_messages", len(target.running), kind, short)
    values.add("lanes", len(target.lanes.lanes), kind, short)


def _of_flow(values: _Values, hub: Hub, name: str) -> None:
    run = hub.core.signals.target(f"flow:{name}")
    values.add("flow_runs", run.tries, name)
    for outcome, count in (("done", run.done), ("quarantined", run.quarantined), ("held", run.held)):
        values.add("flow_messages", count, name, outcome)
    values.add("flow_unreachable", run.down, name)
    values.add("flow_run_seconds", run.took, name)
    values.add("received_to_done_seconds", run.since_received, name)


def _of_outgoing(values: _Values, target: OutgoingTarget) -> None:
    name, sent = target.connection, target.signals
    ends = ("quarantined", sent.quarantined), ("skipped", sent.skipped), ("unknown", sent.unknown), ("held", sent.held)
    for outcome, count in (("delivered", sent.done), *ends):
        values.add("sent_messages", count, name, outcome)
    values.add("send_attempts", sent.tries, name)
    values.add("rejected_sends", sent.retried, name)
    values.add("connection_failures", sent.down, name)
    values.add("repeated_sends", sent.repeats, name)
    values.add("send_seconds", sent.took, name)
    values.add("received_to_delivered_seconds", sent.since_received, name)
    values.add("breaker_failures", target.breaker.failures, name)


@dataclass(slots=True, eq=False)
class _Collected(Collector):
    families: list[Family] = field(default_factory=list)

    def collect(self) -> Iterator[Family]:
        yield from self.families


async def metrics_response(hub: Hub, request: Request) -> Response:
    """The text Prometheus asks for, in the form it asks for; this process's own figures are in it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(await collect(hub)))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


def probe_routes(hub: Hub) -> list[Route]:
    """`/healthz`, `/readyz` and `/metrics`."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(_: Request) -> Response:
        return JSONResponse({"ready": hub.ready}, status_code=200 if hub.ready else 503)

    async def metrics(request: Request) -> Response:
        return await metrics_response(hub, request)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


class MetricsPort:
    """Answers Prometheus on a port of its own, and nothing else."""

    def __init__(self, hub: Hub, settings: MetricsSettings) -> None:
        self._settings = settings
        self._server = Server(probe_routes(hub))
        self.port: int | None = None
        """Where it listens; None when it does not."""

    async def open(self) -> None:
        """Raises ConnectionDown when the port is taken."""
        if self._settings.port is None:
            return
        host, port = self._settings.host, self._settings.port
        try:
            listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            text = f"metrics: cannot listen on {host}:{port}: {error.strerror}"
            raise ConnectionDown(text, code="NET-010") from None
        self.port = listening.getsockname()[1]
        await self._server.open(listening, "metrics")

    async def close(self) -> None:
        await self._server.close()

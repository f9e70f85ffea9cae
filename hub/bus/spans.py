"""OpenTelemetry spans: receive -> commit -> flow with its steps -> send, one trace for each message that comes in.

They carry ids, names from the clinic file and error codes, never a body or a patient.  There are none, and they cost one
comparison a stage, unless this process has an SDK: set up by a plugin, or by the hub itself when the environment asks for it
as OpenTelemetry's own documents say (OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT; the packages are the user's to
install).

What a message leads to belongs to its trace as long as it is handed on in memory.  Work that is read back from the journal,
after a restart or behind an outage, begins a trace of its own; `clinic_hub.message` and `clinic_hub.parent` join the two.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import structlog

from hub.bus.lanes import Item
from hub.store.rows import NewMessage

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

log = structlog.get_logger(__name__)

_ASKED_FOR = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "clinic-hub"


def find_spans() -> Spans | None:
    """What makes spans; None when nobody in this process would see them."""
    asked = any(os.environ.get(name) for name in _ASKED_FOR) and os.environ.get("OTEL_TRACES_EXPORTER") != "none"
    if not asked and "opentelemetry.trace" not in sys.modules:
        return None  # importing it takes a while, and no SDK can be set up without it
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider) and asked:
        provider = _set_up() or provider
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return Spans(trace.get_tracer("clinic_hub"), provider)


def _set_up() -> TracerProvider | None:
    """The SDK with the exporters that the environment names; None, with a word in the log, when they are not installed."""
    from opentelemetry import trace

    try:
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("no spans: opentelemetry-sdk is not installed", name="opentelemetry-sdk")
        return None
    os.environ.setdefault("OTEL_SERVICE_NAME", SERVICE)
    provider = SdkProvider()
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        exporter = _exporter(name.strip())
        if exporter is None:
            log.warning("no spans: this exporter is not installed", name=name.strip())
            return None
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(name: str) -> Any:
    """The class of an exporter: packages register it under its name, those of OTLP with the protocol behind it."""
    found = sorted(entry_points(group="opentelemetry_traces_exporter"), key=lambda point: point.name)
    exact = [point for point in found if point.name == name]
    near = [point for point in found if point.name.startswith(f"{name}_")]
    return next((point.load() for point in (*exact, *near)), None)


class Spans:
    """Begins and ends them."""

    def __init__(self, tracer: Tracer, provider: TracerProvider) -> None:
        self._tracer = tracer
        self._provider = provider

    def receive(self, connection: str, rows: Sequence[NewMessage]) -> list[Span]:
        """A span for each message that is received, and one for its commit; what the messages lead to becomes part of them."""
        begun = []
        for row in rows:
            span = self._begin(f"receive {connection}", None, message=row.id, connection=connection, type=row.type)
            for work in row.works:
                work.span = span
            begun += [span, self._begin("commit", span, message=row.id)]
        return begun

    def received(self, begun: Sequence[Span], rows: Sequence[NewMessage]) -> None:
        """The commit has ended."""
        for span, row in zip(begun[::2], rows, strict=True):
            span.set_attributes({"clinic_hub.seq": row.seq, "clinic_hub.duplicate": row.duplicate})
        for span in reversed(begun):
            span.end()

    def failed(self, begun: Sequence[Span], code: str) -> None:
        for span in reversed(begun):
            failed(span, code)
            span.end()

    @contextmanager
    def stage(self, target: str, item: Item) -> Iterator[None]:
        """One run of a flow, or one send; what it hands on belongs to it."""
        from opentelemetry import trace

        kind, _, name = target.partition(":")
        stage = "send" if kind == "to" else kind
        parent = item.span
        more = {"connection" if stage == "send" else "flow": name, "generation": item.generation, "tries": item.attempts + 1}
        item.span = span = self._begin(f"{stage} {name}", parent, message=item.message, **more)
        try:
            with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
                yield
        finally:
            item.span = parent

    @contextmanager
    def step(self, name: str, message: str) -> Iterator[None]:
        """One step of a flow."""
        from opentelemetry import trace

        span = self._begin(f"step {name}", trace.get_current_span(), message=message, step=name)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except Exception as error:
                failed(span, getattr(error, "code", type(error).__name__))
                raise

    def _begin(self, name: str, parent: Any, **attributes: Any) -> Span:
        from opentelemetry import trace
        from opentelemetry.context import Context

        context = Context() if parent is None else trace.set_span_in_context(parent, Context())
        named = {f"clinic_hub.{key}": value for key, value in attributes.items() if value != ""}
        return self._tracer.start_span(name, context, attributes=named)

    def close(self) -> None:
        """Sends what waits to be sent, before the process ends; may take seconds, so it belongs into a thread."""
        flush = getattr(self._provider, "force_flush", None)
        if flush is not None:
            flush(2000)


def failed(span: Any, code: str) -> None:
    """Marks a span with the code of an error; its words stay in the journal."""
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, code))
    span.set_attribute("clinic_hub.code", code)

"""OpenTelemetry: one trace for each message, ids only; nothing at all without an SDK."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hub.bus import core
from hub.bus.spans import Spans, find_spans
from hub.errors import ConnectionDown
from hub.message import Message
from hub.step import Context
from tests.hub.bus.probe import World, adt, deliver, disk_is_full, long_adt, there_is_space_again
from tests.support import HubProcess, clinic_folder, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  ehr: {kind: probe_out, retry: {first: 50ms, most: 50ms}}
  payer: {kind: probe_out, answer: yes}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: ehr}]}
"""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A process with an SDK, as a plugin would set it up; the spans that have ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(core, "find_spans", lambda: Spans(provider.get_tracer("clinic_hub"), provider))
    yield exporter
    provider.shutdown()


def named(seen: InMemorySpanExporter, name: str) -> ReadableSpan:
    [span] = [span for span in seen.get_finished_spans() if span.name == name]
    return span


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def own(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def test_one_trace_follows_a_message_from_receiving_to_sending(
    world: World, tmp_path: Path, seen: InMemorySpanExporter
) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        receipt = await deliver(hub, adt("M1", family="ZQXNAME"))
        await settled(hub)
        await until(lambda: len(seen.get_finished_spans()) == 6)
    receive, commit, flow = named(seen, "receive inbox"), named(seen, "commit"), named(seen, "flow work")
    send = named(seen, "send ehr")
    steps = [named(seen, "step probe:work"), named(seen, "step send:ehr")]
    assert parent(receive) is None
    assert parent(commit) == parent(flow) == own(receive)
    assert [parent(step) for step in steps] == [own(flow)] * 2
    assert parent(send) == own(flow)
    assert len({span.context.trace_id for span in seen.get_finished_spans() if span.context}) == 1
    assert receive.attributes is not None
    assert receive.attributes["clinic_hub.message"] == receipt.ids[0]
    assert receive.attributes["clinic_hub.type"] == "ADT^A04"
    assert receive.attributes["clinic_hub.duplicate"] is False
    assert all(span.status.is_unset for span in seen.get_finished_spans())
    everything = "".join(span.to_json() for span in seen.get_finished_spans())
    for secret in ("ZQXNAME", "00042", "M1"):
        assert secret not in everything


async def test_an_answer_goes_on_in_the_trace_of_its_question(world: World, tmp_path: Path, seen: InMemorySpanExporter) -> None:
    text = FLOW.replace("{send: ehr}", "{ask: payer}, {send: ehr}")
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
        await until(lambda: any(span.name == "send ehr" for span in seen.get_finished_spans()))
    assert len({span.context.trace_id for span in seen.get_finished_spans() if span.context}) == 1
    ask, send = named(seen, "send payer"), named(seen, "send ehr")
    [second] = [s for s in seen.get_finished_spans() if s.name == "flow work" and parent(s) == own(ask)]
    assert parent(send) == own(second)


async def test_failures_are_marked_with_their_code_and_not_their_words(
    world: World, tmp_path: Path, seen: InMemorySpanExporter
) -> None:
    away = True

    @world.step
    async def work(message: Message, context: Context) -> Message:
        if b"BAD" in message.body:
            raise ValueError("ZQXNAME is no name")
        return message

    @world.partner
    async def ehr(message: Message) -> Message | None:
        if away:
            raise ConnectionDown("ehr: away")
        return None

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        await deliver(hub, adt("M1", family="BAD"))
        await until(lambda: hub.core.signals.target("flow:work").quarantined == 1)
        await deliver(hub, adt("M2", "7"))
        await until(lambda: hub.core.signals.target("to:ehr").down > 0)
        away = False
        await settled(hub)
        disk_is_full(hub)
        with pytest.raises(Exception, match="disk"):
            await deliver(hub, long_adt("M3"))
        there_is_space_again(hub)
    failed = {(s.name, (s.attributes or {}).get("clinic_hub.code")) for s in seen.get_finished_spans() if not s.status.is_unset}
    assert failed >= {
        ("flow work", "BUG-001"),
        ("step probe:work", "ValueError"),
        ("send ehr", "NET-001"),
        ("receive inbox", "STO-002"),
    }
    sends = [s for s in seen.get_finished_spans() if s.name == "send ehr"]
    assert len(sends) >= 2
    assert sends[-1].status.is_unset
    assert len({parent(s) for s in sends}) == 1, "each try belongs to what caused it"
    assert "ZQX" not in "".join(span.to_json() for span in seen.get_finished_spans())


async def test_without_an_sdk_there_is_nothing(world: World, tmp_path: Path) -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert find_spans() is None
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        assert hub.core.spans is None
        assert all(target.spans is None for target in hub.targets.values())


def test_without_an_sdk_opentelemetry_is_not_even_imported() -> None:
    code = "import sys; from hub.bus.spans import find_spans; find_spans(); print('opentelemetry.trace' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_the_environment_sets_an_sdk_up_as_opentelemetry_says(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    text = "connections:\n  box: {kind: folder, path: box, pattern: '*.hl7', stable_for: 0s, every: 100ms}\n"
    text += "flows:\n  work: {from: box, steps: [{map: adt_to_patient}, {save: patient}]}\n"
    file = clinic_folder(tmp_path, text)
    out = tmp_path / "spans.json"
    hub = HubProcess(file, env={"OTEL_TRACES_EXPORTER": "console"})
    with out.open("w") as stdout:
        hub.start(stdout=stdout)
        try:
            (tmp_path / "box" / "a.hl7").write_bytes(adt("M1", family="ZQXNAME"))
            end = time.monotonic() + 10
            while (tmp_path / "box" / "a.hl7").exists() and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(0.5)
        finally:
            assert hub.terminate() == 0
    text = out.read_text()
    assert {span["name"] for span in spans_of(text)} >= {"receive box", "commit", "flow work", "step map:adt_to_patient"}
    assert all(span["resource"]["attributes"]["service.name"] == "clinic-hub" for span in spans_of(text))
    assert "ZQX" not in text


def spans_of(text: str) -> list[Any]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := text.find("{", at)) >= 0:
        span, at = decoder.raw_decode(text, at)
        found.append(span)
    return found


@pytest.mark.parametrize(("name", "value"), [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "nosuch")])
def test_an_exporter_that_is_not_there_does_not_keep_the_hub_from_running(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert find_spans() is None

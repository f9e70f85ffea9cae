"""Prometheus: text it can read, with the figures of a real hub, on the control socket and on a port."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.bus.operations import Operations
from hub.clinic import load_clinic
from hub.console.api import ControlSocket
from hub.console.metrics import METRICS, MetricsPort
from hub.errors import ConfigError, ConnectionDown
from hub.settings.signals import MetricsSettings
from tests.hub.bus.probe import World, adt, deliver
from tests.support import HubProcess, clinic_folder, free_port, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  ehr: {kind: probe_out}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: ehr}]}
"""


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels, read by Prometheus' own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_message_is_in_the_figures_of_every_stage(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        port = MetricsPort(hub, MetricsSettings(port=0))
        await port.open()
        try:
            await deliver(hub, adt("M1", family="ZQXNAME"))
            await settled(hub)
            await until(lambda: hub.core.signals.target("to:ehr").done == 1)
            async with httpx.AsyncClient() as client:
                response = await client.get(f"http://127.0.0.1:{port.port}/metrics")
                ready = await client.get(f"http://127.0.0.1:{port.port}/readyz")
                nothing_else = await client.post(f"http://127.0.0.1:{port.port}/api/v1/status", json={})
        finally:
            await port.close()
    assert (response.status_code, ready.status_code, nothing_else.status_code) == (200, 200, 404)
    assert response.headers["content-type"].startswith("text/plain")
    found = samples(response.text)
    of_inbox, of_ehr, of_work = (("connection", "inbox"),), (("connection", "ehr"),), (("flow", "work"),)
    assert found["clinic_hub_received_messages_total", of_inbox] == 1
    assert found["clinic_hub_acknowledge_seconds_count", of_inbox] == 1
    assert found["clinic_hub_acknowledge_seconds_bucket", (*of_inbox, ("le", "+Inf"))] == 1
    assert found["clinic_hub_flow_runs_total", of_work] == 1
    assert found["clinic_hub_flow_messages_total", (*of_work, ("outcome", "done"))] == 1
    assert found["clinic_hub_sent_messages_total", (*of_ehr, ("outcome", "delivered"))] == 1
    assert found["clinic_hub_received_to_delivered_seconds_count", of_ehr] == 1
    assert found["clinic_hub_connection_up", of_ehr] == 1
    assert found["clinic_hub_waiting_messages", (("kind", "connection"), ("name", "ehr"))] == 0
    assert found["clinic_hub_commits_total", ()] >= 3
    assert found["clinic_hub_commit_rows_total", ()] > found["clinic_hub_commits_total", ()]
    assert found["clinic_hub_ready", ()] == 1
    assert found["process_resident_memory_bytes", ()] > 0
    assert "ZQX" not in response.text
    assert "M1" not in response.text


async def test_every_name_is_in_the_reference_and_says_what_it_is(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        control = ControlSocket(hub, Operations(hub.core, hub))
        await control.open()
        await deliver(hub, adt("M1"))
        await settled(hub)
        try:
            transport = httpx.AsyncHTTPTransport(uds=str(control.path))
            async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
                text = (await client.get("/metrics")).text
                spec = {"accept": "application/openmetrics-text; version=1.0.0"}
                newer = await client.get("/metrics", headers=spec)
        finally:
            await control.close()
    families = {family.name: family for family in text_string_to_metric_families(text) if family.name.startswith("clinic_hub")}
    known = {f"clinic_hub_{metric.name}": metric for metric in METRICS}
    assert families.keys() <= known.keys()
    for name, family in families.items():
        assert family.type == known[name].kind
        assert family.documentation == known[name].help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(known[name].labels)
    only_sometimes = {"certificate_expires_timestamp_seconds", "alert_raised", "turned_away_requests"}
    assert known.keys() - families.keys() <= {f"clinic_hub_{name}" for name in only_sometimes}
    assert newer.headers["content-type"].startswith("application/openmetrics-text")
    assert newer.text.endswith("# EOF\n")


async def test_a_port_that_is_taken_is_said_and_a_bad_one_is_a_mistake_in_the_file(world: World, tmp_path: Path) -> None:
    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        with (
            socket.create_server(("127.0.0.1", 0)) as taken,
            pytest.raises(ConnectionDown, match="cannot listen") as told,
        ):
            await MetricsPort(hub, MetricsSettings(port=taken.getsockname()[1])).open()
    assert told.value.code == "NET-010"
    with pytest.raises(ConfigError) as wrong:
        load_clinic(clinic_folder(tmp_path / "other", "metrics: {prot: 9100, host: 127.0.0.1}\n"))
    [problem] = wrong.value.problems
    assert (problem.code, problem.help) == ("CFG-020", "did you mean 'port'?")


async def test_a_hub_in_a_process_of_its_own_answers_prometheus_on_its_port(tmp_path: Path) -> None:
    port = free_port()
    file = clinic_folder(tmp_path, f"metrics: {{port: {port}}}\nconnections:\n  box: {{kind: folder, path: .}}\n")
    with HubProcess(file):
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    assert ("clinic_hub_connection_up", (("connection", "box"),)) in samples(text)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)

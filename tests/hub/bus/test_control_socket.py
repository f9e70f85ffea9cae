"""The control socket: for the owner of the store alone, there while the hub runs, gone afterwards, however it ended."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.console.api import LARGEST_REQUEST, ControlSocket
from hub.paths import LONGEST_SOCKET_PATH, control_socket
from tests.hub.bus.probe import World, adt, deliver
from tests.support import HubProcess, clinic_folder, run_hub, running_hub, settled

FLOW = """
connections:
  inbox: {kind: probe_in}
flows:
  work: {from: inbox, steps: [{probe: work}]}
"""


@asynccontextmanager
async def served(file: Path) -> AsyncIterator[tuple[Hub, Path]]:
    async with running_hub(file) as hub:
        control = ControlSocket(hub, Operations(hub.core, hub))
        await control.open()
        try:
            yield hub, control.path
        finally:
            await control.close()


async def post(path: Path, operation: str, content: Any, actor: str = "carla") -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return await client.post(f"/api/v1/{operation}", content=body, headers={"X-Actor": actor})


async def test_only_the_owner_may_open_it_and_it_is_gone_after_a_stop(world: World, tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        async with served(clinic_folder(tmp_path, FLOW)) as (_, path):
            assert stat.S_ISSOCK(path.stat().st_mode)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()
        assert os.umask(0o000) == 0, "the process has its umask back"
    finally:
        os.umask(before)


async def test_it_answers_what_operations_answer(world: World, tmp_path: Path) -> None:
    async with served(clinic_folder(tmp_path, FLOW)) as (hub, path):
        await deliver(hub, adt("M1"))
        await settled(hub)
        response = await post(path, "messages.list", {"control_id": "M1"})
        assert response.status_code == 200
        assert [m["control_id"] for m in response.json()["result"]] == ["M1"]
        [row] = await hub.core.reader.audit_rows()
        assert (row.actor, row.action) == ("carla", "messages.list")


@pytest.mark.parametrize(
    ("operation", "content", "status", "kind"),
    [
        pytest.param("messages.show", {"id": "x"}, 404, "not_found", id="no-such-message"),
        pytest.param("messages.eat", {}, 404, "not_found", id="no-such-operation"),
        pytest.param("messages.list", {"limit": 0}, 409, "refused", id="no-sense"),
        pytest.param("messages.list", {"no": "such"}, 409, "refused", id="unknown-parameter"),
        pytest.param("messages.list", b"{", 409, "refused", id="no-json"),
        pytest.param("messages.list", [1], 409, "refused", id="no-object"),
        pytest.param("messages.list", b"[" * 100_000, 409, "refused", id="deeply-nested"),
        pytest.param("messages.list", b" " * (LARGEST_REQUEST + 1), 409, "refused", id="too-long"),
        pytest.param("messages.list", b"\xff\xfe\xfa", 409, "refused", id="no-text"),
    ],
)
async def test_what_it_cannot_do_it_says(
    world: World, tmp_path: Path, operation: str, content: Any, status: int, kind: str
) -> None:
    async with served(clinic_folder(tmp_path, FLOW)) as (_, path):
        response = await post(path, operation, content)
        assert (response.status_code, response.json().get("kind")) == (status, kind)
        assert response.json()["code"]
        assert (await post(path, "status", {})).status_code == 200


async def test_a_failure_inside_tells_no_patient_data(world: World, tmp_path: Path) -> None:
    async with served(clinic_folder(tmp_path, FLOW)) as (hub, path):
        receipt = await deliver(hub, adt("M1", family="ZQXNAME"))
        await settled(hub)
        hub.core.bodies.forget(receipt.ids[0])
        hub.core.store.files.rmdir()
        response = await post(path, "trace", {"id": receipt.ids[0], "phi": "ZQXNAME"})
        assert response.status_code == 409
        assert "ZQX" not in response.text


async def test_a_socket_left_by_a_hub_that_was_killed_is_no_obstacle(tmp_path: Path, store: Path) -> None:
    file = clinic_folder(tmp_path, "connections:\n  box: {kind: folder, path: .}\n")
    with HubProcess(file) as hub:
        path = control_socket(store)
        hub.kill()
        assert path.exists()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        told = await asyncio.to_thread(run_hub, "status", "-c", file, "--json")
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["ready"] is False, "nobody is there, so the store at rest answers"
        await asyncio.to_thread(hub.start)
        told = await asyncio.to_thread(run_hub, "status", "-c", file, "--json")
        assert json.loads(told.stdout)["ready"] is True
        assert await asyncio.to_thread(hub.terminate) == 0
        assert not path.exists()


async def test_a_second_hub_does_not_take_the_socket_of_the_first(world: World, tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, FLOW)
    async with served(file) as (_, path):
        second = await asyncio.to_thread(run_hub, "run", "-c", clinic_folder(tmp_path, "connections: {}\n"))
        assert second.returncode == 5
        assert "another hub" in second.stderr
        assert (await post(path, "status", {})).status_code == 200


def test_a_path_that_is_too_long_for_a_socket_gets_another_place(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120) / "hub.db"
    path = control_socket(deep)
    assert len(str(path)) <= LONGEST_SOCKET_PATH
    assert path == control_socket(deep)
    assert path != control_socket(tmp_path / ("y" * 120) / "hub.db")
    deep.parent.mkdir()
    _bind(path)


def test_nor_may_the_folder_for_temporary_files_be_too_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("é" * 45)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    path = control_socket(deep / "hub.db")
    assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
    _bind(path)


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    path.unlink()

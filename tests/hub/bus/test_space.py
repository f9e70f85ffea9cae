"""Room on the disk: an alarm first, then "try later" before it is full; with room again all goes on by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors.simulators.ehr import EhrClient
from hub.bus import space as spaces
from hub.bus.space import Space
from hub.clinic import load_clinic
from hub.errors import Busy, ConfigError
from hub.settings.model import DiskSettings
from tests.hub.bus.probe import World, adt, deliver, one
from tests.support import ask, clinic_folder, port_of, running_hub, settled, until

MIB = 1 << 20
FLOW = """
connections:
  inbox: {kind: mllp_listener, port: "0"}
  other: {kind: probe_in}
  pms: {kind: probe_out, answer: yes}
flows:
  work: {from: inbox, steps: [{send: pms}]}
  more: {from: other, steps: [{send: pms}]}
"""


class Disk:
    """A disk whose room a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int = 1000 * MIB) -> None:
        self.total, self.free = total, total
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=self.total, used=0, free=self.free))


async def level(disk: Disk, *rooms: int, inside: int = 0, settings: DiskSettings | None = None) -> str:
    """The level after these looks, one after another."""

    async def reusable() -> int:
        return inside * MIB

    found = Space(Path("/"), settings or DiskSettings(), reusable)
    for room in rooms:
        disk.free = room * MIB
        await found.look()
    return found.level


@pytest.mark.parametrize(
    ("rooms", "expected"),
    [
        ((500,), "ok"), ((101,), "ok"), ((99,), "low"), ((21,), "low"), ((19,), "stop"), ((0,), "stop"),
        ((19, 21), "stop"), ((19, 23), "low"), ((99, 105), "low"), ((99, 111), "ok"), ((19, 105), "low"), ((19, 111), "ok"),
    ],
)  # fmt: skip
async def test_levels_begin_at_their_share_of_the_disk_and_end_with_a_tenth_more(
    monkeypatch: pytest.MonkeyPatch, rooms: tuple[int, ...], expected: str
) -> None:
    assert await level(Disk(monkeypatch), *rooms) == expected


async def test_on_a_large_disk_the_limits_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, total=10_000_000 * MIB)
    assert await level(disk, 2100) == "ok"
    assert await level(disk, 2000) == "low"
    assert await level(disk, 250) == "stop"


async def test_limits_of_the_clinic_file_count(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DiskSettings.model_validate({"warn_below": "500MiB", "stop_below": "400MiB"})
    assert await level(Disk(monkeypatch), 450, settings=settings) == "low"
    assert await level(Disk(monkeypatch), 399, settings=settings) == "stop"


async def test_free_pages_of_the_store_are_room_as_long_as_the_log_has_some_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await level(Disk(monkeypatch), 10, inside=200) == "ok"
    assert await level(Disk(monkeypatch), 2, inside=200) == "stop"


def test_settings_without_a_unit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with its unit"):
        load_clinic(clinic_folder(tmp_path, "disk: {stop_below: 5}\n"))


async def test_a_hub_takes_nothing_in_before_its_disk_is_full_delivers_what_it_has_and_goes_on_by_itself(
    world: World, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "LOOK_EVERY", 0.05)
    monkeypatch.setattr("hub.bus.hub.LOOK_EVERY", 0.05)
    disk = Disk(monkeypatch)
    gate = asyncio.Event()

    @world.partner
    async def pms(message: object) -> None:
        await gate.wait()

    async with running_hub(clinic_folder(tmp_path, FLOW)) as hub:
        port = port_of(hub, "inbox")
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("M1"))).code == "AA"
        disk.free = 50 * MIB
        await until(lambda: hub.core.space.level == "low")
        [stop] = [s for s in (await ask(hub, "status"))["stops"] if s["code"] == "STO-037"]
        assert stop["where"] == "the store"
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("M2"))).code == "AA", "an alarm stops nothing"
        disk.free = 10 * MIB
        await until(lambda: hub.core.space.level == "stop")
        async with EhrClient("127.0.0.1", port) as ehr:
            answer = await ehr.send(adt("M3"), timeout=2)
            assert answer.code == "AR", "try later"
        with pytest.raises(Busy) as caught:
            await deliver(hub, adt("M4"), source="other")
        assert caught.value.code == "STO-036"
        assert "STO-036" in [s["code"] for s in (await ask(hub, "status"))["stops"]]
        gate.set()
        await settled(hub)
        assert len(world.sent["pms"]) == 2, "what it had is delivered meanwhile"
        disk.free = 500 * MIB
        await until(lambda: hub.core.space.level == "ok")
        async with EhrClient("127.0.0.1", port) as ehr:
            assert (await ehr.send(adt("M3"))).code == "AA"
        await settled(hub)
    assert one(store, "SELECT count(*) FROM message WHERE direction = 'in'") == 3


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs a small tmpfs, which only root can mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.long
async def test_a_real_disk_that_fills_up_and_is_freed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.bus.hub.LOOK_EVERY", 0.05)
    with small_disk(tmp_path / "disk", "32m") as disk:
        text = FLOW + "disk: {stop_below: 6MiB, warn_below: 10MiB}\n"
        async with running_hub(clinic_folder(disk, text)) as hub:
            kept = 0
            with pytest.raises(Busy):  # noqa: PT012 - the delivery that fails is the last of many
                while True:
                    await deliver(hub, *(adt(f"M{kept}/{n}", f"{n}") for n in range(20)), source="other")
                    kept += 20
            await settled(hub, 60)
            assert shutil.disk_usage(disk).free > 0, "it stopped before the disk was full"
            ballast = disk / "ballast"
            ballast.write_bytes(b"x" * shutil.disk_usage(disk).free)
            await asyncio.sleep(0.5)
            ballast.unlink()
            assert hub.core.journal.broken is None
            await ask(hub, "messages.list")

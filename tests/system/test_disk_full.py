"""A small disk runs full while messages come in, and is freed: nothing acknowledged is lost, and the hub goes on by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.nursery import Nursery
from tests.chaos.rig import Rig
from tests.chaos.test_kills import LONG, figures, keep_figures

TIMES = 20 if LONG else 2
MEGABYTES = 64

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount a file system")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "clinic" / "var"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Takes all room that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as handle:
        try:
            while True:
                handle.write(bytes(4096))
        except OSError:
            return ballast


async def test_a_full_disk_costs_no_acknowledged_message_and_no_restart(small_disk: Path, nursery: Nursery) -> None:
    slowest, times = 0.0, 0
    async with Rig(small_disk.parent, nursery, patients=8, senders=4, large=0.02) as rig:
        await rig.start()
        rig.send()
        for _ in range(TIMES):
            before = rig.sent.count("AA")
            while rig.sent.count("AA") < before + 20:
                await asyncio.sleep(0.01)
            ballast = fill(small_disk)
            await asyncio.sleep(2.0)
            assert rig.hub.running, rig.hub.said
            full = rig.sent.count("AA")
            await asyncio.sleep(1.0)
            assert rig.sent.count("AA") <= full + 20, "it acknowledges without end on a full disk"
            ballast.unlink()
            freed = time.monotonic()
            while rig.sent.count("AA") < full + 20:
                assert time.monotonic() - freed < 30, "it does not go on although there is room again"
                await asyncio.sleep(0.01)
            times += 1
            slowest = max(slowest, time.monotonic() - freed)
            if small_disk_is_used_up(small_disk):
                break
        verdict = await rig.settle(30)
    keep_figures("disk_full", times=times, slowest_to_go_on_s=slowest, **figures(verdict))
    assert times > 0
    assert verdict.wrong == {}


def small_disk_is_used_up(folder: Path) -> bool:
    """By messages, of which a hub keeps all."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < 24_000_000

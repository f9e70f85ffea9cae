"""Seen from outside by strace: no acknowledgement leaves before a sync of the log that began after its message came."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from tests.chaos.test_kills import LONG, keep_figures
from tests.support import adt, clinic_folder, free_port, until

MESSAGES = 1000 if LONG else 100
TEXT = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
flows:
  registrations: {from: ehr, steps: [{map: adt_to_patient}, {save: patient}]}
"""
_CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<handle>\d+)<(?P<path>[^>]*)>(?P<rest>.*)$")
_RESUMED = re.compile(r"^(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>")

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")


def early_answers(trace: list[str]) -> tuple[int, list[str]]:
    """How many acknowledgements were seen, and those that left without a sync of the log since their message was read."""
    began: dict[str, int] = {}
    last_sync_began, answers, early = -1, 0, []
    came: dict[str, int] = {}
    for number, line in enumerate(trace):
        thread = line.split(None, 1)[0]
        if resumed := _RESUMED.match(line):
            if resumed["name"] in ("fdatasync", "fsync") and thread in began and line.rstrip().endswith("= 0"):
                last_sync_began = max(last_sync_began, began.pop(thread))
            if control := re.search(r"MSH\|[^\"]*?\|(M\d+)\|", line):
                came[control[1]] = number
            continue
        call = _CALL.match(line)
        if call is None:
            continue
        if call["name"] in ("fdatasync", "fsync") and call["path"].endswith("-wal"):
            if "unfinished" in line:
                began[thread] = number
            elif line.rstrip().endswith("= 0"):
                last_sync_began = number
        elif control := re.search(r"MSA\|AA\|(M\d+)", line):
            answers += 1
            if last_sync_began <= came.get(control[1], sys.maxsize):
                early.append(control[1])
        elif control := re.search(r"MSH\|[^\"]*?\|(M\d+)\|", line):
            came[control[1]] = number
    return answers, early


async def traced(folder: Path, messages: int, failpoints: str = "") -> tuple[int, list[str]]:
    port, trace = free_port(), folder / "trace"
    file = clinic_folder(folder, TEXT.replace("@IN@", str(port)))
    calls = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,fdatasync,fsync"
    command = ["strace", "-f", "-y", "-s", "400", "-e", calls, "-o", str(trace)]
    command += ["env", f"CLINIC_HUB_FAILPOINTS={failpoints}", sys.executable, "-m", "hub", "run", "-c", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        await until(lambda: listening(port), timeout=60)
        async with EhrClient("127.0.0.1", port) as ehr:
            for number in range(messages):
                assert (await ehr.send(adt(f"M{number}", str(number % 7)))).code == "AA"
        os.killpg(process.pid, signal.SIGTERM)  # to the hub: strace itself waits for its end
        await asyncio.to_thread(process.wait, 60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    return early_answers(trace.read_text(errors="replace").splitlines())


def listening(port: int) -> bool:
    import socket

    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def test_every_acknowledgement_leaves_after_a_completed_sync(tmp_path: Path) -> None:
    answers, early = await traced(tmp_path, MESSAGES)
    keep_figures("acknowledgements", seen=answers, before_their_sync=len(early))
    assert answers == MESSAGES
    assert early == []


@pytest.mark.parametrize("mutant", ["ack_before_commit", "synchronous_off"])
async def test_a_hub_that_answers_too_early_is_found_out(tmp_path: Path, mutant: str) -> None:
    answers, early = await traced(tmp_path, 50, mutant)
    assert answers == 50
    assert early

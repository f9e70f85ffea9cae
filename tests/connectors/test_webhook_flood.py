"""Floods of webhooks, and a hub that is killed in one: what was answered is stored, what was forged is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.hooks import event, line, request, signed
from tests.support import ROOT, HubProcess, clinic_folder, free_port


def flood(seconds: int) -> dict[str, Any]:
    """500 a second, every fifth of them forged; who sends them is a process of its own."""
    command = [sys.executable, ROOT / "benchmarks/webhooks.py", "--json", "--rate", "500", "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_of_a_flood_all_good_ones_are_stored_and_answered_and_all_forged_ones_refused() -> None:
    found = flood(10)
    assert (found["good_answered_200"], found["forged_answered_401"], found["others"]) == (4000, 1000, 0)
    assert found["stored"] == 4000


@pytest.mark.long
def test_a_flood_of_a_minute_is_answered_quickly() -> None:
    found = flood(60)
    assert (found["good_answered_200"], found["forged_answered_401"], found["others"]) == (24000, 6000, 0)
    assert found["stored"] == 24000
    assert found["p99_ms"] < 500


CLINIC = """
connections:
  hooks:
    kind: webhook_listener
    port: {port}
    path: /hooks/partner
    verify:
      how: hmac
      secrets: [{{$file: secret}}]
      signed: "{{timestamp}}.{{body}}"
      signature: {{header: X-Signature}}
      timestamp: {{header: X-Timestamp}}
    resource: {{field: id}}
"""


async def test_what_was_answered_is_stored_whenever_the_hub_is_killed(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "secret").write_text("k3y-of-the-partner")
    hub = HubProcess(clinic_folder(tmp_path, CLINIC.format(port=f'"{port}"')))
    await asyncio.to_thread(hub.start)
    answered: set[str] = set()

    async def partner(name: int) -> None:
        """Sends one event after the other, until nobody answers any more."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with line(port) as kept:
                for number in range(name * 10_000, name * 10_000 + 9_999):
                    await kept.say(request(event(number), signed(event(number))))
                    assert (await kept.answer()).status == 200
                    answered.add(f"T{number}")

    partners = [asyncio.create_task(partner(name)) for name in range(1, 9)]
    await asyncio.sleep(0.7)
    await asyncio.to_thread(hub.kill)
    await asyncio.gather(*partners)
    await asyncio.to_thread(hub.start)
    assert await asyncio.to_thread(hub.terminate) == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "var/hub.db")) as store:
        stored = {value for (value,) in store.execute("SELECT value FROM message_key WHERE kind = 'partner'")}
    assert len(answered) > 20
    assert answered <= stored
    assert len(stored - answered) <= len(partners), "at most one of each was stored and not answered"

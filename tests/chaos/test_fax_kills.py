"""kill -9 at random moments of a script of faxes, with faults on: none lost, none sent twice, and what nobody knows is shown.

The carrier's table is the judge.  `CLINIC_HUB_LONG=1` kills a hundred times among two hundred faxes.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any

from connectors.simulators.fax_carrier import Carrier
from hub.cli.operate import operate
from hub.errors import HubError
from tests.chaos.nursery import Hub, Nursery
from tests.chaos.test_kills import keep_figures
from tests.plugins.test_faxes import pdf
from tests.support import clinic_folder, until

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
FAXES, KILLS = (200, 100) if LONG else (12, 4)
PATIENCE = 900.0 if LONG else 25.0
PAGES = 4
FAULTS = ("silent after commit", "502 after commit", "503", "hangup", "slow 0.2", "429 after 1", "half", "empty", "drop")
CLINIC = """
connections:
  letters: {kind: folder, path: letters, pattern: "*.pdf", format: bytes, every: 50ms, stable_for: 0s}
  line:
    vendor: srfax
    kind: fax
    url: http://127.0.0.1:@PORT@
    secrets: {access_id: "12345", access_pwd: srfax-password}
    values: {caller_id: "3125550199", email: fax@clinic.example}
    timeout: 2s
    parallel: 8
    every: 1h
    retry: {first: 20ms, most: 200ms}
flows:
  letters:
    from: letters
    steps:
      - send_fax:
          to_in_name: true
          policy:
            busy: [50ms, 50ms, 50ms]
            no_answer: [50ms]
            partial: [50ms]
            other: [1s]
            look: [@LOOKS@]
  faxes_out: {from: {due: fax}, steps: [fax_order, {ask: line}, save_fax]}
  faxes_not_out: {from: {failed: faxes_out}, steps: [fax_failed]}
  fax_looks: {from: {due: fax_look}, steps: [{ask: line}, save_fax]}
"""
ENDS = dict.fromkeys("02459", "sent") | dict.fromkeys("1367", "failed")


def _has_ended(fax: dict[str, Any], taken: set[str]) -> bool:
    """What may have been sent is found if the carrier has it; else it stays unknown."""
    return fax["state"] in ("sent", "failed") or (fax["state"] == "unknown" and fax["to"] not in taken)


async def test_no_fax_is_lost_or_sent_twice_however_often_the_hub_is_killed(tmp_path: Path, nursery: Nursery) -> None:
    chance, began, kills = random.Random(6), time.monotonic(), 0
    digits = sorted(ENDS)
    numbers = [f"+1312{5550000 + number // 9 * 10 + int(digits[number % 9])}" for number in range(FAXES)]
    async with Carrier() as carrier:
        carrier.faxes.pace = 0.15
        (tmp_path / "letters").mkdir()
        looks = ", ".join(["200ms"] * 60)
        file = clinic_folder(tmp_path, CLINIC.replace("@PORT@", str(carrier.port)).replace("@LOOKS@", looks))
        hub = Hub(nursery, file)
        document = pdf(PAGES)

        async def faxes() -> list[dict[str, Any]]:
            try:
                found = await asyncio.to_thread(operate, str(file), "faxes.list", {"limit": 10_000}, running=True)
            except HubError:
                return []
            return list(found)

        async def write() -> None:
            for number in numbers:
                draft = tmp_path / "letters" / f"{number}.part"
                await asyncio.to_thread(draft.write_bytes, document)
                draft.rename(draft.with_suffix(".pdf"))
                carrier.faults.script(*chance.choices(["ok", *FAULTS], weights=[12, *[1] * len(FAULTS)]), to="send")
                await asyncio.sleep(0.05)

        async def is_decided() -> bool:
            found = await faxes()
            taken = {f"+{fax.to}" for fax in carrier.faxes.out}
            return len(found) == FAXES and all(_has_ended(fax, taken) for fax in found)

        try:
            await asyncio.to_thread(hub.start)
            writing = asyncio.create_task(write())
            while kills < KILLS:
                await asyncio.sleep(chance.uniform(0.2, 0.6))
                await asyncio.to_thread(hub.kill)
                kills += 1
                await asyncio.to_thread(hub.start)
            await writing
            await until(is_decided, PATIENCE)
            await asyncio.sleep(0.5)  # nothing more may happen
            found = await faxes()
            items = await asyncio.to_thread(operate, str(file), "worklist.list", {}, running=True)
        finally:
            hub.close()
        sent_twice = carrier.faxes.sent_twice()
        arrived = {number: carrier.faxes.pages_to(number.removeprefix("+")) for number in numbers}
        taken = {f"+{fax.to}" for fax in carrier.faxes.out}

    states = {fax["to"]: fax["state"] for fax in found}
    unknown = {number for number, state in states.items() if state == "unknown"}
    keep_figures(
        "fax_kills",
        seconds=time.monotonic() - began,
        faxes=FAXES,
        kills=kills,
        unknown=len(unknown),
        sent=len(carrier.faxes.out),
    )
    assert sent_twice == []
    assert sorted(states) == sorted(numbers), "one fax for each document"
    assert {n: s for n, s in states.items() if n not in unknown} == {n: ENDS[n[-1]] for n in numbers if n not in unknown}
    assert unknown.isdisjoint(taken), "what the carrier has is found"
    assert [n for n, state in states.items() if state == "sent" and arrived[n] != PAGES] == []
    shown = {item["topic"] for item in items if (item["topic"] or "").startswith("fax ")}
    assert {f"fax {fax['fax']}" for fax in found if fax["state"] in ("unknown", "failed")} == shown

"""A night of eligibility checks against the simulated clearinghouse: the time it takes beside the time it would take ideally.

    python benchmarks/eligibility.py [--json] [--visits 3000] [--delay 0.05] [--parallel 8] [--timeout 2] [--again 2]

Each answer takes `delay` seconds, `parallel` questions are out at once, 5 % of the first questions are answered AAA 42
(and asked again after `again` seconds), 2 % are taken and never answered (and sent again after `timeout` seconds).  The ideal
is what the questions take when none of the places is ever idle.  Booked visits wait until all are there; the clock runs from
the moment the checks may begin to the last outcome.  The hub is a process of its own, the far sides are this one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.simulators.bench.measure import cpu_seconds, free_port, hub_process
from connectors.simulators.clearinghouse import Clearinghouse
from connectors.simulators.ehr import EhrClient
from connectors.simulators.night import Night
from hub.cli.operate import operate
from hub.security.seal import new_key, write_key

SENDERS = 8
PATIENCE = 900.0
"""Seconds everything may take."""


async def run(options: argparse.Namespace) -> dict[str, Any]:
    night = Night(options.visits, datetime.now(UTC).date() + timedelta(days=2))
    with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-") as name:
        folder = Path(name)
        async with Clearinghouse(night.members()) as house:
            house.behaviour.delay = options.delay
            house.behaviour.token_lives = 3600.0
            port = free_port()
            file = write_folder(folder, night, port, house.base, options)
            async with hub_process(file) as pid:
                await asked(file, "pause", name="flow:eligibility")
                await send(port, night.registrations())
                await send(port, night.bookings())
                await waits(file, night.visits)
                busy = cpu_seconds(pid)
                began = time.monotonic()
                await asked(file, "resume", name="flow:eligibility")
                took = await until_all_are_decided(file, night, house) - began
                busy = cpu_seconds(pid) - busy
                lines = await outcomes(file, night)
    return figures(options, night, house, lines, took, busy)


def figures(
    options: argparse.Namespace, night: Night, house: Clearinghouse, lines: dict[str, str], took: float, busy: float
) -> dict[str, Any]:
    ideal = night.ideal(delay=options.delay, parallel=options.at_once or options.parallel, timeout=options.timeout)
    return {
        "what": f"a night of {night.visits} visits",
        "seconds": round(took, 2),
        "ideal_seconds": round(ideal, 2),
        "ratio": round(took / ideal, 2),
        "questions": len(house.ledger.entries),
        "asked_again_without_need": len(house.ledger.needless()),
        "without_an_outcome": sum(outcome == "pending" for outcome in lines.values()) + night.visits - len(lines),
        "with_another_outcome": sum(lines.get(key) != expected for key, expected in night.outcomes().items()),
        "cpu_ms_per_visit": round(busy / night.visits * 1000, 2),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
        "outcomes": dict(sorted(Counter(lines.values()).items())),
    }


def write_folder(folder: Path, night: Night, port: int, house: str, options: argparse.Namespace) -> Path:
    text = night.clinic(
        port=port,
        house=house,
        parallel=2 * options.at_once or options.parallel,
        timeout=f"{round(options.timeout * 1000)}ms",
        again=f"{round(options.again * 1000)}ms",
    )
    (folder / "payers.csv").write_text(night.payers(options.at_once), encoding="utf-8")
    (folder / "secret").write_text("demo-secret", encoding="utf-8")
    write_key(folder / "hub.key", new_key())
    (folder / "clinic.yaml").write_text(text, encoding="utf-8")
    return folder / "clinic.yaml"


async def asked(file: Path, operation: str, **params: Any) -> Any:
    return await asyncio.to_thread(operate, str(file), operation, params, running=True)


async def send(port: int, bodies: Iterable[bytes]) -> None:
    """Over several connections; each message has to be accepted."""
    waiting = list(bodies)[::-1]

    async def one() -> None:
        async with EhrClient("127.0.0.1", port) as ehr:
            while waiting:
                answer = await ehr.send(waiting.pop())
                if answer.code != "AA":
                    raise SystemExit(f"the hub answered {answer.code} to a message")

    await asyncio.gather(*(one() for _ in range(SENDERS)))


async def waits(file: Path, visits: int) -> None:
    """Until every visit waits for its check."""
    async with asyncio.timeout(PATIENCE):
        while True:
            lanes = (await asked(file, "status"))["flows"]
            if next(line["waiting"] for line in lanes if line["name"] == "eligibility") >= visits:
                return
            await asyncio.sleep(0.2)


async def until_all_are_decided(file: Path, night: Night, house: Clearinghouse) -> float:
    """The moment; the hub is left alone until the clearinghouse has answered everybody."""
    expected = night.outcomes()
    async with asyncio.timeout(PATIENCE):
        # The ledger is in this process: the hub is not asked while it works.
        while len({entry.member for entry in house.ledger.entries if entry.answered}) < night.visits:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
        while True:
            moment = time.monotonic()
            found = await outcomes(file, night)
            if len(found) == len(expected) and not {"pending", "payer_unavailable"} & set(found.values()):
                return moment
            await asyncio.sleep(0.05)


async def outcomes(file: Path, night: Night) -> dict[str, str]:
    lines = await asked(file, "eligibility.list", date=night.day.isoformat())
    return {line["appointment"]: line["outcome"] for line in lines}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--visits", type=int, default=3000)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=0, help="limit of the payer, in place of --parallel of the connection")
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--again", type=float, default=2.0)
    options = parser.parse_args()
    found = asyncio.run(run(options))
    print(json.dumps(found) if options.json else "  ".join(f"{k} {v}" for k, v in found.items()), flush=True)
    return 1 if found["without_an_outcome"] or found["with_another_outcome"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""A flood of webhooks into a hub on SQLite, every fifth of them forged: what is answered, and how long that takes.

    python benchmarks/webhooks.py [--rate N] [--seconds N] [--json]

Events of 1 KB come at a fixed pace over 50 kept connections from a process of its own.  A time is that of the answer since the
moment the event was due, so that waiting in the sender counts too.  A good one is answered when its commit is on disk.  CPU
time is that of the hub's process, writing included, for each delivery.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KEY, PATH = "flood", "/hooks/flood"
CONNECTIONS = 50
FORGED_EVERY = 5
CLINIC = """
organisation: {{name: Flood, npi: "1234567893"}}
sites:
  main: {{timezone: America/Chicago}}
store: sqlite:///var/hub.db
log: {{level: error}}
connections:
  hooks:
    kind: webhook_listener
    port: {port}
    path: /hooks/flood
    verify:
      how: hmac
      secrets: [{{$file: secret}}]
      signed: "{{timestamp}}.{{body}}"
      signature: {{header: X-Signature}}
      timestamp: {{header: X-Timestamp}}
    event: {{field: event}}
    resource: {{field: id}}
"""


def clinic(folder: Path, port: int) -> Path:
    """A clinic file whose only connection takes what `load` sends."""
    from hub.security.seal import new_key, write_key

    (folder / "secret").write_text(KEY)
    write_key(folder / "hub.key", new_key())
    file = folder / "clinic.yaml"
    file.write_text(CLINIC.format(port=f'"{port}"'), encoding="utf-8")
    return file


def stored(folder: Path) -> int:
    """Different events in the store of a hub that has stopped."""
    with contextlib.closing(sqlite3.connect(folder / "var/hub.db")) as store:
        [count] = store.execute("SELECT count(DISTINCT value) FROM message_key WHERE kind = 'partner'").fetchone()
    return int(count)


# The partner, in a process of its own, which knows nothing of the hub's code.


class Partner(asyncio.Protocol):
    """One kept connection: requests go out as they are due, answers come in their order."""

    def __init__(self) -> None:
        self.rest, self.waiting = b"", list[tuple[float, bool]]()
        self.answers = list[tuple[bool, int, float]]()
        """For each answer whether the event was good, the status, and the seconds since it was due."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, number: int, due: float) -> None:
        good = number % FORGED_EVERY != 0
        body = json.dumps({"event": "thing.changed", "id": f"T{number}", "note": "x" * 960}).encode()
        moment = str(int(time.time()))
        key = (KEY if good else "forged").encode()
        signature = hmac.new(key, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        head = f"POST {PATH} HTTP/1.1\r\nHost: hub\r\nX-Timestamp: {moment}\r\nX-Signature: {signature}\r\n"
        self.waiting.append((due, good))
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def data_received(self, data: bytes) -> None:
        *heads, self.rest = (self.rest + data).split(b"\r\n\r\n")  # no answer has a body
        now = time.monotonic()
        for head in heads:
            due, good = self.waiting.pop(0)
            self.answers.append((good, int(head.split(b" ", 2)[1]), now - due))


async def load(port: int, rate: float, seconds: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    partners = [(await loop.create_connection(Partner, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    begin, count = time.monotonic(), round(rate * seconds)
    for number in range(count):
        due = begin + number / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        partners[number % CONNECTIONS].send(number, due)
    sent_in = time.monotonic() - begin
    end = time.monotonic() + 60
    while any(partner.waiting for partner in partners) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    answers = [answer for partner in partners for answer in partner.answers]
    times = sorted(took for good, _, took in answers if good)
    return {
        "what": f"{rate:g}/s for {seconds:g} s, every {FORGED_EVERY}th forged",
        "sent_per_second": round(count / sent_in),
        "good_answered_200": sum(good and status == 200 for good, status, _ in answers),
        "forged_answered_401": sum(not good and status == 401 for good, status, _ in answers),
        "others": count - sum(status == (200 if good else 401) for good, status, _ in answers),
        "p50_ms": round(times[len(times) // 2] * 1000, 1),
        "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1),
        "most_ms": round(times[-1] * 1000, 1),
    }


# The hub.


async def flood(rate: float, seconds: float) -> dict[str, Any]:
    from hub.bus.hub import Hub
    from hub.clinic import load_clinic
    from hub.logs import configure

    configure("error")
    with tempfile.TemporaryDirectory() as folder:
        hub = Hub(load_clinic(clinic(Path(folder), 0)))
        await hub.start()
        try:
            port = hub.sources["hooks"].port  # type: ignore[attr-defined]
            arguments, cpu = [__file__, "load", str(port), str(rate), str(seconds)], time.process_time()
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=subprocess.PIPE)
            said, _ = await process.communicate()
            cpu = time.process_time() - cpu
        finally:
            await hub.stop()
        each = round(cpu / (rate * seconds) * 1e6)
        return {**json.loads(said), "stored": stored(Path(folder)), "cpu_us_per_delivery": each}


def main() -> None:
    if sys.argv[1:2] == ["load"]:
        print(json.dumps(asyncio.run(load(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(flood(options.rate, options.seconds))
    print(json.dumps(found) if options.json else "\n".join(f"{name:22} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()

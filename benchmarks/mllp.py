"""What MLLP costs the hub: CPU time of a message received and answered, and of a message sent and its answer matched.

    python benchmarks/mllp.py [--messages N] [--connections N ...] [--json]

The far sides run in processes of their own and know nothing of the hub's code.  The store is left out: deliveries are kept in
the next turn of the loop, as a commit would be told.  Figures are CPU microseconds of this process per message of 1 KB, and
messages per second of wall time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

START, END = b"\x0b", b"\x1c\r"
HEAD = b"MSH|^~\\&|HIS|NORTH|HUB|NORTH|20260105083011||ADT^A01^ADT_A01|"
REST = (
    b"|P|2.5.1||||||UNICODE UTF-8\rEVN|A01|20260105083011|||10042^Whitfield^Grace^T|20260105082500\r"
    b"PID|1||0004711^^^NORTH^MR~123456789^^^SSA^SS||Okafor^Maria^Q^^^^L||19610304|F||2106-3|17 Elm Street^^Springfield^IL\r"
    b"PV1|1|I|3W^312^A^NORTH^^BED|E|||10042^Whitfield^Grace^T^^Dr^MD^^NPI|10077^Baptiste^Leon^^^Dr^MD||MED||||7|A0\r"
)
REST += b"NTE|1|L|" + b"Observed overnight. " * ((1024 - len(HEAD) - len(REST)) // 20) + b"\r"


# The far sides, in processes of their own.


class Load(asyncio.Protocol):
    """Sends a message, waits for its answer, sends the next."""

    def __init__(self, name: str, count: int, done: asyncio.Future[None]) -> None:
        self.name, self.left, self.done = name, count, done

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._next()

    def _next(self) -> None:
        self.left -= 1
        self.transport.write(START + HEAD + f"{self.name}{self.left}".encode() + REST + END)

    def data_received(self, data: bytes) -> None:
        if not data.endswith(END):
            return
        if self.left:
            self._next()
        else:
            self.done.set_result(None)


async def load(port: int, connections: int, messages: int) -> None:
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(connections)]
    for number, end in enumerate(ends):
        await loop.create_connection(lambda n=number, e=end: Load(f"C{n}N", messages // connections, e), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)


class Sink(asyncio.Protocol):
    """Answers AA to everything."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.rest = transport, b""

    def data_received(self, data: bytes) -> None:
        *frames, self.rest = (self.rest + data).split(END)
        answers = []
        for frame in frames:
            fields = frame.split(b"|", 11)
            answers.append(
                START + b"MSH|^~\\&|SINK|NORTH|HUB|NORTH|20260105083011||ACK^A01^ACK|A" + fields[9] + b"|P|2.5.1\rMSA|AA|"
                + fields[9] + b"\r" + END
            )  # fmt: skip
        self.transport.write(b"".join(answers))


async def sink() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


# The hub's sides.


class Kept:
    """A delivery that is told in the next turn of the loop."""

    def __init__(self, count: int) -> None:
        self.ids, self.duplicates = [""] * count, [False] * count


class Store:
    async def __call__(self, messages: Sequence[Any]) -> Kept:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
        return Kept(len(messages))

    async def refuse(self, message: Any, reason: str) -> None:  # noqa: ARG002
        raise AssertionError(reason)


async def receive(connections: int, messages: int) -> dict[str, Any]:
    from connectors.mllp import ListenerConfig, MllpListener

    listener = MllpListener("ehr", ListenerConfig.model_validate({"kind": "mllp_listener", "port": 0}))
    await listener.open(Store())  # type: ignore[arg-type]
    await _run(["load", listener.port, connections, connections * 50])
    cpu, wall = _cpu(), time.perf_counter()
    await _run(["load", listener.port, connections, messages])
    result = _told("receive", connections, messages, _since(cpu), time.perf_counter() - wall)
    await listener.close()
    return result


async def send(connections: int, messages: int, window: int = 1) -> dict[str, Any]:
    from connectors.mllp import MllpSender, SenderConfig
    from hub.message import Message

    async with _sink() as port:
        given = {"kind": "mllp_sender", "host": "127.0.0.1", "port": port, "parallel": connections * window}
        if window > 1:
            given["window"] = window
        sender = MllpSender("pms", SenderConfig.model_validate(given))
        await sender.open_destination()

        async def some(name: str, count: int) -> None:
            for number in range(count):
                await sender.send(Message(HEAD + f"{name}{number}".encode() + REST, "hl7v2", "ADT^A01"))

        async def all_of_them(name: str, count: int) -> None:
            tasks = connections * window
            await asyncio.gather(*(some(f"{name}{task}N", count // tasks) for task in range(tasks)))

        await all_of_them("W", connections * window * 50)
        cpu, wall = _cpu(), time.perf_counter()
        await all_of_them("M", messages)
        cpu, wall = _since(cpu), time.perf_counter() - wall
        await sender.close()
    return _told(f"send, window {window}", connections, messages, cpu, wall)


Cpu = tuple[float, float]
"""Seconds of the program and of the system."""


def _cpu() -> Cpu:
    times = os.times()
    return times.user, times.system


def _since(before: Cpu) -> Cpu:
    now = _cpu()
    return now[0] - before[0], now[1] - before[1]


def _told(what: str, connections: int, messages: int, cpu: Cpu, wall: float) -> dict[str, Any]:
    return {
        "what": what,
        "connections": connections,
        "cpu_us_per_message": round(sum(cpu) / messages * 1e6, 1),
        "own_us_per_message": round(cpu[0] / messages * 1e6, 1),
        "messages_per_second": round(messages / wall),
    }


async def _run(arguments: list[Any]) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, *map(str, arguments))
    if await process.wait():
        raise SystemExit("the far side failed")


@asynccontextmanager
async def _sink() -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, "sink", stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def run(messages: int = 20_000, connections: Sequence[int] = (1, 32)) -> list[dict[str, Any]]:
    import uvloop

    def all_of(work: Any) -> dict[str, Any]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)  # type: ignore[no-any-return]

    found = [all_of(receive(n, messages)) for n in connections] + [all_of(send(n, messages)) for n in connections]
    return [*found, all_of(send(1, messages, window=32))]


def main() -> None:
    if sys.argv[1:2] == ["load"]:
        asyncio.run(load(*map(int, sys.argv[2:5])))
        return
    if sys.argv[1:2] == ["sink"]:
        asyncio.run(sink())
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for line in run(options.messages, options.connections):
        print(json.dumps(line) if options.json else _as_text(line))


def _as_text(line: dict[str, Any]) -> str:
    return (
        f"{line['what']:16} {line['connections']:3} connections  {line['cpu_us_per_message']:6.1f} us CPU, "
        f"{line['own_us_per_message']:5.1f} its own  "
        f"{line['messages_per_second']:6}/s"
    )


if __name__ == "__main__":
    main()

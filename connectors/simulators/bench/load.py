"""The far sides of a measurement, in one process: senders that wait for each acknowledgement, and a receiver that counts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

START, END = b"\x0b", b"\x1c\r"
PATIENTS = 10
"""Patients of each sender; their messages come in turn."""
_SIZE = 1024


def message(sender: int, number: int, run: str) -> bytes:
    """About 1 KB: a registration or a booking by turns, of one of the sender's patients."""
    patient = f"{sender:03d}{number % PATIENTS:03d}"
    event = "SIU^S12" if number % 2 else "ADT^A04"
    lines = [
        f"MSH|^~\\&|HIS|NORTH|HUB|NORTH|20260105083011||{event}|{run}{sender:03d}-{number}|P|2.5.1||||||UNICODE UTF-8",
        f"SCH|P{patient}-{number}|F{patient}-{number}|||||ROUTINE|OFFICE|30|MIN|^^^20270112090000" if number % 2 else "EVN|A04",
        f"PID|1||{patient}^^^NORTH^MR~{patient}9^^^STATE^SS||DOE^JANE^Q||19800229|F|||12 Elm Street^^Springfield^IL||^PRN^PH",
        "PV1|1|O|CLINIC^2^^NORTH|R|||10042^Whitfield^Grace^T^^Dr^MD||||||||||||V1^^^NORTH^VN",
    ]
    body = "\r".join(lines) + "\r"
    return f"{body}NTE|1|L|{'x' * max(0, _SIZE - len(body) - 9)}\r".encode()


class Frames(asyncio.Protocol):
    """Reads MLLP frames as they come."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # of a TCP connection

    def data_received(self, data: bytes) -> None:
        *frames, self._rest = (self._rest + data).split(END)
        for frame in frames:
            self.frame(frame[1:])

    def frame(self, body: bytes) -> None:
        raise NotImplementedError

    def send(self, body: bytes) -> None:
        self.transport.write(START + body + END)


@dataclass(slots=True)
class Tally:
    """What has been seen of one run."""

    wanted: int
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending a message to its acknowledgement."""
    arrived: int = 0
    started: float = 0.0
    last_ack: float = 0.0
    last_arrival: float = 0.0
    refused: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    arrivals_too: bool = True
    """Whether it is done only when all messages have arrived."""

    def check(self) -> None:
        if len(self.latencies) >= self.wanted and (self.arrived >= self.wanted or not self.arrivals_too):
            self.done.set()

    def ack_ms(self, share: float) -> float:
        """The time within which this share of the acknowledgements came, in milliseconds."""
        latencies = sorted(self.latencies)
        return round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 2)


class Sender(Frames):
    """Sends its messages one after the other, each after the acknowledgement of the one before."""

    def __init__(self, number: int, count: int, run: str, tally: Tally) -> None:
        super().__init__()
        self._bodies = iter([message(number, n, run) for n in range(count)])
        self._tally = tally
        self._sent = 0.0

    def go(self) -> None:
        if (body := next(self._bodies, None)) is None:
            self.transport.close()
            return
        self._sent = time.perf_counter()
        self.send(body)

    def frame(self, body: bytes) -> None:
        tally = self._tally
        tally.last_ack = time.perf_counter()
        tally.latencies.append(tally.last_ack - self._sent)
        tally.refused += b"MSA|AA|" not in body
        tally.check()
        self.go()


class Receiver(Frames):
    """Accepts and counts every message."""

    def __init__(self, far: FarSide) -> None:
        super().__init__()
        self._far = far

    def frame(self, body: bytes) -> None:
        control_id = body[: body.find(b"\r")].split(b"|", 10)[9]
        self.send(b"MSH|^~\\&|FAR||||||ACK|1|P|2.5.1\rMSA|AA|" + control_id + b"\r")
        if (tally := self._far.tally) is not None:
            tally.arrived += 1
            tally.last_arrival = time.perf_counter()
            tally.check()


class FarSide:
    """A receiver on a free port, and senders on demand."""

    def __init__(self, *, arrivals_too: bool = True) -> None:
        self.tally: Tally | None = None
        self._arrivals_too = arrivals_too
        self._server: asyncio.Server | None = None

    async def open(self, port: int = 0) -> int:
        """Returns the receiver's port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: Receiver(self), "127.0.0.1", port, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def receive(self, messages: int, timeout: float = 300.0) -> Tally:
        """Waits until so many messages have arrived from now on; raises TimeoutError."""
        tally = self.tally = Tally(messages, started=time.perf_counter())
        tally.latencies = [0.0] * messages
        async with asyncio.timeout(timeout):
            await tally.done.wait()
        return tally

    async def run(self, port: int, connections: int, messages: int, run: str, timeout: float = 300.0) -> Tally:
        """Sends so many messages over so many connections and waits until all have arrived; raises TimeoutError."""
        counts = [messages // connections + (n < messages % connections) for n in range(connections)]
        tally = self.tally = Tally(messages, arrivals_too=self._arrivals_too)
        senders = [Sender(number, count, run, tally) for number, count in enumerate(counts) if count]
        for sender in senders:
            await asyncio.get_running_loop().create_connection(lambda sender=sender: sender, "127.0.0.1", port)  # type: ignore[misc]
        tally.started = time.perf_counter()
        for sender in senders:
            sender.go()
        async with asyncio.timeout(timeout):
            await tally.done.wait()
        return tally

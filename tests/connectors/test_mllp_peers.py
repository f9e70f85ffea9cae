"""Other people's MLLP, against ours: python-hl7's client, server and `mllp_send`, hl7apy's server.

Peers that need npm or openssl are in benchmarks/peers/ and tests/system/test_mllp_peers.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import hl7
import hl7.mllp
import pytest
from hl7apy.mllp import AbstractErrorHandler, AbstractHandler, MLLPServer

from hub.errors import ConnectionDown, MessageRejected
from hub.message import Message
from hub.testing import FakeDeliver
from tests.connectors.wire import adt, listening, sending, siu
from tests.support import until

LARGE = adt("LARGE", more=("NTE|1||" + "x" * 300_000,))
UTF_8 = adt("UTF", family="MÜLLER").replace(b"|P|2.5\r", b"|P|2.5||||||UNICODE UTF-8\r")


# Senders.


async def mllp_send(port: int, file: Path, *options: str) -> str:
    """What python-hl7's command prints: the acknowledgements."""
    script = "import sys; from hl7.client import mllp_send; sys.argv[0] = 'mllp_send'; mllp_send()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, "-p", str(port), "-f", str(file), *options, "127.0.0.1",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_mllp_send_replays_a_file_of_framed_messages(tmp_path: Path) -> None:
    bodies, file, deliver = [adt("M1"), siu("M2", "F-1", "202611301430"), UTF_8, LARGE], tmp_path / "framed", FakeDeliver()
    file.write_bytes(b"".join(b"\x0b" + body + b"\x1c\r" for body in bodies))
    async with listening(deliver) as listener:
        output = await mllp_send(listener.port, file)
    assert [f"MSA|AA|{id}" in output for id in ("M1", "M2", "UTF", "LARGE")] == [True] * 4
    kept = [message.body for message in deliver.delivered]
    assert kept == [body.removesuffix(b"\r") for body in bodies], "it cuts the last carriage return off"


async def test_mllp_send_replays_a_loose_file_with_line_feeds(tmp_path: Path) -> None:
    file, deliver = tmp_path / "loose.hl7", FakeDeliver()
    file.write_bytes(adt("M1").replace(b"\r", b"\r\n") + b"\r\n" + adt("M2").replace(b"\r", b"\n"))
    async with listening(deliver) as listener:
        output = await mllp_send(listener.port, file, "--loose")
    assert [f"MSA|AA|{id}" in output for id in ("M1", "M2")] == [True, True]
    assert len(deliver.delivered) == 2


async def test_python_hl7s_client_reads_our_acknowledgements() -> None:
    """Its answers are strict: separators, MSA-2 and the charset have to be right."""
    async with listening() as listener:
        reader, writer = await hl7.mllp.open_hl7_connection("127.0.0.1", listener.port, encoding="utf-8")
        for number in range(20):
            writer.writemessage(hl7.parse(adt(f"M{number}").decode()))
            await writer.drain()
            async with asyncio.timeout(5):
                answer = await reader.readmessage()
            assert str(answer.segment("MSA")) == f"MSA|AA|M{number}"
        writer.close()
        await writer.wait_closed()


# Receivers.


@asynccontextmanager
async def python_hl7s_server(**settings: Any) -> AsyncIterator[int]:
    open_ones: set[Any] = set()

    async def answering(reader: Any, writer: Any) -> None:
        open_ones.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while True:
                    message = await reader.readmessage()
                    writer.writemessage(message.create_ack("AR" if "REFUSE" in str(message) else "AA"))
                    await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            open_ones.discard(writer)

    server = await hl7.mllp.start_hl7_server(answering, "127.0.0.1", 0, encoding="utf-8", **settings)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await until(lambda: not open_ones)


@pytest.mark.parametrize("settings", [{}, {"window": 8, "parallel": 8}], ids=["one by one", "a window"])
async def test_python_hl7s_server_gets_and_answers_our_messages(settings: dict[str, int]) -> None:
    async with python_hl7s_server(limit=1 << 20) as port, sending(port, **settings) as sender:
        sends = (sender.send(Message(adt(f"M{n}"), "hl7v2")) for n in range(8))
        answers = await asyncio.gather(*sends)
        assert [answer.headers["answer"] for answer in answers if answer] == ["AA"] * 8
        for body in (LARGE, UTF_8):
            assert await sender.send(Message(body, "hl7v2"))
        with pytest.raises(MessageRejected, match="AR"):
            await sender.send(Message(adt("M9", family="REFUSE"), "hl7v2"))


async def test_python_hl7s_server_that_dies_on_a_large_message_is_down_and_comes_back() -> None:
    """Its reader ends at 64 KiB without an answer: that is no answer about the message."""
    async with python_hl7s_server() as port, sending(port, timeout="1s") as sender:
        await sender.send(Message(adt("M1"), "hl7v2"))
        with pytest.raises(ConnectionDown):
            await sender.send(Message(LARGE, "hl7v2"))
        assert await sender.send(Message(adt("M2"), "hl7v2"))


class Accepting(AbstractHandler):  # type: ignore[misc]
    def reply(self) -> str:
        return "\x0b" + str(hl7.parse(self.incoming_message).create_ack("AA")) + "\x1c\x0d"


class Refusing(AbstractErrorHandler):  # type: ignore[misc]
    def reply(self) -> str:
        return "\x0b" + str(hl7.parse(self.incoming_message).create_ack("AR")) + "\x1c\x0d"


@contextmanager
def hl7apys_server() -> Iterator[int]:
    server = MLLPServer("127.0.0.1", 0, {"ADT^A04": (Accepting,), "ERR": (Refusing,)}, timeout=5)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


async def test_hl7apys_server_which_closes_after_each_message_gets_them_all() -> None:
    with hl7apys_server() as port:
        async with sending(port) as sender:
            for number in range(20):
                answer = await sender.send(Message(adt(f"M{number}"), "hl7v2"))
                assert answer is not None
                assert f"MSA|AA|M{number}".encode() in answer.body
            with pytest.raises(MessageRejected, match="AR"):
                await sender.send(Message(siu("M21", "F-1", "202611301430"), "hl7v2"))

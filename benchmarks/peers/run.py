"""Other people's MLLP that this machine can get: npm peers and openssl, against our listener and our sender.

    python benchmarks/peers/run.py [--messages N] [--json]

Needs node, npm (packages go into a temporary folder) and openssl.  Exit 0 when every peer that is there understands us.
python-hl7 and hl7apy are in tests/connectors/test_mllp_peers.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from connectors.mllp import ListenerConfig, MllpListener, MllpSender, SenderConfig
from hub.message import Message

SCRIPT = Path(__file__).with_name("peers.cjs")
PACKAGES = ["node-hl7-client@3.2.0", "node-hl7-server@2.5.0", "simple-hl7@3.3.0"]
START, END = b"\x0b", b"\x1c\r"


def body(control_id: str) -> bytes:
    lines = [
        f"MSH|^~\\&|HUB|RIVER|PEER|RIVER|20261123090000||ADT^A04^ADT_A01|{control_id}|P|2.5",
        "EVN|A04|20261123090000",
        "PID|1||00042^^^RIVER^MR||DOE^JANE||19800229|F",
    ]
    return ("\r".join(lines) + "\r").encode()


class Kept:
    """A delivery that always works, and remembers what came."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, messages: Sequence[Message]) -> Any:
        self.bodies += [message.body for message in messages]
        return self

    async def refuse(self, message: Message, reason: str) -> None:  # noqa: ARG002
        raise AssertionError(reason)


@asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[tuple[MllpListener, Kept]]:
    listener, kept = (
        MllpListener("hub", ListenerConfig.model_validate({"kind": "mllp_listener", "port": 0, **settings})),
        Kept(),
    )
    await listener.open(kept)  # type: ignore[arg-type]
    try:
        yield listener, kept
    finally:
        await listener.close()


# Senders against our listener.


def npm_sender(name: str) -> Callable[[Path, int], Awaitable[None]]:
    async def play(folder: Path, count: int) -> None:
        async with listening() as (listener, kept):
            process = await asyncio.create_subprocess_exec(
                "node", str(SCRIPT), name, str(listener.port), str(count), cwd=folder, stdout=subprocess.PIPE
            )
            async with asyncio.timeout(30):
                output, _ = await process.communicate()
        assert output.decode().split("\n")[:-1] == [f"AA {name}-{number}" for number in range(count)], output
        assert len(kept.bodies) == count

    return play


async def openssl(folder: Path, count: int) -> None:
    """Mutual TLS."""
    _certificate(folder)
    files = {"cert": folder / "tls.pem", "key": folder / "tls.key"}
    async with listening(tls={**files, "client_ca": folder / "tls.pem"}) as (listener, kept):
        process = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", "tls.pem", "-cert", "tls.pem",
            "-key", "tls.key", "-connect", f"127.0.0.1:{listener.port}",
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(count):
            process.stdin.write(START + body(f"S{number}") + END)
            async with asyncio.timeout(10):
                assert f"MSA|AA|S{number}\r".encode() in await process.stdout.readuntil(END)
        process.kill()
        await process.wait()
    assert len(kept.bodies) == count


def _certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "tls.key", "-out", "tls.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


# Our sender against receivers.


def npm_receiver(name: str, **settings: Any) -> Callable[[Path, int], Awaitable[None]]:
    async def play(folder: Path, count: int) -> None:
        port = _free_port()
        process = await asyncio.create_subprocess_exec("node", str(SCRIPT), name, str(port), cwd=folder, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                assert await process.stdout.readline() == b"listening\n"
            given = {"kind": "mllp_sender", "host": "127.0.0.1", "port": port, "timeout": 5.0, **settings}
            sender = MllpSender("peer", SenderConfig.model_validate(given))
            await sender.open_destination()
            for number in range(count):
                answer = await sender.send(Message(body(f"R{number}"), "hl7v2"))
                assert answer is not None
                assert f"MSA|AA|R{number}".encode() in answer.body
            await sender.close()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    return play


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


NPM: dict[str, Callable[[Path, int], Awaitable[None]]] = {
    "node-hl7-client sends": npm_sender("node-hl7-client"),
    "simple-hl7 sends": npm_sender("simple-hl7-client"),
    # It answers all earlier messages of a connection again with each new one, so it needs a connection for each.
    "node-hl7-server receives": npm_receiver("node-hl7-server", keep_open=False),
    "simple-hl7 receives": npm_receiver("simple-hl7-server"),
}


def install(folder: Path) -> str:
    """Why the npm peers are not here; empty when they are."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not on this machine"
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    return "" if done.returncode == 0 else f"npm: {done.stderr.strip().splitlines()[-1] if done.stderr else 'failed'}"


def run(count: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        missing = install(folder)
        found = [_tried(peer, play, folder, count, missing) for peer, play in NPM.items()]
        without = "" if shutil.which("openssl") else "openssl is not on this machine"
        return [*found, _tried("openssl s_client sends over mutual TLS", openssl, folder, count, without)]


def _tried(peer: str, play: Callable[[Path, int], Awaitable[None]], folder: Path, count: int, missing: str) -> dict[str, Any]:
    if missing:
        return {"peer": peer, "result": "not run", "why": missing, "seconds": 0.0}
    began = time.perf_counter()
    try:
        asyncio.run(play(folder, count))
    except Exception as error:
        return {"peer": peer, "result": "failed", "why": f"{type(error).__name__}: {error}"[:300], "seconds": 0.0}
    return {"peer": peer, "result": "ok", "why": "", "seconds": round(time.perf_counter() - began, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options.messages)
    for line in found:
        text = f"{line['peer']:42} {line['result']:8} {line['seconds']:6.2f} s  {line['why']}"
        print(json.dumps(line) if options.json else text)
    return 1 if any(line["result"] == "failed" for line in found) else 0


if __name__ == "__main__":
    sys.exit(main())

"""A HylaFAX server: hfaxd's protocol as far as fax clients speak it, over the table of the fax carrier.

    async with HylafaxServer() as server:
        server.faults.script("silent after commit", to="submit")

Faults are scripted for `login`, `store` and `submit`: `503` (any status: the server says later), `drop`, `silent`,
`silent after commit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import Any, Self

from connectors.simulators.faults import Fault, Faults, fault
from connectors.simulators.fax_carrier.faxes import Faxes, Stage

USER, PASSWORD = "clinic", "hyla-secret"
_LETTERS = {"queued": "W", "sending": "R", "sent": "D", "failed": "F"}
_WORDS = {
    "": "",
    "busy": "Busy signal detected",
    "no_answer": "No answer from remote",
    "partial": "Unspecified Transmit Phase C error",
    "bad_number": "Invalid dialing command",
    "refused": "Call rejected by remote",
    "late": "Unknown problem",
}


class HylafaxServer:
    """A server on a port of this machine."""

    def __init__(self) -> None:
        self.faxes = Faxes(time.time)
        self.faults: Faults[Fault] = Faults(fault)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._numbers = itertools.count(1)
        self._talks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None  # noqa: S101 - it was entered
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        if self._talks:
            await asyncio.wait(self._talks)
        await asyncio.sleep(0.01)  # for connections for data that nobody came to

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in a task
        self._talks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await _Talk(self, reader, writer).run()
        finally:
            await _closed(writer)
            self._talks.discard(task)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        await writer.wait_closed()


class _Talk:
    """One conversation."""

    def __init__(self, house: HylafaxServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.house, self._reader, self._writer = house, reader, writer
        self._user, self._known = "", False
        self._stored: dict[str, bytes] = {}
        self._job: dict[str, str] = {}
        self._data: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._passive: asyncio.Server | None = None
        self._over = False

    async def run(self) -> None:
        await self._say("220 simulator server (HylaFAX (tm) Version 6.0.7) ready.")
        try:
            while line := (await self._reader.readline()).decode("latin-1").strip():
                word, _, rest = line.partition(" ")
                if word.upper() == "QUIT":
                    await self._say("221 Goodbye.")
                    return
                if not await self._answer(word.upper(), rest):
                    return
        finally:
            self._over = True
            if self._passive is not None:
                self._passive.close()
            while not self._data.empty():
                await _closed(self._data.get_nowait()[1])

    async def _answer(self, word: str, rest: str) -> bool:
        """False when the connection ends."""
        if word == "USER":
            self._user = rest
            await self._say("331 Password required.")
        elif word == "PASS":
            return await self._login(rest)
        elif not self._known:
            await self._say("530 Please login with USER and PASS.")
        elif word in ("TYPE", "FORM", "JOBFMT"):
            await self._say(f"200 {word} command successful.")
        elif word == "PASV":
            await self._listen()
        elif word == "STOT":
            return await self._store()
        elif word == "JNEW":
            self._job = {"id": str(next(self.house._numbers))}  # noqa: SLF001 - a part of it
            await self._say(f"200 New job created: jobid: {self._job['id']} groupid: {self._job['id']}.")
        elif word == "JPARM":
            await self._parameter(rest)
        elif word == "JSUBM":
            return await self._submit()
        elif word == "LIST":
            await self._list(rest)
        else:
            await self._say("500 Command not understood.")
        return True

    async def _fault(self, to: str) -> Fault | None:
        """One after which nothing is done; None when that goes on, or the connection has ended."""
        found = self.house.faults.take_own(to)
        if found.kind == "silent":
            await asyncio.Event().wait()
        if found.kind == "status":
            await self._say("421 Service not available, try later.")
        return found

    async def _login(self, password: str) -> bool:
        found = await self._fault("login")
        if found is not None and found.before_commit:
            return False
        self._known = (self._user, password) == (USER, PASSWORD)
        await self._say("230 User logged in." if self._known else "530 Login incorrect.")
        return True

    async def _listen(self) -> None:
        if self._passive is not None:
            self._passive.close()

        def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._over:
                writer.close()
            self._data.put_nowait((reader, writer))

        self._passive = await asyncio.start_server(came, "127.0.0.1", 0)
        high, low = divmod(self._passive.sockets[0].getsockname()[1], 256)
        await self._say(f"227 Entering passive mode (127,0,0,1,{high},{low})")

    async def _store(self) -> bool:
        found = await self._fault("store")
        if found is not None and found.before_commit:
            return False
        name = f"/tmp/doc{next(self.house._numbers)}.ps"  # noqa: S108, SLF001 - a name on the server; a part of it
        await self._say(f"150 FILE: {name} (Opening new data connection).")
        reader, writer = await self._data.get()
        self._stored[name] = await reader.read(-1)
        await _closed(writer)
        await self._say(f"226 Transfer complete (FILE: {name}).")
        return True

    async def _parameter(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        value = value.strip('"')
        if name == "DOCUMENT" and value not in self._stored:
            await self._say(f"550 {value}: No such file.")
            return
        self._job[name] = value
        await self._say(f"213 {name} set to {value}.")

    async def _submit(self) -> bool:
        found = self.house.faults.take_own("submit")
        if found.kind == "silent":
            await asyncio.Event().wait()
        if found.kind == "status":
            await self._say("460 Failed to submit job: try later.")
            return True
        if found.kind == "drop":
            return False
        missing = [name for name in ("FROMUSER", "DIALSTRING", "DOCUMENT", "MAXDIALS", "LASTTIME") if not self._job.get(name)]
        if missing:
            await self._say(f"504 Job has no {missing[0]}.")
            return True
        fax = self.house.faxes.take(
            "hylafax", self._job["DIALSTRING"], self._job["JOBINFO"], self._stored[self._job["DOCUMENT"]]
        )
        fax.id = self._job["id"]
        if found.kind == "silent after commit":
            await asyncio.Event().wait()
        await self._say(f"200 Job {fax.id} submitted.")
        return True

    async def _list(self, queue: str) -> None:
        await self._say(f'150 Opening new data connection for "{queue}".')
        _, writer = await self._data.get()
        now = self.house.faxes.clock()
        for fax in self.house.faxes.out:
            stage: Stage = fax.stage(now)
            if (stage.state in ("sent", "failed")) == (queue == "doneq"):
                pages = f"{fax.arrived(now)}:{fax.pages}"
                line = f"{fax.id}|{_LETTERS[stage.state]}|{fax.reference}|{pages}|{_WORDS[stage.error]}\r\n"
                writer.write(line.encode("latin-1"))
        await writer.drain()
        await _closed(writer)
        await self._say("226 Transfer complete.")

    async def _say(self, line: str) -> None:
        self._writer.write(f"{line}\r\n".encode("latin-1"))
        await self._writer.drain()

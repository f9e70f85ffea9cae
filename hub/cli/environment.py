"""What a hub needs of the machine it runs on: one function for each thing that can be wrong, each with its fix.

A finding is `ok`, a `warning` (it works, but not as it should) or an `error` (it will not work, or lose what it must not lose).
Nothing is changed; what is measured is written into a file of its own beside the store and removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import socket
import sqlite3
import sys
import time
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hub.clinic import Clinic
from hub.connector import Source
from hub.errors import HubError
from hub.paths import control_socket, is_postgres, store_file
from hub.security.seal import Seal, read_key
from hub.store.sqlite import OLDEST_SQLITE
from hub.units import size_in_words

FILES_WANTED = 4096
"""Files a hub may have open: one for each connection of a partner, and some of its own."""
SLOW_FLUSH, FAST_FLUSH = 100, 40_000
"""Flushes a second: fewer are a slow disk, more than any disk does are a disk that does not flush."""
FLUSHES = 60
BACKUP_DAYS = 7
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs", "fuse.glusterfs")
"""File systems on which SQLite's locks and log do not hold."""
IN_MEMORY = ("tmpfs", "ramfs")
_UNSYNCHRONISED = 0x0040
"""STA_UNSYNC of adjtimex(2)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing is."""

    what: str
    level: str
    text: str
    fix: str = ""


def examine_machine() -> Iterator[Finding]:
    """What does not depend on a clinic file."""
    yield python()
    yield sqlite()
    yield event_loop()
    yield open_files()
    yield clock()
    yield time_zones()


def examine_clinic(clinic: Clinic) -> Iterator[Finding]:
    """What a clinic's hub needs beside: its key, store, disk and ports."""
    settings = clinic.settings
    store = store_file(settings.store, settings.folder)
    running = is_running(store)
    yield Finding("hub", "ok", "a hub runs on this store" if running else "no hub runs on this store now")
    yield key(settings.key)
    yield from folder_of(store)
    yield room(store, settings.disk)
    yield file_system(store, is_postgres(settings.store))
    yield flushes(store)
    if not is_postgres(settings.store) and store.exists():
        yield from store_itself(store, settings.key)
    yield from ports(clinic, running)


# The machine.


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    system = "Windows" if os.name == "nt" else sys.platform
    hub = importlib.metadata.version("clinic-hub")
    return Finding("python", "ok", f"Python {version} on {system}, Clinic Hub {hub}")


def sqlite() -> Finding:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        return Finding("sqlite", "error", f"SQLite is {version}; the hub needs {wanted} or newer", "use a newer Python")
    if not has_wal_reset_fix(sqlite3.sqlite_version_info):
        text = f"SQLite {version} has the WAL-reset bug (mended in 3.51.3); the hub keeps clear of it"
        return Finding(
            "sqlite", "ok", f"{text}, other programs that write to the store do not", "only read the store, with `hub`"
        )
    return Finding("sqlite", "ok", f"SQLite {version}")


def has_wal_reset_fix(version: tuple[int, ...]) -> bool:
    """sqlite.org/wal.html: mended in 3.51.3, and in 3.50.7 and 3.44.6."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def event_loop() -> Finding:
    if importlib.util.find_spec("uvloop") is not None:
        return Finding("event loop", "ok", "uvloop")
    if os.name == "nt":
        return Finding("event loop", "warning", "uvloop does not exist for Windows: the hub does about half as much a second")
    return Finding("event loop", "warning", "uvloop is not installed: the hub does about half as much", "pip install uvloop")


def open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding("open files", "ok", "no limit that can be asked for on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES_WANTED:
        return Finding("open files", "ok", f"{soft} may be open")
    fix = f"ulimit -n {FILES_WANTED}" if hard == resource.RLIM_INFINITY or hard >= FILES_WANTED else "raise the hard limit too"
    return Finding(
        "open files", "warning", f"only {soft} files may be open", f"LimitNOFILE={FILES_WANTED} in the unit, or {fix}"
    )


def clock() -> Finding:
    """A clock that is wrong makes checks late, and codes and certificates fail."""
    now = datetime.now(UTC)
    built = datetime(2026, 1, 1, tzinfo=UTC)
    if now < built:
        return Finding("clock", "error", f"it is {now:%Y-%m-%d} by this machine's clock, which is over", "set the clock")
    state = _clock_state()
    if state is None:
        return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC; whether it is kept right cannot be asked on this system")
    if state & _UNSYNCHRONISED:
        return Finding(
            "clock", "warning", f"{now:%Y-%m-%d %H:%M} UTC, but nothing keeps it right", "turn on chrony or systemd-timesyncd"
        )
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC, kept right")


def _clock_state() -> int | None:
    """The status bits of adjtimex(2), which only Linux has."""
    if sys.platform != "linux":
        return None
    try:
        buffer = ctypes.create_string_buffer(512)
        ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return (
        int.from_bytes(buffer.raw[40:44], sys.byteorder) if ctypes.sizeof(ctypes.c_long) == 8 else None
    )  # struct timex.status


def time_zones() -> Finding:
    try:
        zoneinfo.ZoneInfo("America/Chicago")
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        return Finding("time zones", "error", "there is no time zone database", "pip install tzdata")
    own = any(Path(folder, "America/Chicago").exists() for folder in zoneinfo.TZPATH)
    return Finding("time zones", "ok", "of the system" if own else "of the package tzdata; update it once a year")


# One clinic.


def is_running(store: Path) -> bool:
    if not hasattr(socket, "AF_UNIX"):
        return False
    path = control_socket(store)
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(2.0)
        try:
            asked.connect(str(path))
        except OSError:
            return False
    return True


def key(path: Path) -> Finding:
    try:
        read_key(path)
    except HubError as error:
        return Finding("key", "error", str(error), f"hub explain {error.code}")
    return Finding("key", "ok", f"{path}; a copy of it elsewhere is the only way to read the store if it is lost")


def folder_of(store: Path) -> Iterator[Finding]:
    folder = nearest(store.parent)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "store", "error", f"{folder} cannot be written by this user", f"chown it to the user of the hub: {folder}"
        )
    if os.name != "posix":
        return
    for path in (store, store.with_name(store.name + ".files")):
        if path.exists() and (mode := path.stat().st_mode & 0o777) & 0o077:
            text = f"{path} is open to others ({mode:o}); what is in it is sealed"
            yield Finding("store", "warning", text, f"chmod go= {path}")


def room(store: Path, settings: Any) -> Finding:
    from hub.bus.space import limits

    usage = shutil.disk_usage(nearest(store.parent))
    warn, stop = limits(settings, usage.total)
    text = f"{size_in_words(usage.free)} of {size_in_words(usage.total)} are free"
    if usage.free < stop:
        return Finding(
            "disk", "error", f"{text}; below {size_in_words(stop)} nothing is taken in", "make room or move the store"
        )
    if usage.free < warn:
        return Finding(
            "disk", "warning", f"{text}; from {size_in_words(warn)} on that is an alarm", "make room or move the store"
        )
    return Finding("disk", "ok", text)


def file_system(store: Path, elsewhere: bool) -> Finding:
    kind = kind_of_file_system(nearest(store.parent))
    if kind is None:
        return Finding("file system", "ok", "cannot be asked on this system; it must be a local disk")
    if kind in NETWORK and not elsewhere:
        return Finding(
            "file system", "error", f"the store is on {kind}, a network share", "put it on a local disk, or use PostgreSQL"
        )
    if kind in IN_MEMORY:
        return Finding(
            "file system", "error", f"the store is on {kind}: it is gone when the machine restarts", "put it on a disk"
        )
    return Finding("file system", "ok", kind)


def kind_of_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """By the longest mount point that holds the path; None where there is no such list."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return None
    path = path.resolve()
    found = [(len(point), kind) for _, point, kind, *_ in lines if path.is_relative_to(point.replace("\\040", " "))]
    return max(found, default=(0, None))[1]


def flushes(store: Path) -> Finding:
    """How many times a second the disk says that something is on it: what the acknowledgements wait for."""
    folder = nearest(store.parent)
    try:
        rate, worst = flush_rate(folder)
    except OSError as error:
        return Finding(
            "flushes", "error", f"a file in {folder} cannot be brought to disk: {error.strerror}", "look at the disk"
        )
    text = f"{rate:.0f} a second, the slowest took {worst * 1000:.1f} ms"
    if rate < SLOW_FLUSH:
        return Finding(
            "flushes", "warning", f"{text}: one sender alone gets no more acknowledgements than that", "a faster disk"
        )
    if rate > FAST_FLUSH:
        fix = "turn the write cache off, or be sure that it outlives a power cut"
        return Finding("flushes", "warning", f"{text}: no disk is that fast, so it does not wait for the disk", fix)
    return Finding("flushes", "ok", text)


def flush_rate(folder: Path, count: int = FLUSHES) -> tuple[float, float]:
    """Flushes of 4 KB a second, and seconds of the slowest."""
    path = folder / f".hub-doctor.{os.getpid()}"
    flush = getattr(os, "fdatasync", os.fsync)
    try:
        with path.open("wb", buffering=0) as handle:
            taken = []
            for _ in range(count):
                began = time.perf_counter()
                handle.write(b"\0" * 4096)
                flush(handle.fileno())
                taken.append(time.perf_counter() - began)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return count / max(sum(taken), 1e-9), max(taken)


def store_itself(store: Path, key: Path) -> Iterator[Finding]:
    """What the store says: whether the key is its own, what the clock was, when it was last copied."""
    address = f"file:{quote(str(store))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=5.0)) as connection:
            check = connection.execute("SELECT value FROM info WHERE name = 'key'").fetchone()
            newest = connection.execute("SELECT at FROM message ORDER BY seq DESC LIMIT 1").fetchone()
            copied = connection.execute("SELECT max(at) FROM audit WHERE action = 'backup'").fetchone()
    except sqlite3.Error as error:
        yield Finding("store", "error", f"{store} cannot be read ({error})", "hub restore FILE, from the newest whole backup")
        return
    with contextlib.suppress(HubError):  # what is wrong with the key was said already
        if check is not None and Seal(read_key(key)).check != check[0]:
            yield Finding("key", "error", "the key file does not belong to this store", "put the right one back")
    if newest is not None and newest[0] / 1e6 > time.time() + 3600:
        yield Finding("clock", "warning", "the newest message is of the future: the clock was or is wrong", "look at the clock")
    days = (time.time() - copied[0] / 1e6) / 86400 if copied is not None and copied[0] else None
    if days is None or days > BACKUP_DAYS:
        text = "the store was never backed up" if days is None else f"the last backup was made {days:.0f} days ago"
        yield Finding("backup", "warning", text, "hub backup FILE, from a timer (deploy/)")
    else:
        yield Finding("backup", "ok", f"the last one was made {days * 24:.0f} hours ago")


def ports(clinic: Clinic, running: bool) -> Iterator[Finding]:
    """Whether listeners can have their ports; those of a running hub are its own."""
    for name, connection in clinic.settings.connections.items():
        port, host = getattr(connection.config, "port", 0), getattr(connection.config, "host", None)
        if not issubclass(connection.connector, Source) or not port or not isinstance(host, str):
            continue
        if running:
            yield Finding("port", "ok", f"{port} of {name} is for the hub that runs")
            continue
        error = _cannot_listen(host, port)
        if error is not None:
            fix = "stop what has it, or choose another one" if port >= 1024 else "a port from 1024 on, or CAP_NET_BIND_SERVICE"
            yield Finding("port", "error", f"{host}:{port} of {name} cannot be had: {error}", fix)
        else:
            yield Finding("port", "ok", f"{host}:{port} of {name} is free")


def _cannot_listen(host: str, port: int) -> str | None:
    try:
        [family, kind, _, _, address] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            if os.name == "posix":
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder

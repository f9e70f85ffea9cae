"""The files of bodies over 256 KB and of what records keep: named by a keyed digest of their content, complete and on disk
before their row is.

A file may belong to several messages and records, and to one that is about to be committed: it is taken away when no row names
it and nobody was given its name for an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from hub.bus.failpoints import reached
from hub.errors import NotFound, StoreBroken, StoreFull
from hub.security.seal import Seal

GRACE = 3600.0
"""Seconds in which a file without a row, or a draft, may still be on its way into the store."""
_AT_ONCE = 500
"""Files that are asked for in one query."""
_DRAFT = ".part"


class BodyFiles:
    """Writes, reads and takes away the files of one store."""

    def __init__(self, seal: Seal, folder: Path) -> None:
        self.folder = folder
        self._seal = seal
        self._handing_out = threading.Lock()
        self._handed_out: dict[str, float] = {}
        """Names and when, by the monotonic clock, they were last given to somebody who will commit a row with them."""

    def path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def write(self, body: bytes) -> str:
        """The name of the file; raises StoreFull when there is no room now, StoreBroken when it cannot be synced."""
        name = self._seal.digest(body).hex()
        path = self.path(name)
        draft = path.with_name(f"{name}.{os.getpid()}.{os.urandom(4).hex()}{_DRAFT}")
        try:
            if not self._is_there(name):
                path.parent.mkdir(exist_ok=True)
                with draft.open("wb") as handle:
                    for piece in self._seal.seal_in_pieces(body, f"file|{name}"):
                        handle.write(piece)
                    handle.flush()
                    reached("body_written")
                    _sync(handle.fileno())
                reached("body_synced")
                draft.replace(path)
                reached("body_named")
            _sync_folder(path.parent)  # also of a file that is there: whoever named it may have ended before this
            _sync_folder(self.folder)
        except OSError as error:
            raise StoreFull(f"a large body cannot be written below {self.folder}: {error.strerror}; it waits") from None
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()
        return name

    def hold(self, name: str) -> None:
        """Keeps a file that is there for whoever will commit its name; raises NotFound, StoreBroken or StoreFull."""
        try:
            if not self._is_there(name):
                raise _gone(name)
            _sync_folder(self.path(name).parent)
            _sync_folder(self.folder)
        except OSError as error:
            raise StoreFull(f"a large body cannot be kept below {self.folder}: {error.strerror}; it waits") from None

    def _is_there(self, name: str) -> bool:
        with self._handing_out:
            self._handed_out[name] = time.monotonic()
            if there := (path := self.path(name)).exists():
                os.utime(path)  # tells other hubs on this store that it is wanted again
            return there

    def read(self, name: str) -> bytes:
        """The body; raises NotFound, or SealBroken when the file was changed."""
        try:
            with self.path(name).open("rb") as file:
                return self._seal.open_file(file, f"file|{name}")
        except FileNotFoundError:
            raise _gone(name) from None

    # Taking away.

    async def collect(self, in_use: Callable[[list[str]], Awaitable[set[str]]]) -> tuple[int, int]:
        """Takes away files that no row names and drafts that a crash left; returns how many of each."""
        files = drafts = 0
        for block in await asyncio.to_thread(lambda: list(self._blocks())):
            names = [path.name for path in block if path.suffix != _DRAFT]
            named = await in_use(names) if names else set()
            idle = [path for path in block if path.name not in named]
            gone = await asyncio.to_thread(self._take_away, idle)
            drafts += sum(path.suffix == _DRAFT for path in gone)
            files += sum(path.suffix != _DRAFT for path in gone)
        self._forget_old()
        return files, drafts

    def _blocks(self) -> Iterator[list[Path]]:
        block: list[Path] = []
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            block.append(path)
            if len(block) == _AT_ONCE:
                yield block
                block = []
        yield block

    def _take_away(self, paths: list[Path]) -> list[Path]:
        return [path for path in paths if self._took_away(path)]

    def _took_away(self, path: Path) -> bool:
        with self._handing_out, contextlib.suppress(OSError):
            wanted = time.monotonic() - self._handed_out.get(path.name, -GRACE) < GRACE
            if wanted or time.time() - path.stat().st_mtime < GRACE:
                return False
            path.unlink()
            return True
        return False

    def _forget_old(self) -> None:
        with self._handing_out:
            oldest = time.monotonic() - GRACE
            self._handed_out = {name: moment for name, moment in self._handed_out.items() if moment > oldest}


def _gone(name: str) -> NotFound:
    return NotFound(f"the file {name} of a message body or document is gone")


def _sync(handle: int) -> None:
    """Raises StoreBroken: after a failed sync nobody knows what is on disk, and trying again would hide it."""
    try:
        os.fsync(handle)
    except OSError as error:
        raise StoreBroken(f"a file of the store cannot be brought to disk ({error.strerror})") from None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)

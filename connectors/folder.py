"""Exchanges messages as files in a folder.

Coming in: a file is taken when its size has not changed for a while, by renaming it into `.hub/`, where no other program
looks; it is deleted (or moved to `done/`) after the hub owns it.  A file that was taken when the hub died is delivered again
and recognised by its name and checksum.  Of several hubs on one folder one looks at a time: `.hub/` is locked meanwhile.
Whoever may write into the folder is not trusted: links are not followed, names are not told.
Going out: a file is written under another name, synced, and renamed when it is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, field_validator

from hub.connector import AnyConnector, Deliver, Destination, DestinationConfig, Poller, SourceConfig
from hub.errors import ConnectionDown
from hub.formats.hl7v2 import split
from hub.hookspecs import hookimpl
from hub.message import Message
from hub.net.files import UNFINISHED, NameTemplate, file_name
from hub.units import Duration, Size

log = structlog.get_logger(__name__)

if sys.platform != "win32":
    import fcntl

CLAIMED = ".hub"
LONGEST_NAME = 255
"""Bytes of a file's name on the usual file systems."""
LONGEST_ENDING = 16
"""Characters of a name behind its last dot that are taken for the kind of the file."""


class FolderConfig(SourceConfig, DestinationConfig):
    """A folder to read messages from, or to write them to."""

    path: Path
    """The folder; it must exist."""
    pattern: str = "*"
    """Which files of the folder to take, by their names: *.hl7"""
    format: str = "hl7v2"
    """What the files hold: hl7v2, x12, document (PDF, TIFF and pictures) or bytes."""
    every: Duration = Field(default=5.0, gt=0)
    """How often to look."""
    stable_for: Duration = Field(default=2.0, ge=0)
    """How long a file must not have changed before it is taken."""
    after: Literal["delete", "keep"] = "delete"
    """What happens to a file the hub owns: delete it, or keep it in `done/`."""
    max_size: Size = Field(default=64 * 1024 * 1024, ge=1024)
    """Longest file; a longer one goes to `failed/`."""
    name: NameTemplate = Field(default="{id}.msg", max_length=120)
    """Name of files that are written; {id} is the message's id, without which one would replace another, {type} its type."""
    charset: str | None = None
    """Charset of the files, over what they say themselves."""

    @field_validator("pattern")
    @classmethod
    def _is_for_names(cls, pattern: str) -> str:
        if not re.fullmatch(r"[^/\x00]+", pattern):
            raise ValueError("expected a pattern for names of files in the folder itself, such as *.hl7")
        return pattern


class Folder(Poller[FolderConfig], Destination[FolderConfig]):
    """Files in a folder, coming or going."""

    kind = "folder"
    repeat = "safe"

    def __init__(self, name: str, config: FolderConfig) -> None:
        super().__init__(name, config)
        self._sizes: dict[str, tuple[int, int, float]] = {}
        """Size, time of change, and since when they are so, of files that may still grow."""

    # In.

    async def poll(self, deliver: Deliver) -> None:
        folder = self._folder()
        with _only_one(folder / CLAIMED) as ours:
            for claimed in await asyncio.to_thread(self._claim_all) if ours else ():
                await deliver(await asyncio.to_thread(self._messages, claimed))
                await asyncio.to_thread(self._finish, claimed)

    def _folder(self) -> Path:
        """The folder, when it is there and no link leads from it to elsewhere; raises ConnectionDown."""
        folder = self.config.path
        if not folder.is_dir():
            raise ConnectionDown(f"{self.name}: the folder {folder} does not exist or cannot be read", code="FIL-001")
        for name in (CLAIMED, "done", "failed"):
            if (folder / name).is_symlink():
                raise ConnectionDown(
                    f"{self.name}: {folder / name} is a link, and the hub follows none here; put a folder in its place",
                    code="FIL-003",
                )
        return folder

    def _claim_all(self) -> list[Path]:
        """Everything that is ours to deliver: what was claimed before a crash, and files that have stopped changing."""
        box = self.config.path / CLAIMED
        box.mkdir(exist_ok=True)
        claimed = sorted(entry for entry in box.iterdir() if self._is_ours(entry))
        wanted = [entry for entry in sorted(self.config.path.iterdir()) if self._is_wanted(entry)]
        names = {entry.name for entry in wanted}
        self._sizes = {name: seen for name, seen in self._sizes.items() if name in names}
        taken = (self._claim(entry, box) for entry in wanted if self._is_stable(entry))
        return claimed + [entry for entry in taken if entry is not None]

    def _is_wanted(self, entry: Path) -> bool:
        return not entry.name.startswith(".") and not entry.name.endswith(UNFINISHED) and self._is_ours(entry)

    def _is_ours(self, entry: Path) -> bool:
        """Other connections may take other files of the same folder."""
        return fnmatchcase(entry.name, self.config.pattern) and entry.is_file() and not entry.is_symlink()

    def _is_stable(self, entry: Path) -> bool:
        try:
            stat = entry.stat()
        except FileNotFoundError:
            return False
        now = time.monotonic()
        size, changed, since = self._sizes.get(entry.name, (-1, 0, now))
        if (stat.st_size, stat.st_mtime_ns) != (size, changed):
            self._sizes[entry.name] = (stat.st_size, stat.st_mtime_ns, now)
            return self.config.stable_for == 0
        return now - since >= self.config.stable_for

    def _claim(self, entry: Path, box: Path) -> Path | None:
        """Renaming is what makes it ours."""
        target = box / entry.name
        if target.exists():
            return None  # one of the same name is still on its way
        try:
            if entry.stat().st_size > self.config.max_size:
                self._move(entry, "failed")
                log.warning("a file is too long", connection=self.name, limit=self.config.max_size)
                return None
            entry.rename(target)
        except FileNotFoundError:
            return None
        self._sizes.pop(entry.name, None)
        return target

    def _messages(self, claimed: Path) -> list[Message]:
        body = claimed.read_bytes()
        checksum = hashlib.sha256(body).hexdigest()
        name = os.fsencode(claimed.name).decode("utf-8", "backslashreplace")
        parts = [part.body for part in split(body)[0]] if self.config.format == "hl7v2" else []
        return [
            Message(part, self.config.format, headers={"file": name}, duplicate_key=f"{name}|{checksum}|{index}")
            for index, part in enumerate(parts or [body])
        ]

    def _finish(self, claimed: Path) -> None:
        if self.config.after == "delete":
            claimed.unlink(missing_ok=True)
        else:
            self._move(claimed, "done")

    def _move(self, entry: Path, folder: str) -> None:
        box = self.config.path / folder
        box.mkdir(exist_ok=True)
        target = box / entry.name
        if target.exists():
            target = box / _another(entry.name)
        entry.rename(target)

    # Out.

    async def send(self, message: Message) -> Message | None:
        await asyncio.to_thread(self._write, message)
        return Message(b"", "bytes", headers={"answer": "written"})

    def _write(self, message: Message) -> None:
        folder = self._folder()
        name = file_name(self.config.name, message)
        draft = folder / f".{name}.part"
        try:
            with draft.open("wb") as handle:
                handle.write(message.body)
                handle.flush()
                os.fsync(handle.fileno())
            draft.replace(folder / name)
            _sync(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise ConnectionDown(f"{self.name}: cannot write into {folder}: {error.strerror}", code="FIL-002") from None

    async def check(self) -> str:
        self._folder()
        return f"the folder {self.config.path} is there"


@contextlib.contextmanager
def _only_one(box: Path) -> Iterator[bool]:
    """True when no other hub looks into the folder now.  The lock ends with the process, however it ends.

    Where there are no such locks, a file two hubs took at once is recognised as a duplicate.
    """
    if sys.platform == "win32":
        yield True
        return
    box.mkdir(exist_ok=True)
    handle = os.open(box, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        yield False
        return
    except OSError:
        pass  # a network file system without locks
    try:
        yield True
    finally:
        os.close(handle)


def _another(name: str) -> str:
    """The name with the time in it, cut where file systems would not take it."""
    path = Path(name)
    ending = f".{time.time_ns()}{path.suffix if len(path.suffix) <= LONGEST_ENDING else ''}"
    room = LONGEST_NAME - len(os.fsencode(ending))
    return os.fsencode(path.stem)[:room].decode("utf-8", "ignore") + ending


def _sync(folder: Path) -> None:
    """Makes names in the folder durable, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [Folder]

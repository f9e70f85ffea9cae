"""Exchanges messages as files in a folder.

Coming in: a file is taken when its size has not changed for a while, by renaming it into `.hub/`, where no other program
looks; it is deleted (or moved to `done/`) after the hub owns it.  A file that was taken when the hub died is delivered again
and recognised by its name and checksum.  Going out: a file is written under another name, synced, and renamed when it is whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field

from hub.connector import AnyConnector, Deliver, Destination, DestinationConfig, Poller, SourceConfig
from hub.errors import ConnectionDown
from hub.formats.hl7v2 import split
from hub.hookspecs import hookimpl
from hub.message import Message
from hub.units import Duration, Size

log = structlog.get_logger(__name__)

CLAIMED = ".hub"
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
"""Endings by which programs mark files they are still writing."""


class FolderConfig(SourceConfig, DestinationConfig):
    """A folder to read messages from, or to write them to."""

    path: Path
    """The folder; it must exist."""
    pattern: str = "*"
    """Which files to take: *.hl7"""
    format: str = "hl7v2"
    """What the files hold: hl7v2, x12 or bytes."""
    every: Duration = Field(default=5.0, gt=0)
    """How often to look."""
    stable_for: Duration = Field(default=2.0, ge=0)
    """How long a file must not have changed before it is taken."""
    after: Literal["delete", "keep"] = "delete"
    """What happens to a file the hub owns: delete it, or keep it in `done/`."""
    max_size: Size = Field(default=64 * 1024 * 1024, ge=1024)
    """Longest file; a longer one goes to `failed/`."""
    name: str = Field(default="{id}.msg", pattern=r"^[A-Za-z0-9._{}-]+$")
    """Name of files that are written; {id} is the message's id, {type} its type."""
    charset: str | None = None
    """Charset of the files, over what they say themselves."""


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
        for claimed in await asyncio.to_thread(self._claim_all):
            body = await asyncio.to_thread(claimed.read_bytes)
            await deliver(self._messages(claimed.name, body))
            await asyncio.to_thread(self._finish, claimed)

    def _claim_all(self) -> list[Path]:
        """Everything that is ours to deliver: what was claimed before a crash, and files that have stopped changing."""
        folder = self._folder()
        box = folder / CLAIMED
        box.mkdir(exist_ok=True)
        claimed = sorted(entry for entry in box.iterdir() if entry.is_file())
        present: set[str] = set()
        for entry in sorted(folder.glob(self.config.pattern)):
            if self._is_wanted(entry):
                present.add(entry.name)
                if self._is_stable(entry) and (taken := self._claim(entry, box)) is not None:
                    claimed.append(taken)
        self._sizes = {name: seen for name, seen in self._sizes.items() if name in present}
        return claimed

    def _folder(self) -> Path:
        if not self.config.path.is_dir():
            raise ConnectionDown(f"{self.name}: the folder {self.config.path} does not exist or cannot be read", code="FIL-001")
        return self.config.path

    def _is_wanted(self, entry: Path) -> bool:
        if entry.name.startswith(".") or entry.name.endswith(UNFINISHED) or entry.is_symlink() or not entry.is_file():
            return False
        return len(entry.relative_to(self.config.path).parts) == 1

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
        """Renaming is what makes it ours: of several programs only one succeeds."""
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

    def _messages(self, name: str, body: bytes) -> list[Message]:
        checksum = hashlib.sha256(body).hexdigest()
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
            target = box / f"{entry.stem}.{time.time_ns()}{entry.suffix}"
        entry.rename(target)

    # Out.

    async def send(self, message: Message) -> Message | None:
        await asyncio.to_thread(self._write, message)
        return None

    def _write(self, message: Message) -> None:
        folder = self._folder()
        name = self.config.name.replace("{id}", message.id).replace("{type}", _safe(message.type))
        draft = folder / f".{name}.part"
        try:
            with draft.open("wb") as handle:
                handle.write(message.body)
                handle.flush()
                os.fsync(handle.fileno())
            draft.replace(folder / name)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ConnectionDown(f"{self.name}: cannot write into {folder}: {error.strerror}", code="FIL-002") from None

    async def check(self) -> str:
        self._folder()
        return f"the folder {self.config.path} is there"


def _safe(text: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in text)


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [Folder]

"""The ids partners gave to questions under way, by message: in memory, and in a folder where there is one.

A file is named by the hub's id of the message and holds the partner's id of the question: nothing about a patient.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from hub.errors import ConnectionDown

_MESSAGE = re.compile(r"[A-Za-z0-9]{1,64}")
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class Remembered:
    """What is known of questions that were taken and whose results are not finished with."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self._name, self._folder = name, folder
        self._ids: dict[str, tuple[str, float]] = {}
        """The id, and when it came; seconds since 1970."""

    def open(self) -> None:
        """Makes the folder; raises ConnectionDown when that cannot be."""
        if self._folder is not None:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise self._unusable(error) from None

    def get(self, message: str) -> str | None:
        if message in self._ids:
            return self._ids[message][0]
        if (file := self._file(message)) is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                text = file.read_text(encoding="ascii").strip()
                return text if is_id(text) else None
        return None

    def put(self, message: str, id: str) -> None:
        """On disk when it returns; raises ConnectionDown when it cannot be written."""
        self._ids[message] = id, time.time()
        if (file := self._file(message)) is None:
            return
        draft = file.with_name(f".{file.name}.part")
        try:
            with draft.open("w", encoding="ascii") as out:
                out.write(id)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(file)
        except OSError as error:
            raise self._unusable(error) from None

    def forget(self, message: str) -> None:
        self._ids.pop(message, None)
        if (file := self._file(message)) is not None:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def older_than(self, seconds: float) -> list[str]:
        """Messages whose ids came so long ago that no result can be waiting any more: given up, or left by a hub that died."""
        now = time.time()
        found = {message for message, (_, at) in self._ids.items() if now - at > seconds}
        with contextlib.suppress(OSError):
            for file in self._folder.iterdir() if self._folder is not None else ():
                if _MESSAGE.fullmatch(file.name) and now - file.stat().st_mtime > seconds:
                    found.add(file.name)
        return sorted(found)

    def _file(self, message: str) -> Path | None:
        return self._folder / message if self._folder is not None and _MESSAGE.fullmatch(message) else None

    def _unusable(self, error: OSError) -> ConnectionDown:
        text = f"{self._name}: the folder of `remember_in` cannot be written: {error.strerror}. Let the hub's user write it."
        return ConnectionDown(text, code="FIL-001")


def is_id(text: str) -> bool:
    """Whether a text can be a partner's id: printable, in one word, of a length anybody would choose."""
    return bool(_ID.fullmatch(text))

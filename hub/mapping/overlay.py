"""A mapping laid over those it extends: what they say together, and which file says what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.errors import Problem
from hub.yaml_text import Document, Key


class Layers:
    """The documents from the mapping itself down to the most general one."""

    def __init__(self, top: Document) -> None:
        self._documents = [top]
        self._said_by: dict[Key, Document] = {}
        self.data: dict[str, Any] = {}
        """What all of them say together, once they are merged."""

    @property
    def bottom(self) -> Document:
        return self._documents[-1]

    def put_under(self, base: Document) -> None:
        self._documents.append(base)

    @property
    def problems(self) -> list[Problem]:
        return [problem for document in self._documents for problem in document.problems.sorted()]

    def merge(self) -> None:
        """Mappings merge, everything else replaces."""
        for document in reversed(self._documents):
            self.data = self._over(self.data, document.data, document, ())
        self.data.pop("extends", None)

    def _over(self, base: dict[str, Any], over: dict[str, Any], document: Document, key: Key) -> dict[str, Any]:
        merged = dict(base)
        for name, value in over.items():
            here = (*key, name)
            below = merged.get(name)
            if isinstance(value, dict) and isinstance(below, dict):
                merged[name] = self._over(below, value, document, here)
            else:
                merged[name] = value
                self._replace(here, document)
        return merged

    def _replace(self, key: Key, document: Document) -> None:
        self._said_by = {other: by for other, by in self._said_by.items() if other[: len(key)] != key}
        self._said_by[key] = document

    def _document(self, key: Key) -> Document:
        """The file that says what stands at a key, or at its nearest parent."""
        while key:
            if key in self._said_by:
                return self._said_by[key]
            key = key[:-1]
        return self._documents[0]

    def report(self, code: str, key: Key, text: str, *, of_key: bool = False, help: str = "") -> None:
        self._document(key).report(code, key, text, of_key=of_key, help=help)

    def folder(self, key: Key) -> Path:
        """Where the file lies that says what stands at a key."""
        return Path(self._document(key).file).parent

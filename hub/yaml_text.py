"""YAML read as text, with the place of everything.

No type is guessed: the MRN `00042` stays `00042`, `NO` stays a word, `06:00` stays a time.  Duplicate keys, anchors, aliases
and tags are mistakes, each reported with its place, and reading goes on so that all of them are found at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from hub.errors import Problem, Problems

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; lines and columns count from 1."""

    file: str
    line: int
    column: int
    source: str = ""
    width: int = 1


@dataclass(slots=True)
class Document:
    """What a file says, as dicts, lists and texts, and where each part stands."""

    data: Any
    file: str
    keys: dict[Key, Place] = field(default_factory=dict)
    """Place of the key a part is filed under (of the item, in a list)."""
    values: dict[Key, Place] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)

    def place(self, key: Key, *, of_key: bool = False) -> Place:
        """Where a part stands; for a part that is not there, its nearest parent."""
        first, second = (self.keys, self.values) if of_key else (self.values, self.keys)
        while key:
            if found := first.get(key) or second.get(key):
                return found
            key, first, second = key[:-1], self.keys, self.values
        return Place(self.file, 1, 1)

    def problem(
        self,
        code: str,
        key: Key,
        text: str,
        *,
        of_key: bool = False,
        expected: str = "",
        help: str = "",
        level: str = "error",
    ) -> Problem:
        place = self.place(key, of_key=of_key)
        return Problem(code, text, place.file, place.line, place.column, place.source, place.width, expected, help, level)

    def report(self, code: str, key: Key, text: str, **details: Any) -> None:
        self.problems.add(self.problem(code, key, text, **details))


def load_file(path: FilePath) -> Document:
    """Raises nothing: a file that cannot be read is a problem of the document."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        document = Document(None, str(path))
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        document.problems.add(Problem("CFG-001", f"cannot read the file: {reason}", str(path)))
        return document
    return load_text(text, str(path))


def load_text(text: str, file: str) -> Document:
    document = Document(None, file)
    builder = _Builder(document, text.splitlines())
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        source = builder.lines[line - 1] if line <= len(builder.lines) else ""
        document.problems.add(Problem("CFG-002", f"this is no YAML: {error.problem}", file, line, column, source))
        return document
    except yaml.YAMLError as error:
        document.problems.add(Problem("CFG-002", f"this is no YAML: {error}", file, 1, 1))
        return document
    document.data = builder.build(events)
    return document


class _Builder:
    """Builds plain data from YAML events; events know about aliases before anybody follows them."""

    def __init__(self, document: Document, lines: list[str]) -> None:
        self.document = document
        self.lines = lines
        self.events: list[Any] = []
        self.position = 0

    def build(self, events: list[Any]) -> Any:
        self.events = [e for e in events if not isinstance(e, yaml.StreamStartEvent | yaml.StreamEndEvent)]
        starts = [e for e in self.events if isinstance(e, yaml.DocumentStartEvent)]
        if len(starts) > 1:
            self.problem("CFG-003", "a second document begins here; a file holds one", starts[1])
        self.events = [e for e in self.events if not isinstance(e, yaml.DocumentStartEvent | yaml.DocumentEndEvent)]
        return self.node(()) if self.events else None

    def place(self, event: Any, width: int = 1) -> Place:
        line, column = event.start_mark.line, event.start_mark.column
        source = self.lines[line] if line < len(self.lines) else ""
        return Place(self.document.file, line + 1, column + 1, source, max(1, width))

    def problem(self, code: str, text: str, event: Any, width: int = 1, help: str = "") -> None:
        place = self.place(event, width)
        self.document.problems.add(
            Problem(code, text, place.file, place.line, place.column, place.source, place.width, help=help)
        )

    def node(self, key: Key) -> Any:
        event = self.events[self.position]
        self.position += 1
        self.document.values[key] = self.place(event, len(getattr(event, "value", "") or "") or 1)
        if getattr(event, "anchor", None):
            kind = "an alias (*)" if isinstance(event, yaml.AliasEvent) else "an anchor (&)"
            self.problem("CFG-004", f"{kind} is not allowed; write the value out", event, len(event.anchor) + 1)
        if isinstance(event, yaml.AliasEvent):
            return ""
        if (tag := getattr(event, "tag", None)) and tag != "!":
            self.problem("CFG-005", f"the tag {tag!r} is not allowed; every value is read as text", event, len(tag))
        if isinstance(event, yaml.ScalarEvent):
            # A bare key without a value means "nothing said"; quotes make an empty text of it.
            return event.value if event.value or event.style else None
        return self.mapping(key) if isinstance(event, yaml.MappingStartEvent) else self.sequence(key)

    def mapping(self, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(self.events[self.position], yaml.MappingEndEvent):
            event = self.events[self.position]
            if not isinstance(event, yaml.ScalarEvent):
                self.problem("CFG-006", "a key must be a plain word", event)
                self.node((*key, "?"))
                self.node((*key, "?"))
                continue
            self.position += 1
            if event.anchor:
                self.problem("CFG-004", "an anchor (&) is not allowed; write the value out", event)
            name, place = event.value, self.place(event, len(event.value))
            if name in found:
                first = self.document.keys[(*key, name)]
                self.problem(
                    "CFG-007",
                    f"{name!r} is written twice; the first is in line {first.line}",
                    event,
                    len(name),
                    "keep one of the two",
                )
                self.node((*key, name, "second"))
                continue
            self.document.keys[(*key, name)] = place
            found[name] = self.node((*key, name))
        self.position += 1
        return found

    def sequence(self, key: Key) -> list[Any]:
        found: list[Any] = []
        while not isinstance(self.events[self.position], yaml.SequenceEndEvent):
            here = (*key, len(found))
            self.document.keys[here] = self.place(self.events[self.position])
            found.append(self.node(here))
        self.position += 1
        return found

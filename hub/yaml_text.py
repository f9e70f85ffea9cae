"""YAML read as text, with the place of everything.

No type is guessed: the MRN `00042` stays `00042`, `NO` stays a word, `06:00` stays a time.  Duplicate keys, anchors, aliases
and tags are mistakes, each reported with its place, and reading goes on so that all of them are found at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

import yaml

from hub.errors import Problem, Problems

Key = tuple[str | int, ...]

DEEPEST = 50
"""No file of a clinic has so many parts inside each other; the reader stops there."""


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
    """Raises nothing; a text that cannot be read to its end has no data, but all mistakes up to there."""
    document = Document(None, file)
    builder = _Builder(document, [without_secrets(line) for line in text.splitlines()])
    events, stop = _events(text)
    data = builder.build(events)
    if stop is None:
        document.data = data
    else:
        builder.stopped(stop)
    return document


# What may stand behind these words is not shown when the line is, whatever mistake is in it.
_SUSPICIOUS = r"pass?w(or)?d|pass[_-]?(phrase|code)|secret|token(?!_url)|api[_-]?key|credential"
_VALUE = r"""(?:"(?:\\.|[^"\\])*"?|'(?:''|[^'])*'?|\[[^\]]*\]?|%s)"""
_BEHIND_SUCH_A_WORD = {
    in_braces: re.compile(rf"(?i)[\w-]*(?:{_SUSPICIOUS})[\w-]*[\"']?\s*:\s*(?!\{{\s*\$)(?P<secret>{_VALUE % plain})")
    for in_braces, plain in ((False, "[^ ].*"), (True, r"[^ ,}][^,}]*"))
}
_IN_AN_ADDRESS = re.compile(r"://(?P<secret>[^\s/@'\"]+)@")


def without_secrets(line: str) -> str:
    """A line of a file as it may be shown: what looks like a secret is dotted out, and everything keeps its column."""
    for pattern in (_BEHIND_SUCH_A_WORD["{" in line], _IN_AN_ADDRESS):
        line = pattern.sub(_dotted, line)
    return line


def _dotted(found: re.Match[str]) -> str:
    start, end = (place - found.start() for place in found.span("secret"))
    return found[0][:start] + "•" * (end - start) + found[0][end:]


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why and where a text cannot be read any further; line and column count from 0."""

    text: str
    line: int
    column: int


@lru_cache(maxsize=64)  # a reload reads the same files again while the hub works, and most of its time would go here
def _events(text: str) -> tuple[Sequence[Any], _Stop | None]:
    """The events of a text, as far as it can be read."""
    events: list[Any] = []
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        return [], _unreadable_character(text, error)
    try:
        depth = 0
        while loader.check_event():
            event: Any = loader.get_event()  # type: ignore[no-untyped-call]
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                mark = event.start_mark
                return events, _Stop(f"more than {DEEPEST} parts stand inside each other here", mark.line, mark.column)
            events.append(event)
    except yaml.MarkedYAMLError as error:
        found: Any = error.problem_mark or error.context_mark
        return events, _Stop(f"this is no YAML: {error.problem}", found.line, found.column)
    except (ValueError, OverflowError):  # PyYAML believes what escapes and version numbers say
        return events, _Stop("this is no YAML: a number stands for no character or no version", loader.line, loader.column)
    return events, None


def _unreadable_character(text: str, error: yaml.reader.ReaderError) -> _Stop:
    lines = (text[: error.position] + "x").splitlines()
    return _Stop(f"the character U+{error.character:04X} is not allowed in YAML", len(lines) - 1, len(lines[-1]) - 1)


class _Builder:
    """Builds plain data from YAML events; events know about aliases before anybody follows them.

    Events may end in the middle, where the text could not be read any further.
    """

    def __init__(self, document: Document, lines: list[str]) -> None:
        self.document = document
        self.lines = lines
        self.events: list[Any] = []
        self.position = 0

    def build(self, events: Sequence[Any]) -> Any:
        self.events = [e for e in events if not isinstance(e, yaml.StreamStartEvent | yaml.StreamEndEvent)]
        starts = [e for e in self.events if isinstance(e, yaml.DocumentStartEvent)]
        if len(starts) > 1:
            self.problem("CFG-003", "a second document begins here; a file holds one", starts[1])
        self.events = [e for e in self.events if not isinstance(e, yaml.DocumentStartEvent | yaml.DocumentEndEvent)]
        return self.node(())

    def stopped(self, stop: _Stop) -> None:
        file, line = self.document.file, self.line(stop.line)
        self.document.problems.add(Problem("CFG-002", stop.text, file, stop.line + 1, stop.column + 1, line))

    def line(self, number: int) -> str:
        return self.lines[number] if number < len(self.lines) else ""

    def place(self, event: Any, width: int = 1) -> Place:
        mark = event.start_mark
        return Place(self.document.file, mark.line + 1, mark.column + 1, self.line(mark.line), max(1, width))

    def problem(self, code: str, text: str, event: Any, width: int = 1, help: str = "") -> None:
        place = self.place(event, width)
        self.document.problems.add(
            Problem(code, text, place.file, place.line, place.column, place.source, place.width, help=help)
        )

    def over(self, end: type[Any]) -> bool:
        return self.position >= len(self.events) or isinstance(self.events[self.position], end)

    def node(self, key: Key) -> Any:
        if self.position >= len(self.events):
            return None
        event = self.events[self.position]
        self.position += 1
        self.document.values[key] = self.place(event, len(getattr(event, "value", "") or "") or 1)
        self.refuse_anchor_and_tag(event)
        if isinstance(event, yaml.AliasEvent):
            return ""
        if isinstance(event, yaml.ScalarEvent):
            # A bare key without a value means "nothing said"; quotes make an empty text of it.
            return event.value if event.value or event.style else None
        return self.mapping(key) if isinstance(event, yaml.MappingStartEvent) else self.sequence(key)

    def refuse_anchor_and_tag(self, event: Any) -> None:
        if event.anchor:
            kind = "an alias (*)" if isinstance(event, yaml.AliasEvent) else "an anchor (&)"
            self.problem("CFG-004", f"{kind} is not allowed; write the value out", event, len(event.anchor) + 1)
        if tag := getattr(event, "tag", None):
            self.problem("CFG-005", f"the tag {tag!r} is not allowed; every value is read as text", event, len(tag))

    def mapping(self, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self.over(yaml.MappingEndEvent):
            event = self.events[self.position]
            if not isinstance(event, yaml.ScalarEvent):
                self.problem("CFG-006", "a key must be a plain word", event)
                self.node((*key, "?"))
                self.node((*key, "?"))
                continue
            self.position += 1
            self.refuse_anchor_and_tag(event)
            name = event.value
            if name in found:
                self.written_twice(key, event)
                self.node((*key, name, "second"))
                continue
            self.document.keys[(*key, name)] = self.place(event, len(name))
            found[name] = self.node((*key, name))
        self.position += 1
        return found

    def written_twice(self, key: Key, event: Any) -> None:
        name = event.value
        first = self.document.keys[(*key, name)]
        text = f"{name!r} is written twice; the first is in line {first.line}"
        self.problem("CFG-007", text, event, len(name), "keep one of the two")

    def sequence(self, key: Key) -> list[Any]:
        found: list[Any] = []
        while not self.over(yaml.SequenceEndEvent):
            here = (*key, len(found))
            self.document.keys[here] = self.place(self.events[self.position])
            found.append(self.node(here))
        self.position += 1
        return found

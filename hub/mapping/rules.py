"""One rule of a mapping: where a value comes from, and a short pipe of named transforms.

    SCH-2.1 | default SCH-1.1 | required
    PV1-2 | table visit_type.csv unknown=keep
    PID-7 | date?
    OBX[*]-5 | join ' '
    'front desk'
    header appointment

A path gives its first value, with `[*]` all of them (transforms then work on each).  A `?` behind a transform makes the
value empty when the transform cannot work on it; without it the message is rejected.  There are no conditions, loops or
arithmetic: anything cleverer is a transform written in Python, with a name and a test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.errors import MessageUnusable
from hub.format import Fields
from hub.transform import Transform, TransformContext

_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|[^\s|]+|\|")
_PIPE_WORDS = ("default", "required", "table", "join")
NULL = '""'
"""HL7's "delete this" (chapter 2, section 2.5.3.2), told apart from empty."""


class RuleError(ValueError):
    """A rule that cannot be understood; the text says what is wrong and what there is instead."""


@dataclass(frozen=True, slots=True)
class Table:
    """A code table and what happens to codes that are not in it."""

    name: str
    values: Mapping[str, str]
    unknown: str = "reject"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from."""

    kind: str
    """`path`, `text` or `header`."""
    text: str

    def read(self, fields: Fields, headers: Mapping[str, str]) -> Any:
        match self.kind:
            case "text":
                return self.text or None
            case "header":
                return headers.get(self.text) or None
        if "[*]" in self.text:
            return fields.get_all(self.text) or None
        return fields.get(self.text)


@dataclass(slots=True)
class Notes:
    """What a mapping noticed that a person should know (a cause and a sentence), and where the value at hand came from."""

    found: list[tuple[str, str]] = field(default_factory=list)
    at: str = ""


Apply = Callable[[Any, Fields, TransformContext, Notes], Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to run."""

    text: str
    origin: Origin
    pipe: tuple[Apply, ...]
    target: str

    def value(self, fields: Fields, context: TransformContext, notes: Notes) -> Any:
        """The value; None when empty.  Raises MessageUnusable when a transform cannot work on it."""
        notes.at = self.origin.text
        value = self.origin.read(fields, context.headers or {})
        for apply in self.pipe:
            value = apply(value, fields, context, notes)
        return value


def parse_rule(
    text: str, target: str, transforms: Mapping[str, Transform], tables: Mapping[str, Table]
) -> tuple[Rule, list[str]]:
    """The rule and the paths it reads; raises RuleError."""
    parts = _split(text)
    if not parts or not parts[0]:
        raise RuleError("a rule begins with a path, a text in quotes, or `header NAME`")
    origin = _origin(parts[0])
    paths = [origin.text] if origin.kind == "path" else []
    pipe: list[Apply] = []
    for words in parts[1:]:
        if not words:
            raise RuleError("there is nothing between two |")
        apply, more = _transform(words, target, transforms, tables)
        pipe.append(apply)
        paths += more
    return Rule(text, origin, tuple(pipe), target), paths


def _split(text: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in _TOKEN.findall(text):
        if token == "|":  # noqa: S105 - a pipe, not a password
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _origin(words: Sequence[str]) -> Origin:
    if words[0] == "header":
        if len(words) != 2:
            raise RuleError("`header` takes one name: header appointment")
        return Origin("header", words[1])
    if len(words) != 1:
        raise RuleError(f"a rule begins with one path; put a | before {words[1]!r}")
    return Origin("text", words[0][1:-1]) if words[0][0] in "'\"" else Origin("path", words[0])


def _transform(
    words: Sequence[str], target: str, transforms: Mapping[str, Transform], tables: Mapping[str, Table]
) -> tuple[Apply, list[str]]:
    name, lenient, arguments = words[0].rstrip("?"), words[0].endswith("?"), list(words[1:])
    match name:
        case "required":
            return _required(target), []
        case "default":
            return _default(arguments)
        case "join":
            return _join(arguments), []
        case "table":
            return _table(arguments, tables, lenient), []
    if name not in transforms:
        raise RuleError(f"there is no transform {name!r}", [*transforms, *_PIPE_WORDS])
    transform = transforms[name]
    fewest, most = transform.arguments
    if not fewest <= len(arguments) <= most:
        wanted = "no argument" if most == 0 else f"{fewest} argument(s)" if fewest == most else f"at least {fewest} argument(s)"
        raise RuleError(f"the transform {name!r} takes {wanted}, here are {len(arguments)}")
    return _named(transform, [_unquote(a) for a in arguments], target, lenient), []


def _unquote(word: str) -> str:
    return word[1:-1] if word[0] in "'\"" else word


def _named(transform: Transform, arguments: list[str], target: str, lenient: bool) -> Apply:
    def one(value: Any, context: TransformContext, at: str) -> Any:
        if value == NULL or (value is None and not transform.on_empty):
            return value
        try:
            return transform.run(value, arguments, context)
        except ValueError as error:
            if lenient:
                return None
            raise MessageUnusable(f"{at} {error}, but {target} needs it", code="MAP-002") from None

    def apply(value: Any, _: Fields, context: TransformContext, notes: Notes) -> Any:
        if isinstance(value, list):
            return [result for item in value if (result := one(item, context, notes.at)) is not None] or None
        return one(value, context, notes.at)

    return apply


def _required(target: str) -> Apply:
    def apply(value: Any, _: Fields, __: TransformContext, notes: Notes) -> Any:
        if value is None or value == NULL:
            raise MessageUnusable(f"{notes.at} is empty, but {target} needs it", code="MAP-001")
        return value

    return apply


def _default(arguments: list[str]) -> tuple[Apply, list[str]]:
    if not arguments:
        raise RuleError("`default` takes a path, a text in quotes, or `header NAME`")
    other = _origin(arguments)

    def apply(value: Any, fields: Fields, context: TransformContext, notes: Notes) -> Any:
        if value is not None:
            return value
        found = other.read(fields, context.headers or {})
        if found is not None:
            notes.at = other.text
        return found

    return apply, [other.text] if other.kind == "path" else []


def _join(arguments: list[str]) -> Apply:
    if len(arguments) > 1:
        raise RuleError("`join` takes one text to put between: join ', '")
    between = _unquote(arguments[0]) if arguments else ""

    def apply(value: Any, _: Fields, __: TransformContext, ___: Notes) -> Any:
        return between.join(str(item) for item in value) if isinstance(value, list) else value

    return apply


def _table(arguments: list[str], tables: Mapping[str, Table], lenient: bool) -> Apply:
    if not arguments:
        raise RuleError("`table` takes the name of a table: table status")
    if arguments[0] not in tables:
        raise RuleError(f"there is no table {arguments[0]!r}", list(tables))
    table = tables[arguments[0]]
    unknown = table.unknown
    for argument in arguments[1:]:
        if argument not in ("unknown=reject", "unknown=keep", "unknown=worklist"):
            raise RuleError(f"{argument!r}: after the table comes unknown=reject, unknown=keep or unknown=worklist")
        unknown = argument.removeprefix("unknown=")

    def one(value: Any, notes: Notes) -> Any:
        if value is None or value == NULL:
            return value
        found = table.values.get(str(value).strip())
        if found is not None or lenient:
            return found
        if unknown == "keep":
            return value
        sentence = f"{notes.at} has a code that is not in the table {table.name}"
        if unknown == "reject":
            raise MessageUnusable(sentence, code="MAP-003")
        notes.found.append((f"table {table.name}", f"{sentence}. Add it to the table."))
        return None

    def apply(value: Any, _: Fields, __: TransformContext, notes: Notes) -> Any:
        if isinstance(value, list):
            return [result for item in value if (result := one(item, notes)) is not None] or None
        return one(value, notes)

    return apply

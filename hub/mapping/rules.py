"""One rule of a mapping: where a value comes from, and a short pipe of named transforms.

    SCH-2.1 | default SCH-1.1 | required
    PV1-2 | table visit_type.csv unknown=keep
    words | words kind
    PID-7 | date?
    OBX[*]-5 | join ' '
    TQ1-8 | datetime? | else SCH-11.4 | datetime? | plus {SCH-9} {SCH-10}
    'front desk'
    header appointment
    made starts_at | plus_minutes 30

`words` is a table whose codes are words or phrases: the first of them that stands in the text gives its meaning, and none gives
nothing; capitals and the length of gaps make no difference.

A path gives its first value, with `[*]` (`OBX[*,2=ED]-5`) all of them: transforms then work on each.  `made` gives what the
rule of another field makes, that stands above it in the same block.  A `?` behind a transform makes the value empty when the
transform cannot work on it; without it the message is rejected.  `default` takes another path or text when the value is empty,
`else` begins another rule for that.  HL7's `""` ("there is none") counts as empty for both, and stays when nothing else is
found.  There are no conditions, loops or arithmetic: anything cleverer is a transform in Python, with a name and a test.
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
_PIPE_WORDS = ("default", "else", "required", "table", "words", "join")
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
    """`path`, `text`, `header` or `made`."""
    text: str
    rule: Rule | None = None
    """The rule whose value is taken, for `made`."""

    def read(self, fields: Fields, context: TransformContext, notes: Notes) -> Any:
        if self.rule is not None:
            return self.rule.value(fields, context, notes)
        match self.kind:
            case "text":
                return self.text or None
            case "header":
                return (context.headers or {}).get(self.text) or None
        return read_path(fields, self.text)


def read_path(fields: Fields, path: str) -> Any:
    if "[*" not in path:
        return fields.get(path)
    values = fields.get_all(path)
    return [value for value in values if value != NULL] or (NULL if values else None)


def is_empty(value: Any) -> bool:
    """Nothing said, or said to be nothing."""
    return value is None or value == NULL


@dataclass(slots=True)
class Notes:
    """What a mapping noticed that a person should know (a cause and a sentence), and where the value at hand came from."""

    found: list[tuple[str, str]] = field(default_factory=list)
    at: str = ""


Apply = Callable[[Any, Fields, TransformContext, Notes], Any]


@dataclass(frozen=True, slots=True)
class Pipe:
    """An origin, and what is done with its value."""

    origin: Origin
    steps: tuple[Apply, ...]

    def value(self, fields: Fields, context: TransformContext, notes: Notes) -> Any:
        notes.at = self.origin.text
        value = self.origin.read(fields, context, notes)
        for apply in self.steps:
            value = apply(value, fields, context, notes)
        return value


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, ready to run: the first of its pipes that gives something counts."""

    text: str
    target: str
    pipes: tuple[Pipe, ...]
    paths: tuple[str, ...]
    """All it reads of the message."""

    def value(self, fields: Fields, context: TransformContext, notes: Notes) -> Any:
        """The value; None when empty.  Raises MessageUnusable when a transform cannot work on it."""
        empty = None
        for pipe in self.pipes:
            value = pipe.value(fields, context, notes)
            if not is_empty(value):
                return value
            empty = empty or value
        return empty

    @property
    def empties(self) -> bool:
        """True for the rule `''`."""
        return self.text.strip() in ("''", '""')

    @property
    def copies(self) -> str | None:
        """The one path whose value this rule takes as it is; None when it does more."""
        first = self.pipes[0]
        plain = len(self.pipes) == 1 and not first.steps and first.origin.kind == "path"
        return first.origin.text if plain and "[*" not in first.origin.text else None

    def is_said(self, fields: Fields) -> bool:
        """True when the message says something where this rule reads it."""
        return any(not is_empty(read_path(fields, path)) for path in self.paths)


def parse_rule(
    text: str,
    target: str,
    transforms: Mapping[str, Transform],
    tables: Mapping[str, Table],
    rules: Mapping[str, Rule] | None = None,
) -> tuple[Rule, list[str]]:
    """The rule and the paths it reads; raises RuleError.  `rules` are those above it, for `made`."""
    above = rules or {}
    pipes: list[Pipe] = []
    paths: list[str] = []
    for parts in _alternatives(_split(text)):
        if not parts[0]:
            raise RuleError("a rule begins with a path, a text in quotes, `header NAME` or `made FIELD`")
        origin, steps = _origin(parts[0], above), list[Apply]()
        read = [origin]
        for words in parts[1:]:
            if not words:
                raise RuleError("there is nothing between two |")
            apply, more = _transform(words, target, transforms, tables, above)
            steps.append(apply)
            read += more
        pipes.append(Pipe(origin, tuple(steps)))
        paths += [one.text for one in read if one.kind == "path"]
    return Rule(text, target, tuple(pipes), tuple(paths)), paths


def _split(text: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in _TOKEN.findall(text):
        if token == "|":  # noqa: S105 - a pipe, not a password
            parts.append([])
        elif token[0] in "'\"" and (len(token) == 1 or token[-1] != token[0]):
            raise RuleError(f"a quote begins at {token[0]} and does not end")
        else:
            parts[-1].append(token)
    return parts


def _alternatives(parts: list[list[str]]) -> list[list[list[str]]]:
    """The parts between one `else` and the next."""
    found: list[list[list[str]]] = [[]]
    for words in parts:
        if found[-1] and words[:1] == ["else"]:
            found.append([words[1:]])
        else:
            found[-1].append(words)
    return found


def _origin(words: Sequence[str], above: Mapping[str, Rule]) -> Origin:
    if words[0] == "made":
        if len(words) != 2 or words[1] not in above:
            raise RuleError("`made` takes one field that has a rule further up: made starts_at", list(above))
        return Origin("made", words[1], above[words[1]])
    if words[0] == "header":
        if len(words) != 2:
            raise RuleError("`header` takes one name: header appointment")
        return Origin("header", words[1])
    if len(words) != 1:
        raise RuleError(f"a rule begins with one path; put a | before {words[1]!r}")
    return Origin("text", words[0][1:-1]) if words[0][0] in "'\"" else Origin("path", words[0])


def _transform(
    words: Sequence[str],
    target: str,
    transforms: Mapping[str, Transform],
    tables: Mapping[str, Table],
    above: Mapping[str, Rule],
) -> tuple[Apply, list[Origin]]:
    name, lenient, arguments = words[0].rstrip("?"), words[0].endswith("?"), list(words[1:])
    match name:
        case "required":
            return _required(target), []
        case "default":
            return _default(arguments, above)
        case "join":
            return _join(arguments), []
        case "table":
            return _table(arguments, tables, lenient), []
        case "words":
            return _words(arguments, tables), []
    if name not in transforms:
        raise RuleError(f"there is no transform {name!r}", [*transforms, *_PIPE_WORDS])
    transform = transforms[name]
    fewest, most = transform.arguments
    if not fewest <= len(arguments) <= most:
        wanted = "no argument" if most == 0 else f"{fewest} argument(s)" if fewest == most else f"at least {fewest} argument(s)"
        raise RuleError(f"the transform {name!r} takes {wanted}, here are {len(arguments)}")
    read = [_argument(word) for word in arguments]
    if transform.check and not any(argument.kind == "path" for argument in read):
        try:
            transform.check([argument.text for argument in read])
        except ValueError as error:
            raise RuleError(f"the transform {name!r} {error}") from None
    return _named(transform, read, target, lenient), read


def _unquote(word: str) -> str:
    return word[1:-1] if word[0] in "'\"" else word


def _argument(word: str) -> Origin:
    """A word, a text in quotes, or a path in braces."""
    if not (word[0] == "{" and word[-1] == "}"):
        return Origin("text", _unquote(word))
    if "[*" in word:
        raise RuleError(f"{word}: an argument is one value, so its path cannot say [*]")
    return Origin("path", word[1:-1])


def _named(transform: Transform, arguments: Sequence[Origin], target: str, lenient: bool) -> Apply:
    def run(value: Any, words: Sequence[str], context: TransformContext, at: str) -> Any:
        if value == NULL or (value is None and not transform.on_empty):
            return value
        for one in value if transform.whole else [value]:
            if one is not None and not isinstance(one, transform.takes):
                wrong = f"is {_kind(type(one))}, and {transform.name} works on {_kind(transform.takes)}"
                raise MessageUnusable(f"{at}: what comes before it in the rule of {target} {wrong}", code="MAP-002")
        try:
            return transform.run(value, words, context)
        except ValueError as error:
            if lenient:
                return None
            raise MessageUnusable(f"{at} {error}, but {target} needs it", code="MAP-002") from None

    def apply(value: Any, fields: Fields, context: TransformContext, notes: Notes) -> Any:
        words = [_word(argument.read(fields, context, notes)) for argument in arguments]
        if transform.whole and not is_empty(value):
            return run(value if isinstance(value, list) else [value], words, context, notes.at)
        if isinstance(value, list):
            results = (run(item, words, context, notes.at) for item in value)
            return [result for result in results if result is not None] or None
        return run(value, words, context, notes.at)

    return apply


def _word(value: Any) -> str:
    return "" if is_empty(value) else str(value)


def _kind(type: type) -> str:
    return {
        "str": "a text",
        "date": "a day",
        "datetime": "a moment",
        "int": "a number",
        "bool": "yes or no",
        "bytes": "a document",
    }.get(type.__name__, f"a {type.__name__}")


def _required(target: str) -> Apply:
    def apply(value: Any, _: Fields, __: TransformContext, notes: Notes) -> Any:
        if is_empty(value):
            raise MessageUnusable(f"{notes.at} is empty, but {target} needs it", code="MAP-001")
        return value

    return apply


def _default(arguments: list[str], above: Mapping[str, Rule]) -> tuple[Apply, list[Origin]]:
    if not arguments:
        raise RuleError("`default` takes a path, a text in quotes, `header NAME` or `made FIELD`")
    other = _origin(arguments, above)

    def apply(value: Any, fields: Fields, context: TransformContext, notes: Notes) -> Any:
        if not is_empty(value):
            return value
        at = notes.at
        found = other.read(fields, context, notes)
        notes.at = at if found is None else other.text
        if found is None:
            return value
        return found

    return apply, [other]


def _join(arguments: list[str]) -> Apply:
    if len(arguments) > 1:
        raise RuleError("`join` takes one text to put between: join ', '")
    between = _unquote(arguments[0]) if arguments else ""

    def apply(value: Any, _: Fields, __: TransformContext, ___: Notes) -> Any:
        return between.join(str(item) for item in value) if isinstance(value, list) else value

    return apply


def _words(arguments: list[str], tables: Mapping[str, Table]) -> Apply:
    if len(arguments) != 1:
        raise RuleError("`words` takes the name of a table: words kind")
    if arguments[0] not in tables:
        raise RuleError(f"there is no table {arguments[0]!r}", list(tables))
    phrases = [(_phrase(code), meaning) for code, meaning in tables[arguments[0]].values.items()]

    def one(value: Any) -> Any:
        text = str(value)
        return next((meaning for phrase, meaning in phrases if phrase.search(text)), None)

    def apply(value: Any, _: Fields, __: TransformContext, ___: Notes) -> Any:
        values = value if isinstance(value, list) else [value]
        return next((found for item in values if not is_empty(item) and (found := one(item)) is not None), None)

    return apply


def _phrase(code: str) -> re.Pattern[str]:
    """These words, whole and one after another."""
    return re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, code.split())) + r"(?!\w)", re.IGNORECASE)


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

"""Mapping files: read with places, checked whole, extended by overlays.

    from: hl7v2                 # a format, or a kind of record
    to: appointment             # a kind of record, or a format that can be written
    each: PID                   # optional: one result for each group
    fields:
      id: SCH-2.1 | default SCH-1.1 | required
      coverages: {each: IN1, when: {IN1-2: [PPO, HMO]}, fields: {member_id: IN1-36}}
    tables:
      status: {S12: booked, S13: rescheduled}

In a list, an item is left out when the message says nothing in it, or not what every item must have; `when` lets through only
items for which it holds, and is written like the filter of a flow, with paths.

`to: hl7v2` changes the HL7 v2 message that was read: each field is a path (`MSH-5`, `PID-3[5=MR].4.1`, `ZHB-1`) and is set to
what its rule gives; everything else leaves byte for byte as it came.  A rule that gives nothing leaves its field as it is,
`''` empties it, `'""'` says that there is none.  A path alone copies what stands there, escapes and all; several values (`[*]`)
become the repetitions of a whole field.  A Z segment that is missing is added at the end, others where their place is certain
(EVN, TQ1, PD1, PV1, PV2, IN2, IN3); elsewhere the message is refused.  Setting MSH-18 writes the whole message in that charset.
From a record (`from: visit_coverage`) a message of its own is written, its segments in the order in which the fields name them.

`extends: other` takes another mapping and lays this one over it: fields, tables and lists merge, a rule replaces a rule.  A
table whose name ends in `.csv` is a file beside the mapping that names it, with the columns `code` and `meaning`.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from hub.catalogue import Catalogue
from hub.errors import Problem
from hub.format import Fields, Format, WritableFormat
from hub.formats import dotted
from hub.mapping.overlay import Layers
from hub.mapping.rules import Rule, RuleError, Table, parse_rule
from hub.records import Record
from hub.when import When, conditions_of, parse_when
from hub.yaml_text import Key, load_file

_LIST = ("each", "when", "fields")
_TOP = ("from", "to", "about", "each", "fields", "tables", "extends")


@dataclass(slots=True)
class Block:
    """Fields that are filled from one group of the message."""

    rules: dict[str, Rule] = field(default_factory=dict)
    lists: dict[str, Repeated] = field(default_factory=dict)

    def is_said(self, fields: Fields) -> bool:
        """True when the message says something that one of the rules reads."""
        return any(rule.is_said(fields) for rule in self.rules.values()) or any(
            inner.block.is_said(group) for inner in self.lists.values() for group in fields.each(inner.scope)
        )


@dataclass(slots=True)
class Repeated:
    """A list: the scope it repeats over, which items count, and the fields of one."""

    scope: str
    block: Block
    when: When
    required: frozenset[str]
    """Fields without which there is no item."""


@dataclass(slots=True)
class Mapping:
    """A mapping, ready to run."""

    name: str
    path: Path
    source: str
    target: str
    each: str | None
    block: Block
    source_format: Format | None = None
    """None when it reads a record."""
    source_model: type[Record] | None = None
    target_model: type[Record] | None = None
    target_format: WritableFormat | None = None

    @property
    def changes(self) -> bool:
        """Whether it changes the message it reads, and makes none of its own."""
        target = self.target_format
        return target is not None and target.changes and self.source_format is target


def load_mapping(name: str, catalogue: Catalogue) -> tuple[Mapping | None, list[Problem]]:
    """The mapping, or None with everything that is wrong with its file."""
    loader = _Loader(name, catalogue)
    mapping = loader.load()
    problems = loader.problems
    return (None if any(p.level == "error" for p in problems) else mapping), problems


class _Loader:
    def __init__(self, name: str, catalogue: Catalogue) -> None:
        self.name = name
        self.catalogue = catalogue
        self.path = catalogue.mappings[name]
        self.layers = Layers(load_file(self.path))
        self.scope: str | None = None
        """The `each` that rules stand in."""
        self.tables: dict[str, Table] = {}
        self.source_format: Format | None = None
        self.source_model: type[Record] | None = None
        self.target_model: type[Record] | None = None
        self.target_format: WritableFormat | None = None

    @property
    def problems(self) -> list[Problem]:
        return self.layers.problems

    def report(
        self, code: str, key: Key, text: str, names: Iterable[str] = (), *, of_key: bool = False, wrong: str = ""
    ) -> None:
        wrong = wrong or (str(key[-1]) if of_key else text)
        self.layers.report(code, key, text, of_key=of_key, help=_did_you_mean(wrong, names))

    def load(self) -> Mapping | None:
        if not self.read_layers():
            return None
        data = self.layers.data
        for name in data:
            if name not in _TOP:
                self.report("MAP-011", (name,), f"unknown field {name!r} in a mapping", _TOP, of_key=True)
        self.read_ends(data)
        self.check_changes(data)
        self.read_tables(data.get("tables"))
        each = data.get("each")
        if each is not None:
            self.check_scope(("each",), each)
            self.scope = each
        fields = data.get("fields")
        if not isinstance(fields, dict) or not fields:
            self.report("MAP-010", ("fields",), "a mapping needs `fields`")
            return None
        block = self.read_block(("fields",), fields, self.target_model)
        return Mapping(
            self.name, self.path, str(data.get("from")), str(data.get("to")), each, block,
            self.source_format, self.source_model, self.target_model, self.target_format,
        )  # fmt: skip

    def read_layers(self) -> bool:
        """Reads the mappings this one extends; False when there is nothing to go on with."""
        seen = {self.name}
        while True:
            bottom = self.layers.bottom
            if not isinstance(bottom.data, dict):
                if bottom.data is not None or not bottom.problems.found:
                    bottom.report("MAP-010", (), "a mapping file has `from`, `to` and `fields`")
                return False
            base = bottom.data.get("extends")
            if base is None:
                break
            if not isinstance(base, str) or base in seen or base not in self.catalogue.mappings:
                what = "extends itself" if base in (self.name, *seen) else f"extends {base!r}, which does not exist"
                names = self.catalogue.mappings
                bottom.report("MAP-012", ("extends",), f"the mapping {what}", help=_did_you_mean(str(base), names))
                break
            seen.add(base)
            self.layers.put_under(load_file(self.catalogue.mappings[base]))
        self.layers.merge()
        return True

    def read_ends(self, data: dict[str, Any]) -> None:
        catalogue = self.catalogue
        source, target = (name if isinstance(name := data.get(end), str) else None for end in ("from", "to"))
        if source in catalogue.formats:
            self.source_format = catalogue.formats[source]
        elif source in catalogue.records:
            self.source_model = catalogue.records[source].model
        else:
            names = [*catalogue.formats, *catalogue.records]
            self.report("MAP-013", ("from",), f"`from` is {_shown(source)}, which is no format and no record", names)
        if target in catalogue.records:
            self.target_model = catalogue.records[target].model
        elif isinstance(found := catalogue.formats.get(str(target)), WritableFormat):
            self.target_format = found
        else:
            names = [*catalogue.records, *(n for n, f in catalogue.formats.items() if isinstance(f, WritableFormat))]
            what = f"`to` is {_shown(target)}, which is no record and no format a mapping can write"
            self.report("MAP-013", ("to",), what, names)

    def check_changes(self, data: dict[str, Any]) -> None:
        """A format that is written by changing what was read needs one whole message to change."""
        changed = self.target_format
        if changed is None or not changed.changes:
            return
        if self.source_format is not None and self.source_format is not changed:
            what = f"a mapping to {changed.name} changes the message it reads, so `from` is {changed.name} or a kind of record"
            self.report("MAP-013", ("from",), what)
        if "each" in data:
            what = f"a mapping to {changed.name} is about one message, so it has no `each`"
            self.report("MAP-019", ("each",), what, of_key=True)

    def read_tables(self, tables: Any) -> None:
        if tables is None:
            return
        if not isinstance(tables, dict):
            self.report("MAP-014", ("tables",), "`tables` is a list of tables by name")
            return
        for name, content in tables.items():
            self.tables[name] = self.read_table(name, content)

    def read_table(self, name: str, content: Any) -> Table:
        key = ("tables", name)
        options = dict(content) if isinstance(content, dict) else {}
        if not name.endswith(".csv"):
            if not options or not all(isinstance(value, str) for value in options.values()):
                self.report("MAP-014", key, f"the table {name!r} is a list of `code: meaning`")
                return Table(name, {})
            return Table(name, options)
        unknown = options.pop("unknown", "reject")
        if options or unknown not in ("reject", "keep", "worklist"):
            self.report("MAP-014", key, f"the table {name!r} may say `unknown: reject`, `keep` or `worklist`, nothing else")
        return Table(name, self.read_csv(key, name), unknown)

    def read_csv(self, key: Key, name: str) -> dict[str, str]:
        file = self.layers.folder(key) / name
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                rows = csv.DictReader(lines)
                if not {"code", "meaning"} <= set(rows.fieldnames or ()):
                    self.report("MAP-015", key, f"the table file {name!r} needs the columns code and meaning")
                    return {}
                return self.read_rows(key, name, rows)
        except (OSError, UnicodeDecodeError, csv.Error):
            self.report("MAP-015", key, f"the table file {name!r} is not beside the mapping, or no CSV in UTF-8")
            return {}

    def read_rows(self, key: Key, name: str, rows: csv.DictReader[str]) -> dict[str, str]:
        table: dict[str, str] = {}
        for row in rows:
            code, meaning = (row["code"] or "").strip(), (row["meaning"] or "").strip()
            line = f"line {rows.line_num} of the table file {name!r}"
            if not code or not meaning:
                self.report("MAP-015", key, f"{line} needs a code and a meaning")
            elif code in table:
                self.report("MAP-015", key, f"{line} has a code that stands in an earlier line too")
            table.setdefault(code, meaning)
        return table

    def read_block(self, key: Key, fields: dict[str, Any], model: type[BaseModel] | None) -> Block:
        block = Block()
        for target, rule in fields.items():
            here = (*key, target)
            if problem := self.target_problem(target, model):
                self.report("MAP-016", here, problem[0], problem[1], of_key=True, wrong=target.rpartition(".")[2])
            elif problem_of_shape := self.shape_problem(target, rule, model):
                self.report("MAP-017", here, f"{target}: {problem_of_shape}")
            if isinstance(rule, dict):
                inner = self.read_list(here, rule, _item_model(model, target))
                if inner is not None:
                    block.lists[target] = inner
            elif isinstance(rule, str):
                self.read_rule(here, target, rule, block)
        return block

    def shape_problem(self, target: str, rule: Any, model: type[BaseModel] | None) -> str | None:
        """What is wrong with a list, or with one rule, where it stands."""
        if not isinstance(rule, str | dict):
            return "a rule is a path with transforms, or `each` with `fields`"
        if self.target_format is not None:
            return (
                f"{self.target_format.name} is written from single values, not from lists" if isinstance(rule, dict) else None
            )
        kind = _kind(model, target)
        if isinstance(rule, dict) and kind != "list":
            return "this takes one value, so it has a rule and no `each`"
        if isinstance(rule, str) and kind != "value":
            return (
                "this is a list, which needs `each` and `fields`"
                if kind == "list"
                else "this has fields of its own; fill those"
            )
        return None

    def read_list(self, key: Key, content: dict[str, Any], model: type[BaseModel] | None) -> Repeated | None:
        for name in content:
            if name not in _LIST:
                what = f"unknown field {name!r}; a list has `each`, `when` and `fields`"
                self.report("MAP-011", (*key, name), what, _LIST, of_key=True)
        scope, fields = content.get("each"), content.get("fields")
        if not isinstance(scope, str) or not isinstance(fields, dict) or not fields:
            self.report("MAP-017", key, "a list needs `each` (what it repeats over) and `fields`")
            return None
        self.check_scope((*key, "each"), scope)
        around, self.scope = self.scope, scope
        block = self.read_block((*key, "fields"), fields, model)
        when = self.read_when((*key, "when"), content.get("when"))
        self.scope = around
        return Repeated(scope, block, when, _required(model))

    def read_when(self, key: Key, content: Any) -> When:
        when = parse_when(content, lambda at, text: self.report("MAP-021", (*key, *at), text))
        for condition in conditions_of(when):
            if problem := self.path_problem(condition.key):
                self.report("MAP-019", (*key, *condition.place), problem, of_key=True)
        return when

    def read_rule(self, key: Key, target: str, text: str, block: Block) -> None:
        try:
            rule, paths = parse_rule(text, target, self.catalogue.transforms, self.tables, block.rules)
        except RuleError as error:
            names = error.args[1] if len(error.args) > 1 else ()
            self.report("MAP-018", key, f"{target}: {error.args[0]}", names, wrong=str(error.args[0]))
            return
        for path in paths:
            if problem := self.path_problem(path):
                self.report("MAP-019", key, f"{target}: {problem}")
        block.rules[target] = rule

    def path_problem(self, path: str) -> str | None:
        if self.source_format is not None:
            return self.source_format.path_error_within(path, self.scope)
        return dotted.path_error(path) if self.source_model is not None else None

    def check_scope(self, key: Key, scope: Any) -> None:
        if not isinstance(scope, str):
            self.report("MAP-019", key, "`each` is one segment, field or list to repeat over")
            return
        if problem := self.source_format.scope_error(scope) if self.source_format else self.path_problem(scope):
            self.report("MAP-019", key, problem)

    def target_problem(self, target: str, model: type[BaseModel] | None) -> tuple[str, list[str]] | None:
        if self.target_format is not None:
            problem = self.target_format.target_error(target)
            return (problem, []) if problem else None
        current = model
        for part in target.split("."):
            if current is None:
                return None
            if part not in current.model_fields:
                return f"{current.__name__} has no field {part!r}", list(current.model_fields)
            current = _inner_model(current, part)
        return None


def _shown(name: str | None) -> str:
    return "not a name" if name is None else repr(name)


def _inner_model(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    annotation = model.model_fields[name].annotation
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _item_model(model: type[BaseModel] | None, target: str) -> type[BaseModel] | None:
    current = model
    for part in target.split("."):
        if current is None or part not in current.model_fields:
            return None
        current = _inner_model(current, part)
    return current


def _kind(model: type[BaseModel] | None, target: str) -> str:
    """Whether a field of a record takes a `value`, a `list` of records, or is a `record`."""
    *parents, last = target.split(".")
    owner = _item_model(model, ".".join(parents)) if parents else model
    if owner is None or _inner_model(owner, last) is None:
        return "value"
    return "list" if get_origin(owner.model_fields[last].annotation) is list else "record"


def _required(model: type[BaseModel] | None) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if field.is_required()) if model else frozenset()


def _did_you_mean(text: str, names: Iterable[str]) -> str:
    names = list(names)
    words = [word.strip("'\"`.,;") for word in text.split()]
    for word in reversed(words):
        if word and (close := difflib.get_close_matches(word, names, n=1, cutoff=0.7)):
            return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(sorted(names)[:20])}" if names else ""

"""Mapping files: read with places, checked whole, extended by overlays.

    from: hl7v2                 # a format, or a kind of record
    to: appointment             # a kind of record, or a format that can be written
    each: PID                   # optional: one result for each group
    fields:
      id: SCH-2.1 | default SCH-1.1 | required
      coverages: {each: IN1, fields: {member_id: IN1-36}}
    tables:
      status: {S12: booked, S13: rescheduled}

In a list, an item whose first field is empty is left out.

`extends: other` takes another mapping and lays this one's fields and tables over it.  A table whose name ends in `.csv` is a
file beside the mapping with the columns `code` and `meaning`.
"""

from __future__ import annotations

import csv
import difflib
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hub.catalogue import Catalogue
from hub.errors import Problem
from hub.format import Format, WritableFormat
from hub.formats import dotted
from hub.mapping.rules import Rule, RuleError, Table, parse_rule
from hub.records import Record
from hub.yaml_text import Key, load_file

_TOP = ("from", "to", "about", "each", "fields", "tables", "extends")


@dataclass(slots=True)
class Block:
    """Fields that are filled from one group of the message."""

    rules: dict[str, Rule] = field(default_factory=dict)
    blocks: dict[str, tuple[str, Block]] = field(default_factory=dict)
    """Lists: target to the scope they repeat over and the fields of one item."""


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
        self.document = load_file(self.path)
        self.tables: dict[str, Table] = {}
        self.source_format: Format | None = None
        self.source_model: type[Record] | None = None
        self.target_model: type[Record] | None = None
        self.target_format: WritableFormat | None = None

    @property
    def problems(self) -> list[Problem]:
        return self.document.problems.sorted()

    def report(self, code: str, key: Key, text: str, names: Iterable[str] = (), *, of_key: bool = False) -> None:
        wrong = str(key[-1]) if of_key else ""
        self.document.report(code, key, text, of_key=of_key, help=_did_you_mean(wrong or text, names))

    def load(self) -> Mapping | None:
        data = self.document.data
        if not isinstance(data, dict):
            if data is not None or not self.document.problems.found:
                self.report("MAP-010", (), "a mapping file has `from`, `to` and `fields`")
            return None
        data = self.with_base(data)
        for name in data:
            if name not in _TOP:
                self.report("MAP-011", (name,), f"unknown field {name!r} in a mapping", _TOP, of_key=True)
        self.read_ends(data)
        self.read_tables(data.get("tables"))
        each = data.get("each")
        if each is not None:
            self.check_scope(("each",), each)
        fields = data.get("fields")
        if not isinstance(fields, dict) or not fields:
            self.report("MAP-010", ("fields",), "a mapping needs `fields`")
            return None
        block = self.read_block(("fields",), fields, self.target_model)
        return Mapping(
            self.name, self.path, str(data.get("from")), str(data.get("to")), each, block,
            self.source_format, self.source_model, self.target_model, self.target_format,
        )  # fmt: skip

    def with_base(self, data: dict[str, Any]) -> dict[str, Any]:
        base_name = data.get("extends")
        seen = {self.name}
        while base_name is not None:
            if base_name in seen or base_name not in self.catalogue.mappings:
                what = "extends itself" if base_name in seen else f"extends {base_name!r}, which does not exist"
                self.report("MAP-012", ("extends",), f"the mapping {what}", self.catalogue.mappings)
                return data
            seen.add(base_name)
            base = load_file(self.catalogue.mappings[base_name])
            if not isinstance(base.data, dict):
                self.document.problems.found += base.problems.found
                return data
            data = _overlay(base.data, data)
            base_name = base.data.get("extends")
        return {key: value for key, value in data.items() if key != "extends"}

    def read_ends(self, data: dict[str, Any]) -> None:
        catalogue = self.catalogue
        source, target = data.get("from"), data.get("to")
        if source in catalogue.formats:
            self.source_format = catalogue.formats[source]
        elif source in catalogue.records:
            self.source_model = catalogue.records[source].model
        else:
            names = [*catalogue.formats, *catalogue.records]
            self.report("MAP-013", ("from",), f"`from` is {source!r}, which is no format and no record", names)
        if target in catalogue.records:
            self.target_model = catalogue.records[target].model
        elif isinstance(found := catalogue.formats.get(str(target)), WritableFormat):
            self.target_format = found
        else:
            names = [*catalogue.records, *(n for n, f in catalogue.formats.items() if isinstance(f, WritableFormat))]
            self.report("MAP-013", ("to",), f"`to` is {target!r}, which is no record and no format a mapping can write", names)

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
        file = self.path.parent / name
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                rows = list(csv.DictReader(lines))
        except (OSError, UnicodeDecodeError):
            self.report("MAP-015", key, f"the table file {name!r} is not beside the mapping, or not UTF-8")
            return {}
        if rows and not {"code", "meaning"} <= rows[0].keys():
            self.report("MAP-015", key, f"the table file {name!r} needs the columns code and meaning")
            return {}
        return {row["code"].strip(): row["meaning"].strip() for row in rows}

    def read_block(self, key: Key, fields: dict[str, Any], model: type[BaseModel] | None) -> Block:
        block = Block()
        for target, rule in fields.items():
            here = (*key, target)
            if problem := self.target_problem(target, model):
                self.report("MAP-016", here, problem[0], problem[1], of_key=True)
            if isinstance(rule, dict):
                inner = self.read_list(here, rule, _item_model(model, target))
                if inner is not None:
                    block.blocks[target] = inner
            elif isinstance(rule, str):
                self.read_rule(here, target, rule, block)
            else:
                self.report("MAP-017", here, f"{target}: a rule is a path with transforms, or `each` with `fields`")
        return block

    def read_list(self, key: Key, content: dict[str, Any], model: type[BaseModel] | None) -> tuple[str, Block] | None:
        for name in content:
            if name not in ("each", "fields"):
                self.report("MAP-011", (*key, name), f"unknown field {name!r}; a list has `each` and `fields`", of_key=True)
        scope, fields = content.get("each"), content.get("fields")
        if not isinstance(scope, str) or not isinstance(fields, dict):
            self.report("MAP-017", key, "a list needs `each` (what it repeats over) and `fields`")
            return None
        self.check_scope((*key, "each"), scope)
        return scope, self.read_block((*key, "fields"), fields, model)

    def read_rule(self, key: Key, target: str, text: str, block: Block) -> None:
        try:
            rule, paths = parse_rule(text, target, self.catalogue.transforms, self.tables)
        except RuleError as error:
            names = error.args[1] if len(error.args) > 1 else ()
            self.document.report("MAP-018", key, f"{target}: {error.args[0]}", help=_did_you_mean(str(error.args[0]), names))
            return
        for path in paths:
            if problem := self.path_problem(path):
                self.document.report("MAP-019", key, f"{target}: {problem}")
        block.rules[target] = rule

    def path_problem(self, path: str) -> str | None:
        if self.source_format is not None:
            return self.source_format.path_error(path)
        return dotted.path_error(path)

    def check_scope(self, key: Key, scope: str) -> None:
        problem = self.source_format.scope_error(scope) if self.source_format else dotted.path_error(scope)
        if problem:
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


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings merge, everything else replaces."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _inner_model(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    for part in (model.model_fields[name].annotation, *typing.get_args(model.model_fields[name].annotation)):
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


def _did_you_mean(text: str, names: Iterable[str]) -> str:
    names = list(names)
    words = [word.strip("'\"`.,;") for word in text.split()]
    for word in reversed(words):
        if word and (close := difflib.get_close_matches(word, names, n=1, cutoff=0.7)):
            return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(sorted(names)[:20])}" if names else ""

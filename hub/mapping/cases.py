"""Cases of mappings and flows: exact expectations in YAML beside what they prove.

    - case: a new booking
      zone: America/Chicago            # default UTC
      given: |
        MSH|^~\\&|EPIC|RIVER|HUB|RIVER|20261123090000||SIU^S12|42|P|2.5
      expect: {id: F-77, status: booked}

    - case: no id is a rejection, never a guess
      given: ...
      rejected: SCH-1.1 is empty, but id needs it

`given` is a text (HL7 v2, X12) or, for mappings that read a record, its fields.  `expect` are the fields of the result; a list
of them when there are several results; a text when a message is written.  A field too many fails as much as one missing.
"""

from __future__ import annotations

import asyncio
import zoneinfo
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hub.errors import HubError, MessageUnusable, Problem
from hub.mapping.files import Mapping
from hub.mapping.run import run_mapping
from hub.message import Message
from hub.step import Context
from hub.transform import TransformContext
from hub.yaml_text import Document, load_file

FIELDS = ("case", "given", "expect", "rejected", "zone", "authority", "headers", "now")
NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
"""The time of cases that do not say `now`."""


@dataclass(slots=True)
class CaseResult:
    """What became of one case."""

    file: str
    name: str
    line: int
    differences: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.differences


def case_file(mapping: Mapping) -> Path:
    return mapping.path.with_name(f"{mapping.path.stem}.test.yaml")


def run_cases(mapping: Mapping) -> tuple[list[CaseResult], list[Problem]]:
    """Runs all cases of a mapping; a mapping without cases fails."""
    path = case_file(mapping)
    if not path.is_file():
        missing = CaseResult(
            str(mapping.path), "has cases", 1, [f"there is no {path.name} beside it: a mapping without cases proves nothing"]
        )
        return [missing], []
    document = load_file(path)
    data = document.data
    if data is None and document.problems.found:
        return [], document.problems.sorted()
    if not isinstance(data, list) or not data or not all(isinstance(case, dict) for case in data):
        document.report("MAP-020", (), "a case file is a list of cases")
        return [], document.problems.sorted()
    results = []
    with asyncio.Runner() as runner:
        for index, case in enumerate(data):
            _check_fields(document, index, case)
            results.append(_run(mapping, document, index, case, runner))
    return results, document.problems.sorted()


def _check_fields(document: Document, index: int, case: dict[str, Any]) -> None:
    for name in case:
        if name not in FIELDS:
            document.report(
                "MAP-020", (index, name), f"unknown field {name!r} in a case; there are {', '.join(FIELDS)}", of_key=True
            )
    if "given" not in case or ("expect" in case) == ("rejected" in case):
        document.report("MAP-020", (index,), "a case has `given`, and either `expect` or `rejected`")


def _run(mapping: Mapping, document: Document, index: int, case: dict[str, Any], runner: asyncio.Runner) -> CaseResult:
    result = CaseResult(document.file, str(case.get("case", f"case {index + 1}")), document.place((index,)).line)
    try:
        found = runner.run(_results(mapping, case))
    except MessageUnusable as error:
        _compare_rejection(result, case, str(error))
        return result
    except Exception as error:  # whatever a transform or a format of others does: the case fails, and the next one runs
        result.differences.append(f"could not be run: {_in_words(error)}")
        return result
    if "rejected" in case:
        result.differences.append(f"expected a rejection ({case['rejected']}), but it was accepted")
    elif "expect" in case:
        _compare(result, case["expect"], found)
    return result


def _in_words(error: Exception) -> str:
    known = isinstance(error, HubError | ValidationError | ValueError)
    return str(error) if known else f"{type(error).__name__}: {error}"


async def _results(mapping: Mapping, case: dict[str, Any]) -> list[Any]:
    message = _message(mapping, case)
    context = TransformContext(_zone(case), str(case.get("authority", "")), message.headers)
    made = run_mapping(mapping, message, context)
    if mapping.target_format is None:
        return [record.model_dump(mode="json", exclude_unset=True) for record in made.records]
    steady = _SteadyContext(case)
    written = [await mapping.target_format.write(values, message, steady.as_context()) for values in made.values]
    return [out.body.decode("utf-8", errors="replace") for out in written]


def _message(mapping: Mapping, case: dict[str, Any]) -> Message:
    given, headers = case.get("given"), case.get("headers") or {}
    if not isinstance(headers, dict):
        raise ValueError("`headers` are names with their values")
    headers = {str(name): str(value) for name, value in headers.items()}
    if mapping.source_model is not None:
        return Message(mapping.source_model.model_validate(given), mapping.source, headers=headers)
    text = str(given)
    if mapping.source == "x12":
        text = text.replace("\n", "")
    return Message(text.replace("\n", "\r").encode(), mapping.source, headers=headers)


def _zone(case: dict[str, Any]) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(str(case.get("zone", "UTC")))


class _SteadyContext:
    """What writing a format may ask for, the same in every run of a case."""

    def __init__(self, case: dict[str, Any]) -> None:
        from hub.step import Site

        self.now = datetime.fromisoformat(case["now"]) if "now" in case else NOW
        self.site = Site("case", _zone(case))
        self._numbers = 0

    def as_context(self) -> Context:
        return self  # type: ignore[return-value]  # formats ask for no more than this

    async def number(self, name: str) -> int:  # noqa: ARG002 - one counter will do
        self._numbers += 1
        return self._numbers

    def new_id(self, prefix: str = "") -> str:
        return f"{prefix}trace{self._numbers}"


# Comparing.


def _compare_rejection(result: CaseResult, case: dict[str, Any], reason: str) -> None:
    if "rejected" not in case:
        result.differences.append(f"rejected: {reason}")
    elif case["rejected"] != reason:
        result.differences += [f"expected rejection: {case['rejected']}", f"     but rejected: {reason}"]


def _compare(result: CaseResult, expected: Any, found: list[Any]) -> None:
    wanted = expected if isinstance(expected, list) else [expected]
    if len(wanted) != len(found):
        result.differences.append(f"expected {len(wanted)} result(s), got {len(found)}")
    for index, (want, got) in enumerate(zip(wanted, found, strict=False)):
        prefix = f"result {index + 1}: " if len(wanted) > 1 else ""
        result.differences += [prefix + line for line in differences(want, got)]


def differences(want: Any, got: Any) -> list[str]:
    """What differs, field by field, or line by line for texts."""
    if isinstance(got, str):
        left, right = _lines(str(want)), _lines(got)
    else:
        left, right = flatten(want), flatten(got)
    found = []
    for name in sorted({*left, *right}, key=_natural):
        if name not in right:
            found.append(f"{name}: expected {left[name]!r}, but there is none")
        elif name not in left:
            found.append(f"{name}: {right[name]!r} was not expected")
        elif left[name] != right[name]:
            found.append(f"{name}: expected {left[name]!r}, got {right[name]!r}")
    return found


def _natural(name: str) -> tuple[Any, ...]:
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in name.replace(" ", ".").split("."))


def _lines(text: str) -> dict[str, str]:
    segments = [part.strip() for part in text.replace("~", "~\n").replace("\r", "\n").split("\n")]
    return {f"line {number}": segment for number, segment in enumerate((s for s in segments if s), 1)}


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Fields by dotted path, as text; lists by position from 1."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    if value in ([], {}):
        return {prefix.rstrip("."): "nothing in it"} if prefix else {}
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in flatten(inner, f"{prefix}{name}.").items()}
    if isinstance(value, list):
        return {k: v for number, inner in enumerate(value, 1) for k, v in flatten(inner, f"{prefix}{number}.").items()}
    text = {True: "true", False: "false", None: "null"}.get(value) if isinstance(value, bool) or value is None else str(value)
    return {prefix.rstrip("."): text or ""}

"""All cases of a clinic: those of mappings, and those of flows, which stand beside the clinic file.

    - case: a booking is kept and planned
      flow: bookings
      given: |
        MSH|...
      saved:
        appointment: [{id: F-77, status: booked}]
      sent: []

    - case: a reminder of tomorrow's visit
      flow: reminders
      given: {reminder: F-77/1d}          # of a flow from due work: what was planned
      before: {reminder: [...], appointment: [...], patient: [...]}
      sent: [{to: texts, body: {text: "See you tomorrow"}}]     # of JSON only the fields that are named

A flow case names what is saved (by kind) and sent; what it does not name is not looked at.  Records that exist before are
given under `before`, by kind.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hub.bus.trial import Trial, message_for, try_flow
from hub.clinic import Clinic, examine, load_mappings
from hub.errors import ConfigError, HubError, Problem, Problems
from hub.formats.loose_json import Unreadable, read_object
from hub.mapping import Mapping, load_mapping
from hub.mapping.cases import NOW, CaseResult, differences, run_cases
from hub.records import Record
from hub.registry import Registry
from hub.yaml_text import Document, load_file

FIELDS = ("case", "flow", "given", "before", "headers", "from_step", "now", "saved", "sent", "rejected")


def cases_of(config: Path | None, paths: list[Path]) -> tuple[list[CaseResult], list[Problem]]:
    """Runs the cases at these paths; without paths, all of the clinic, or the built-in ones where there is no clinic.

    Raises ConfigError when there is nothing to run them with.
    """
    examined = examine(config, strict_secrets=False) if config is not None else None
    clinic = examined.clinic if examined is not None and not examined.errors else None
    if examined is not None and clinic is None and not paths:
        raise ConfigError(problems=examined.problems)
    mappings = clinic.mappings if clinic is not None else _built_in_mappings()
    others, problems = _other_mappings(paths, mappings, clinic)
    mappings = {**mappings, **others}
    results: list[CaseResult] = []
    for name in sorted(mappings):
        if not paths or _is_meant(mappings[name].path, paths):
            found, wrong = run_cases(mappings[name])
            results += found
            problems += wrong
    for file in _flow_files(paths or ([config.parent] if config is not None else []), {m.path for m in mappings.values()}):
        found, wrong = _run_flow_cases(file, clinic)
        results += found
        problems += wrong
    return results, problems


def _built_in_mappings() -> dict[str, Mapping]:
    problems = Problems()
    mappings = load_mappings(Registry().catalogue, problems)
    problems.raise_if_any()
    return mappings


def _other_mappings(
    paths: list[Path], known: dict[str, Mapping], clinic: Clinic | None
) -> tuple[dict[str, Mapping], list[Problem]]:
    """Mappings that are named by their files and are not among those of the clinic: drafts."""
    catalogue = clinic.catalogue if clinic is not None else Registry().catalogue
    files = {mapping.path.resolve() for mapping in known.values()}
    found: dict[str, Mapping] = {}
    problems: list[Problem] = []
    for path in paths:
        named = path.suffix == ".yaml" and not path.name.endswith(".test.yaml")
        if not named or not path.is_file() or path.resolve() in files:
            continue
        catalogue.mappings[path.stem] = path
        mapping, wrong = load_mapping(path.stem, catalogue)
        problems += wrong
        if mapping is not None:
            found[path.stem] = mapping
    return found, problems


def _is_meant(mapping: Path, paths: list[Path]) -> bool:
    names = {mapping.resolve(), mapping.with_name(f"{mapping.stem}.test.yaml").resolve(), mapping.parent.resolve()}
    return any(path.resolve() in names for path in paths)


def _flow_files(paths: list[Path], mappings: set[Path]) -> list[Path]:
    """Case files that belong to no mapping."""
    of_mappings = {path.with_name(f"{path.stem}.test.yaml").resolve() for path in mappings}
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.test.yaml")) if path.is_dir() else [path] if path.name.endswith(".test.yaml") else []
    return [file for file in files if file.resolve() not in of_mappings]


def _run_flow_cases(file: Path, clinic: Clinic | None) -> tuple[list[CaseResult], list[Problem]]:
    document = load_file(file)
    data = document.data
    if not isinstance(data, list) or not all(isinstance(case, dict) for case in data):
        document.report("MAP-020", (), "a case file is a list of cases")
        return [], document.problems.sorted()
    results = []
    for index, case in enumerate(data):
        for name in case:
            if name not in FIELDS:
                document.report(
                    "MAP-020",
                    (index, name),
                    f"unknown field {name!r} in a flow case; there are {', '.join(FIELDS)}",
                    of_key=True,
                )
        results.append(_run(clinic, document, index, case))
    return results, document.problems.sorted()


def _run(clinic: Clinic | None, document: Document, index: int, case: dict[str, Any]) -> CaseResult:
    result = CaseResult(document.file, str(case.get("case", f"case {index + 1}")), document.place((index,)).line)
    if clinic is None:
        result.differences.append("a flow case needs a clinic file that is in order; name it with -c")
        return result
    try:
        trial = asyncio.run(_try(clinic, case))
    except (HubError, ValidationError, ValueError, KeyError) as error:
        result.differences.append(f"could not be run: {error}")
        return result
    _compare(result, case, trial)
    return result


async def _try(clinic: Clinic, case: dict[str, Any]) -> Trial:
    given, flow = case.get("given"), str(case.get("flow"))
    if isinstance(given, str):
        lines = given.replace("\n", "") if given.startswith("ISA") else given.replace("\n", "\r")
        given = lines.encode()
    headers = {str(k): str(v) for k, v in (case.get("headers") or {}).items()}
    before: list[Record] = []
    for kind, records in (case.get("before") or {}).items():
        before += [clinic.catalogue.records[kind].model.model_validate(record) for record in records]
    now = datetime.fromisoformat(case["now"]) if "now" in case else NOW
    return await try_flow(
        clinic, flow, message_for(clinic, flow, given, headers), start=case.get("from_step", ""), records=before, now=now
    )


def _compare(result: CaseResult, case: dict[str, Any], trial: Trial) -> None:
    reason = str(trial.error) if trial.error is not None else None
    if reason != case.get("rejected"):
        result.differences.append(
            f"rejected: {reason}" if reason else f"expected a rejection ({case['rejected']}), but it was accepted"
        )
    for kind, wanted in (case.get("saved") or {}).items():
        got = [r.model_dump(mode="json", exclude_defaults=True) for k, r in trial.saved if k == kind]
        result.differences += [f"saved {kind} {line}" for line in differences(wanted, got)]
    if "sent" in case:
        wanted_sent = [{"to": entry.get("to"), "body": _wanted_body(entry.get("body", ""))} for entry in case["sent"]]
        bodies = [entry["body"] for entry in wanted_sent]
        got = [
            {"to": sent.destination, "body": _body(sent.message.body, bodies[number] if number < len(bodies) else "")}
            for number, sent in enumerate(trial.sent)
        ]
        result.differences += [f"sent {line}" for line in differences(wanted_sent, got)]


def _wanted_body(body: Any) -> Any:
    return body if isinstance(body, dict) else str(body).rstrip("\n").replace("\n", "\r")


def _body(body: bytes, wanted: Any) -> Any:
    """What was sent as it is compared: as text, or the fields that a case names."""
    text = body.decode("utf-8", errors="replace")
    if not isinstance(wanted, dict):
        return text
    try:
        said = read_object(body)
    except Unreadable:
        return text
    return {name: str(said[name]) for name in wanted if name in said}

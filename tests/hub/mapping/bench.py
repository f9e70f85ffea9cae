"""A workbench for mappings: rules tried on a message, mapping files loaded from text."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hub.catalogue import Catalogue
from hub.errors import Problem
from hub.formats.hl7v2.codec import Hl7Format
from hub.mapping import Mapping, load_mapping, run_mapping
from hub.mapping.rules import Notes, Table, parse_rule
from hub.message import Message
from hub.registry import Registry
from hub.transform import TransformContext

HEADER = "MSH|^~\\&|EPIC|RIVER|HUB|RIVER|20261123090000||ADT^A04|1|P|2.5"
MESSAGE = "\r".join(
    [
        HEADER,
        'PID|1||00042^^^RIVER^MR~E9^^^EPIC^EPI||DOE^JANE^""||19800229|F|||||||||||||||7',
        "OBX|1|TX|||one",
        "OBX|2|TX|||two",
        "OBX|3|TX|||",
        "SCH|P-9|F-77|||||||||^^^202611301430",
    ]
)
TABLES = {
    "sexes": Table("sexes", {"F": "female", "M": "male"}),
    "kept.csv": Table("kept.csv", {"F": "female"}, "keep"),
    "told.csv": Table("told.csv", {"F": "female"}, "worklist"),
}


def context(*, zone: str = "America/Chicago", authority: str = "", **headers: str) -> TransformContext:
    return TransformContext(ZoneInfo(zone), authority, headers)


def value(rule: str, body: str = MESSAGE, *, notes: Notes | None = None, **given: str) -> Any:
    """What a rule makes of a message."""
    parsed, _ = parse_rule(rule, "target", catalogue().transforms, TABLES)
    fields = Hl7Format().open(Message(body.encode(), "hl7v2"))
    return parsed.value(fields, context(**given), notes or Notes())


def catalogue() -> Catalogue:
    return Registry().catalogue


def load(folder: Path, text: str, name: str = "own", **files: str) -> tuple[Mapping | None, list[Problem]]:
    """Loads a mapping from text; files beside it are given as `codes_csv="..."`, other mappings as `base_yaml="..."`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = catalogue()
    for given, content in {f"{name}_yaml": text, **files}.items():
        stem, _, ending = given.rpartition("_")
        path = folder / f"{stem}.{ending}"
        path.write_text(content, encoding="utf-8")
        if ending == "yaml":
            known.mappings[stem] = path
    return load_mapping(name, known)


def good(folder: Path, text: str, **files: str) -> Mapping:
    mapping, problems = load(folder, text, **files)
    assert mapping is not None, problems
    assert not problems
    return mapping


def records(mapping: Mapping, body: str, **given: str) -> list[dict[str, Any]]:
    message = Message(body.replace("\n", "\r").encode(), "hl7v2", headers=given)
    made = run_mapping(mapping, message, context(**given))
    return [record.model_dump(mode="json", exclude_unset=True) for record in made.records]

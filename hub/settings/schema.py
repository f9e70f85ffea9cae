"""The JSON schema of a clinic file, for editors: made from the same models that check it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hub.catalogue import Catalogue
from hub.connector import Keep
from hub.settings.model import DiskSettings, LogSettings, OrganisationSettings, RetentionSettings, SiteSettings
from hub.settings.signals import AlertSettings, MetricsSettings

_Of = Callable[[type[BaseModel]], dict[str, Any]]

TEXT: dict[str, Any] = {"type": "string"}
TEXTS: dict[str, Any] = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
REFERENCE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"$env": TEXT, "$file": TEXT, "$secret": TEXT},
}
NOTHING: dict[str, Any] = {"type": "null"}
DESCRIPTIONS: tuple[str, ...] = ("title", "description", "default")
QUOTED: dict[str, dict[str, Any]] = {
    "integer": {"type": "string", "pattern": r"^[+-]?\d+$"},
    "number": {"type": "string", "pattern": r"^[+-]?\d+(\.\d+)?$"},
    "boolean": {"type": "string", "pattern": "^(?i:true|false|yes|no|on|off|1|0)$"},
}
"""Editors take `2575` for a number and `"2575"` for a text; the hub reads both as text, and takes both."""


def clinic_schema(catalogue: Catalogue) -> dict[str, Any]:
    """Every connector's and step's settings included, as far as plugins of this installation bring them."""
    connectors, steps = sorted(catalogue.connectors.items()), sorted(catalogue.steps.items())
    parts: list[type[BaseModel]] = [OrganisationSettings, SiteSettings, LogSettings, RetentionSettings, DiskSettings]
    parts += [MetricsSettings, AlertSettings]
    of, definitions = _definitions([*parts, *(step.Config for _, step in steps)])
    of_connection, for_connections = _definitions([connector.Config for _, connector in connectors], prefix="connection:")
    for definition in for_connections.values():
        definition["required"] = []  # a vendor profile may fill it in, the kind too

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Clinic Hub clinic file",
        "type": "object",
        "additionalProperties": False,
        "required": ["organisation", "sites"],
        "properties": {
            "organisation": of(OrganisationSettings),
            "sites": {"type": "object", "additionalProperties": of(SiteSettings)},
            "payers": TEXT,
            "store": {"anyOf": [TEXT, REFERENCE]},
            "files": TEXT,
            "lease": TEXT,
            "key": TEXT,
            "mappings": TEXTS,
            "vendors": TEXTS,
            "disable": TEXTS,
            "log": of(LogSettings),
            "retention": of(RetentionSettings),
            "disk": of(DiskSettings),
            "metrics": of(MetricsSettings),
            "alerts": of(AlertSettings),
            "connections": {
                "type": "object",
                "additionalProperties": {"anyOf": [_connection(kind, of_connection(c.Config)) for kind, c in connectors]},
            },
            "flows": {"type": "object", "additionalProperties": _flow([_step(k, of(s.Config), s.main) for k, s in steps])},
        },
        "$defs": {**definitions, **for_connections},
    }


def _definitions(models: Sequence[type[BaseModel]], prefix: str = "") -> tuple[_Of, dict[str, dict[str, Any]]]:
    """How to look up the schema of one of these models, and all schemas they refer to, by name."""
    made, shared = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template=f"#/$defs/{prefix}{{model}}"
    )
    definitions = {f"{prefix}{name}": _as_written(schema) for name, schema in shared["$defs"].items()}

    def of(model: type[BaseModel]) -> dict[str, Any]:
        reference: str = made[(model, "validation")]["$ref"]
        return definitions[reference.removeprefix("#/$defs/")]

    return of, definitions


def _connection(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "title": kind, "properties": {**schema["properties"], "kind": {"const": kind}}}


def _flow(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["from", "steps"],
        "additionalProperties": False,
        "properties": {
            "from": {"anyOf": [TEXT, {"type": "object"}]},
            "when": {"type": "object"},
            "keep": {"enum": list(get_args(Keep))},
            "steps": {"type": "array", "items": {"anyOf": steps}},
        },
    }


def _step(name: str, schema: dict[str, Any], main: str | None) -> dict[str, Any]:
    settings: list[dict[str, Any]] = [{**schema, "title": name}]
    if main is not None:
        settings.append(schema["properties"][main])
    step = {
        "type": "object",
        "additionalProperties": False,
        "required": [name],
        "properties": {name: {"anyOf": settings}, "name": TEXT},
    }
    return {"anyOf": [{"const": name}, step]}


# What a value looks like in a file, before the models type it.


def _as_written(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a model for what stands in a file: any value may be left out or be a reference, numbers are also texts."""
    if "properties" not in schema:
        return schema
    properties = {name: _value(part) for name, part in schema["properties"].items()}
    return {**schema, "properties": properties}


def _value(schema: dict[str, Any]) -> dict[str, Any]:
    described = {name: schema[name] for name in DESCRIPTIONS if name in schema}
    return {**described, "anyOf": [*_forms(schema), REFERENCE, NOTHING]}


def _forms(schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "anyOf" in schema:
        return [form for option in schema["anyOf"] for form in _forms(option)]
    bare = {name: part for name, part in schema.items() if name not in DESCRIPTIONS}
    if bare.get("type") == "array":
        return [{**bare, "items": {"anyOf": [*_forms(bare.get("items", {})), REFERENCE]}}]
    if bare.get("type") == "object" and isinstance(bare.get("additionalProperties"), dict):
        return [{**bare, "additionalProperties": _value(bare["additionalProperties"])}]
    return [bare, QUOTED[bare["type"]]] if bare.get("type") in QUOTED else [bare]

"""The JSON schema of a clinic file, for editors: made from the same models that check it."""

from __future__ import annotations

from typing import Any

from hub.catalogue import Catalogue
from hub.settings.model import LogSettings, OrganisationSettings, SiteSettings


def clinic_schema(catalogue: Catalogue) -> dict[str, Any]:
    """Every connector's and step's settings included, as far as plugins of this installation bring them."""
    text = {"type": "string"}
    connections = [_part(c.Config.model_json_schema(), kind=name) for name, c in sorted(catalogue.connectors.items())]
    steps = [_step(name, step.Config.model_json_schema(), step.main) for name, step in sorted(catalogue.steps.items())]
    flow = {
        "type": "object",
        "required": ["from", "steps"],
        "additionalProperties": False,
        "properties": {
            "from": {"anyOf": [text, {"type": "object"}]},
            "when": {"type": "object"},
            "steps": {"type": "array", "items": {"anyOf": steps}},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Clinic Hub clinic file",
        "type": "object",
        "additionalProperties": False,
        "required": ["organisation", "sites"],
        "properties": {
            "organisation": OrganisationSettings.model_json_schema(),
            "sites": {"type": "object", "additionalProperties": SiteSettings.model_json_schema()},
            "payers": text,
            "store": text,
            "key": text,
            "mappings": text,
            "vendors": text,
            "disable": {"type": "array", "items": text},
            "log": LogSettings.model_json_schema(),
            "connections": {"type": "object", "additionalProperties": {"anyOf": connections}},
            "flows": {"type": "object", "additionalProperties": flow},
        },
    }


def _part(schema: dict[str, Any], kind: str) -> dict[str, Any]:
    properties = {**schema.get("properties", {}), "kind": {"const": kind}}
    return {**schema, "title": kind, "properties": properties, "required": []}


def _step(name: str, schema: dict[str, Any], main: str | None) -> dict[str, Any]:
    forms: list[dict[str, Any]] = [{**schema, "title": name}]
    if main is not None:
        forms.append({"type": "string"})
    step = {
        "type": "object",
        "additionalProperties": False,
        "required": [name],
        "properties": {name: {"anyOf": forms}, "name": {"type": "string"}},
    }
    return {"anyOf": [{"const": name}, step]}

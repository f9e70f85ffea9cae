"""The JSON schema that editors use: it takes what `hub check` takes, and marks what it does not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.registry import Registry
from hub.settings.load import TOP
from hub.settings.schema import clinic_schema
from tests.hub.settings.planted import HEAD, look
from tests.support import ROOT

SCHEMA = clinic_schema(Registry().catalogue)

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip


def resolved(schema: Any) -> Any:
    """A schema with `$ref` followed, from the root of the document as the standard says (JSON Schema core, section 8.2)."""
    while isinstance(schema, dict) and "$ref" in schema:
        place: Any = SCHEMA
        for part in schema["$ref"].removeprefix("#/").split("/"):
            assert part in place, f"{schema['$ref']} leads nowhere"
            place = place[part]
        schema = place
    return schema


def mistakes(schema: Any, value: Any, at: str = "") -> list[str]:
    """What a plain validator says: only the words our schemas use."""
    schema = resolved(schema)
    if schema is True:
        return []
    found: list[str] = []
    if "anyOf" in schema and all(mistakes(option, value, at) for option in schema["anyOf"]):
        found.append(f"{at}: fits none of anyOf")
    for part in schema.get("allOf", []):
        found += mistakes(part, value, at)
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: is none of {schema['enum']}")
    kinds = schema.get("type", [])
    allowed = tuple(t for kind in ([kinds] if isinstance(kinds, str) else kinds) for t in TYPES[kind])
    if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
        return [*found, f"{at}: is no {kinds}"]
    if isinstance(value, str):
        found += [f"{at}: does not look like {schema['pattern']}"] if not re.search(schema.get("pattern", ""), value) else []
        found += [f"{at}: is too long"] if len(value) > schema.get("maxLength", 10_000) else []
        found += [f"{at}: is too short"] if len(value) < schema.get("minLength", 0) else []
    if isinstance(value, int | float) and not isinstance(value, bool):
        good = schema.get("minimum", value) <= value <= schema.get("maximum", value) and value > schema.get(
            "exclusiveMinimum", -1
        )
        found += [] if good else [f"{at}: is out of range"]
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += mistakes(schema.get("items", True), item, f"{at}[{index}]")
    if isinstance(value, dict):
        found += members(schema, value, at)
    return found


def members(schema: dict[str, Any], value: dict[str, Any], at: str) -> list[str]:
    found = [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, member in value.items():
        if name in properties:
            found += mistakes(properties[name], member, f"{at}.{name}")
        elif others is False:
            found.append(f"{at}: {name} is unknown")
        else:
            found += mistakes(others, member, f"{at}.{name}")
    return found


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for part in schema.values():
            yield from references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from references(part)


def test_every_reference_leads_somewhere() -> None:
    assert list(references(SCHEMA))
    for reference in set(references(SCHEMA)):
        resolved({"$ref": reference})


def test_the_schema_has_every_part_of_a_clinic_file() -> None:
    assert set(SCHEMA["properties"]) == set(TOP)
    assert SCHEMA["additionalProperties"] is False


def uncommented(text: str) -> str:
    """The starter file with its commented parts switched on."""
    return re.sub(r"^(\s*)# ( *(?:[a-z_]+:|- ).*)$", r"\1\2", text, flags=re.MULTILINE)


FILES = {
    "the file of hub init": (ROOT / "hub/cli/starter/clinic.yaml").read_text(encoding="utf-8"),
    "the file of the demo": re.sub(
        "@[A-Z]+@", "8271", (ROOT / "connectors/simulators/demo/clinic.yaml").read_text(encoding="utf-8")
    ),
}

PARTS = {
    "nothing more than it needs": "",
    "a duration": "connections: {a: {kind: mllp_listener, port: 2575, frame_timeout: 30s}}\n",
    "a size": "connections: {a: {kind: mllp_listener, port: 2575, max_frame: 20MiB}}\n",
    "a number in quotes": "connections: {a: {kind: mllp_listener, port: '2575'}}\n",
    "a list": "connections: {a: {kind: mllp_listener, port: 2575, allow_from: [10.0.0.0/8]}}\n",
    "a setting that is switched off": "connections: {a: {kind: mllp_listener, port: 2575, site: main, charset: }}\n",
    "settings inside settings": "connections: {a: {kind: mllp_sender, host: localhost, port: 1, retry: {attempts: 3}}}\n",
    "durations inside settings": "connections: {a: {kind: mllp_sender, host: localhost, port: 1, retry: {first: 2s}}}\n",
    "TLS": "connections: {a: {kind: mllp_sender, host: pms.example.org, port: 1, tls: {ca: ca.pem}}}\n",
    "TLS as the system trusts": "connections: {a: {kind: mllp_sender, host: pms.example.org, port: 1, tls: {}}}\n",
    "a secret": "connections: {a: {kind: http, url: http://127.0.0.1, auth: {user: clinic, password: {$file: s}}}}\n",
    "a reference for a plain value": "connections: {a: {kind: http, url: http://127.0.0.1, content_type: {$env: X}}}\n",
    "a kind that comes from the profile": "connections: {a: {vendor: optum, auth: {client_id: us}}}\n",
    "values that come from the profile": "connections: {a: {vendor: availity, kind: http, auth: {client_id: us}}}\n",
    "a header": "connections: {a: {kind: http, url: http://127.0.0.1, headers: {X-Tenant: us}}}\n",
    "a flow with a source": "connections: {a: {kind: mllp_listener, port: 1}}\nflows: {f: {from: a, steps: [check_failed]}}\n",
    "a flow from due work": "flows: {f: {from: {due: eligibility}, steps: [{map: visit_to_270}]}}\n",
    "a step by name": "flows: {f: {from: {due: eligibility}, steps: [check_failed]}}\n",
    "a step with its name": "flows: {f: {from: {due: eligibility}, steps: [{map: visit_to_270, name: build}]}}\n",
    "a step with settings": "flows: {f: {from: {due: eligibility}, steps: [{worklist: {queue: it, unless: [covered]}}]}}\n",
    "one value for a list": "flows: {f: {from: {due: eligibility}, steps: [{worklist: {queue: it, unless: covered}}]}}\n",
    "days": "flows: {f: {from: {due: eligibility}, steps: [{plan_checks: {days_before: [3, 1], at: '06:00'}}]}}\n",
    "an age": "flows: {f: {from: {due: eligibility}, steps: [{plan_checks: {fresh_for: 24h}}]}}\n",
    "waits": "flows: {f: {from: {due: eligibility}, steps: [{plan_checks: {retry_after: [90s, 5m]}}]}}\n",
    "a flag": "flows: {f: {from: {due: eligibility}, steps: [{plan_checks: {on_booking: true}}]}}\n",
    "a filter": "flows: {f: {from: {due: eligibility}, when: {type: [a, b], not: {PV1-2: I}}, steps: [check_failed]}}\n",
    "several folders": "mappings: [mappings, vendors]\n",
    "a plugin switched off": "disable: [folder]\n",
    "one plugin switched off": "disable: folder\n",
    "what is logged": "log: {level: debug, format: json}\n",
}  # fmt: skip


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_files_that_come_with_the_hub_pass(tmp_path: Path, text: str) -> None:
    beside = {"payers_csv": "payer,name\n", "specialists_csv": "name,fax,direct\n", "clearinghouse_secret": "x"}
    examined = look(tmp_path, text, head="", **beside)
    assert not examined.errors
    assert mistakes(SCHEMA, yaml.safe_load(text)) == []


def test_the_file_of_hub_init_passes_with_everything_switched_on(tmp_path: Path) -> None:
    text = uncommented(FILES["the file of hub init"]).replace("https://...", "https://clearinghouse.example.org")
    assert {"clearinghouse", "ehr"} == set(yaml.safe_load(text)["connections"])
    examined = look(tmp_path, text, head="", payers_csv="payer,name\n")
    assert not examined.errors
    assert mistakes(SCHEMA, yaml.safe_load(text)) == []


@pytest.mark.parametrize("text", PARTS.values(), ids=PARTS)
def test_the_schema_takes_what_the_check_takes(tmp_path: Path, text: str) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "vendors").mkdir()
    examined = look(tmp_path, text)
    assert not examined.errors, "the check refuses it"
    assert mistakes(SCHEMA, yaml.safe_load(HEAD + text)) == []


REFUSED = {
    "an unknown part": "conections: {}\n",
    "an unknown setting": "connections: {a: {kind: mllp_listener, port: 1, colour: red}}\n",
    "an unknown kind": "connections: {a: {kind: mllp_lisener, port: 1}}\n",
    "an unknown word": "connections: {a: {kind: folder, path: /tmp, after: burn}}\n",
    "an unknown step": "flows: {f: {from: {due: eligibility}, steps: [wishlist]}}\n",
    "an unknown setting of a step": "flows: {f: {from: {due: eligibility}, steps: [{worklist: {que: it}}]}}\n",
    "a flow without steps": "flows: {f: {from: {due: eligibility}}}\n",
    "a list of connections": "connections: [{kind: mllp_listener}]\n",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_the_schema_marks_what_the_check_refuses(tmp_path: Path, text: str) -> None:
    found = mistakes(SCHEMA, yaml.safe_load(HEAD + text))
    assert found

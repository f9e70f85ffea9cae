"""Whatever shape a clinic file has, it is examined to the end: no exception, and something is said about what is wrong."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hub.registry import Registry
from hub.settings import load_settings
from hub.settings.load import preview
from hub.yaml_text import load_text
from tests.hub.settings.planted import HEAD, look

CATALOGUE = Registry().catalogue

SHAPES = {
    "connections as a list": "connections: [{name: ehr}]\nflows: {f: {from: ehr, steps: [{send: ehr}]}}\n",
    "connections as a list of names": "connections: [ehr]\nflows: {f: {from: ehr, steps: [{send: ehr}]}}\n",
    "connections as a text": "connections: ehr\nflows: {f: {from: ehr, steps: [{send: ehr}]}}\n",
    "a connection without anything": "connections: {ehr: }\nflows: {f: {from: ehr, steps: [{send: ehr}]}}\n",
    "a connection as a list": "connections: {ehr: [mllp_listener]}\n",
    "a kind as a list": "connections: {ehr: {kind: [mllp_listener]}}\n",
    "a kind as a mapping": "connections: {ehr: {kind: {a: b}}}\n",
    "a vendor as a list": "connections: {ehr: {vendor: [epic], kind: mllp_listener, port: '1'}}\n",
    "a site as a list": "connections: {ehr: {kind: mllp_listener, port: '1', site: [main]}}\n",
    "a secret as a list": "connections: {h: {kind: http, url: http://127.0.0.1, auth: {password: [x]}}}\n",
    "a secret reference to a list": "connections: {h: {kind: http, url: http://127.0.0.1, auth: {password: {$env: [x]}}}}\n",
    "flows as a list": "flows: [{from: {failed: f}, steps: [check_failed]}]\n",
    "flows as a text": "flows: bookings\n",
    "a flow as a text": "flows: {f: bookings}\n",
    "a flow without anything": "flows: {f: }\n",
    "from as a list": "flows: {f: {from: [ehr], steps: [check_failed]}}\n",
    "due work as a list": "flows: {f: {from: {due: [eligibility]}, steps: [check_failed]}}\n",
    "a failed flow as a mapping": "flows: {f: {from: {failed: {a: b}}, steps: [check_failed]}}\n",
    "steps as a mapping": "flows: {f: {from: {due: eligibility}, steps: {map: visit_to_270}}}\n",
    "steps as a text": "flows: {f: {from: {due: eligibility}, steps: check_failed}}\n",
    "a step as a list": "flows: {f: {from: {due: eligibility}, steps: [[map]]}}\n",
    "a step without anything": "flows:\n  f:\n    from: {due: eligibility}\n    steps:\n      -\n      - {}\n",
    "a step with a name only": "flows: {f: {from: {due: eligibility}, steps: [{name: x}]}}\n",
    "a step's name as a list": "flows: {f: {from: {due: eligibility}, steps: [{map: visit_to_270, name: [x]}]}}\n",
    "a step's settings as a list": "flows: {f: {from: {due: eligibility}, steps: [{map: [visit_to_270]}]}}\n",
    "when with a mapping as value": "flows: {f: {from: {due: eligibility}, when: {type: {a: b}}, steps: [check_failed]}}\n",
    "when with an empty list": "flows: {f: {from: {due: eligibility}, when: {type: []}, steps: [check_failed]}}\n",
    "not as a list": "flows: {f: {from: {due: eligibility}, when: {not: [a]}, steps: [check_failed]}}\n",
    "payers as a list": "payers: [a.csv]\n",
    "payers as a folder": "payers: .\n",
    "a store as a list": "store: [sqlite:///a]\n",
    "a key file as a mapping": "key: {a: b}\n",
    "a log as a text": "log: info\n",
    "disable as a mapping": "disable: {a: b}\n",
    "mappings as a list of mappings": "mappings: [{a: b}]\n",
    "mappings as a list with a hole": "mappings:\n  -\n  - x\n",
    "vendors as a mapping": "vendors: {a: b}\n",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_a_part_of_the_wrong_shape_is_told_and_nothing_fails(tmp_path: Path, text: str) -> None:
    try:
        examined = look(tmp_path, text)
    except Exception as error:
        pytest.fail(f"{type(error).__name__} came out instead of a problem: {error}", pytrace=False)
    assert examined.errors


HEADS = {
    "organisation as a text": ("organisation: Test\nsites: {main: {timezone: UTC}}\n", 1),
    "organisation as a list": ("organisation: [Test]\nsites: {main: {timezone: UTC}}\n", 1),
    "sites as a list": ('organisation: {name: A, npi: "1234567893"}\nsites: [main]\n', 2),
    "sites as a text": ('organisation: {name: A, npi: "1234567893"}\nsites: main\n', 2),
    "a site as a text": ('organisation: {name: A, npi: "1234567893"}\nsites: {main: UTC}\n', 2),
    "a site without anything": ('organisation: {name: A, npi: "1234567893"}\nsites: {main: }\n', 2),
}


@pytest.mark.parametrize(("head", "line"), HEADS.values(), ids=HEADS)
def test_a_head_of_the_wrong_shape_is_told_at_its_place(tmp_path: Path, head: str, line: int) -> None:
    examined = look(tmp_path, "", head=head)
    assert [p.line for p in examined.errors] == [line]


WORDS = st.sampled_from(
    [
        *"abx",
        "",
        "ehr",
        "main",
        "epic",
        "availity",
        "mllp_listener",
        "http",
        "map",
        "send",
        "not",
        "type",
        "*",
        "PID-3",
        "$env",
        "1",
    ]
)
PARTS = ["organisation", "sites", "payers", "store", "connections", "flows", "mappings", "vendors", "disable", "log"]
KEYS = st.sampled_from([*PARTS, "kind", "vendor", "port", "url", "auth", "site", "from", "when", "steps", "ehr", "$env", "map"])
ANYTHING = st.recursive(
    st.none() | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def written(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}'"
        case list():
            return f"[{', '.join(written(item) or '~' for item in value)}]"
    return "{" + ", ".join(f"{name}: {written(item)}" for name, item in value.items()) + "}"


@given(st.dictionaries(st.sampled_from(PARTS[2:]), ANYTHING, max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_structure_at_all_is_examined_to_the_end(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile" / "clinic.yaml"
    file.parent.mkdir(exist_ok=True)
    text = HEAD + "".join(f"{name}: {written(value)}\n" for name, value in data.items())
    file.write_text(text, encoding="utf-8")
    preview(file)
    loaded = load_settings(file, CATALOGUE, document=load_text(text, str(file)))
    assert loaded.settings is not None or loaded.errors

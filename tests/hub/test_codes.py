"""The catalogue of error codes is complete: every code that is used is explained, every explained one is used."""

import ast
import re
from pathlib import Path

import pytest

from hub.codes import CODES
from tests.support import ROOT

CODE = re.compile(r"[A-Z0-9]{3}-[A-Z0-9]+(?:-[A-Z0-9]+)*")
FAMILIES = {code.split("-")[0] for code in CODES}


def texts(source: Path) -> list[tuple[int, str]]:
    """Texts in the code of a file (no docstrings, no comments); a value put into one (f-string) stands as `*`."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            found.append((node.lineno, node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values]
            found.append((node.lineno, "".join(parts)))
    return found


def used() -> dict[str, str]:
    """Codes in the source, and where the first of each stands."""
    found: dict[str, str] = {}
    for folder in ("hub", "connectors", "plugins"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file.name == "codes.py" or "simulators" in file.parts:  # those have the codes of who they play
                continue
            for line, text in texts(file):
                for code in (text, *re.findall(rf"\[({CODE.pattern})\]", text)):
                    if code.split("-")[0] in FAMILIES and (CODE.fullmatch(code) or re.fullmatch(r"[A-Z0-9]{3}-\*", code)):
                        found.setdefault(code, f"{file.relative_to(ROOT)}:{line}")
    return found


USED = used()


def test_every_code_in_the_source_is_explained() -> None:
    missing = {code: place for code, place in USED.items() if "*" not in code and code not in CODES}
    assert not missing, "add them to hub/codes.py"


def test_an_error_with_a_code_of_a_new_family_is_explained_as_well() -> None:
    given = [
        keyword.value.value
        for folder in ("hub", "connectors", "plugins")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and CODE.fullmatch(str(keyword.value.value))
    ]
    assert len(given) > 20
    assert set(given) <= CODES.keys()


def test_every_explained_code_is_used() -> None:
    families = [code.removesuffix("*") for code in USED if code.endswith("*")]
    idle = [code for code in CODES if code not in USED and not any(code.startswith(family) for family in families)]
    assert not idle, "nothing uses them; take them out of hub/codes.py"


def test_the_search_does_find_codes() -> None:
    assert {"CFG-020", "MAP-001", "X12-SE01", "HL7-*", "NET-010", "BUG-001"} <= USED.keys()


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_says_in_sentences_what_it_means_and_what_to_do(code: str) -> None:
    meaning, help = CODES[code]
    assert CODE.fullmatch(code)
    for text in (meaning, help):
        assert text.strip() == text
        assert text
        assert text[-1] in ".?)" or text.endswith("`")


def test_codes_made_from_a_field_name_are_explained_too() -> None:
    from hub.formats.describe import describe

    findings = [f["code"] for m in describe(b"MSH|^~\\&|A|B|C|D|2026\rPID|1\r")["messages"] for f in m["findings"]]
    assert findings
    assert set(findings) <= CODES.keys()

"""What the documents say is so: generated pages are fresh, YAML is valid, shell blocks run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub import hookspecs
from hub.clinic import examine
from tests.support import PATIENCE, ROOT, free_port

_PAGES = sorted(file for file in (ROOT / "docs").rglob("*.md") if file.parent.name != "reference")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *_PAGES]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PLACES = {
    "mapping": "mappings/{}.yaml",
    "cases": "mappings/{}.test.yaml",
    "vendor": "vendors/{}.yaml",
    "policies": "{}.yaml",
    "policy-cases": "{}.test.yaml",
}
"""Where files that a page shows belong, beside the clinic file."""


def blocks(file: Path, language: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(file.read_text(encoding="utf-8")) if found == language]


def test_generated_pages_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_hook_is_documented() -> None:
    page = (ROOT / "docs/reference/hooks.md").read_text(encoding="utf-8")
    hooks = [name for name, thing in vars(hookspecs).items() if hasattr(thing, "clinic_hub_spec")]
    assert hooks
    assert [name for name in hooks if f"## {name}(" not in page] == []


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda f: f.name)
def test_yaml_in_documents_says_what_it_is(file: Path) -> None:
    kinds = {"clinic", *PLACES}
    unnamed = [text for text in blocks(file, "yaml") if text.split("\n")[0].removeprefix("# ").split()[0] not in kinds]
    assert unnamed == []


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda f: f.name)
def test_clinic_files_in_documents_are_right(file: Path, tmp_path: Path) -> None:
    for text in blocks(file, "yaml"):
        kind, _, name = text.split("\n")[0].removeprefix("# ").partition(" ")
        if kind == "policies":
            (tmp_path / PLACES[kind].format(name)).write_text(text, encoding="utf-8")
    for number, text in enumerate(t for t in blocks(file, "yaml") if t.startswith("# clinic\n")):
        clinic = tmp_path / f"{number}.yaml"
        clinic.write_text(text, encoding="utf-8")
        examined = examine(clinic, strict_secrets=False)
        assert [f"{p.place}: {p.text}" for p in examined.errors] == []


def _prepared(script: str, port: int, second: int) -> str:
    """The script for a folder of its own: `make` is only asked whether it knows the target, the ports are free ones, and
    where a reader waits a while for the hub to start, it is asked for its `ready`; other waits are longer, for a busy machine.
    """
    lines, starting = [], False
    for line in script.splitlines():
        if line.startswith("make "):
            line = f"make -n -C {ROOT} {line.removeprefix('make ')} > /dev/null"
        if line.startswith("hub run ") and line.endswith(" &") and ">" not in line:
            line, starting = f"{line.removesuffix('&')} 2> >(tee started.log >&2) &", True
        if line.startswith("sleep "):
            seconds = float(line.removeprefix("sleep ")) * PATIENCE
            ready = f"for _ in $(seq {round(seconds * 20)}); do grep -qs ^ready started.log && break; sleep 0.05; done"
            line, starting = ready if starting else f"sleep {seconds:g}", False
        lines.append(line.replace("2575", str(port)).replace("8276", str(second)))
        if line.startswith("hub init "):
            folder = line.split()[-1]
            lines.append(f"sed -i.bak 's/2575/{port}/' {folder}/clinic.yaml && rm {folder}/clinic.yaml.bak")
    return "\n".join(lines)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda f: f.name)
def test_shell_blocks_run_from_top_to_bottom(file: Path, tmp_path: Path) -> None:
    """As a reader would type them, mappings and cases of the page put where it says."""
    port, second = free_port(), free_port()
    script = ["set -e", f'export PATH="{Path(sys.executable).parent}:$PATH"']
    for language, text in _BLOCK.findall(file.read_text(encoding="utf-8")):
        if language == "sh":
            script.append(_prepared(text, port, second))
        elif language == "yaml" and not text.startswith("# clinic\n"):
            kind, name = text.split("\n")[0].removeprefix("# ").split()
            script.append(f"cat > clinic/{PLACES[kind].format(name)} <<'END_OF_FILE'\n{text}END_OF_FILE")
    code, output = run_as_reader("\n".join(script), tmp_path)
    assert code == 0, output


def run_as_reader(script: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of a script; whatever it started and did not stop is stopped."""
    output = folder / "output"
    with output.open("wb") as file:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
        try:
            shell.wait(timeout=100)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return shell.returncode, output.read_text(encoding="utf-8", errors="replace")

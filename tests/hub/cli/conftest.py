"""Commands run in this process, with what they say taken apart; and plugins planted for a while."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main


@dataclass
class Done:
    """What became of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


Plant = Callable[..., Path]


@pytest.fixture
def plant_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Installs a distribution for one test: `plant_plugin({"clinic_hub": "acme = acme_x"}, acme_x="...")`."""
    made: list[str] = []

    def plant(points: dict[str, str], **modules: str) -> Path:
        folder = tmp_path / "planted"
        info = folder / "planted-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n", encoding="utf-8")
        text = "".join(f"[{group}]\n{lines}\n" for group, lines in points.items())
        (info / "entry_points.txt").write_text(text, encoding="utf-8")
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source, encoding="utf-8")
            made.append(name)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    yield plant
    for name in made:
        sys.modules.pop(name, None)

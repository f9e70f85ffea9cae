"""`hub new`: beginnings of packages of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import click


@click.group()
def new() -> None:
    """Begin a package of your own."""


@new.command()
@click.argument("name")
@click.option("--dir", "parent", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to put it.")
def connector(name: str, parent: Path) -> int:
    """A connector with its tests, ready to install: clinic-hub-NAME."""
    from importlib.resources import files

    from hub.cli.output import say
    from hub.errors import Refused

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise Refused(f"{name!r} is no name for a connector; use small letters, digits and _", code="CLI-004")
    target = parent / f"clinic-hub-{name.replace('_', '-')}"
    if target.exists():
        raise Refused(f"{target} exists already")
    words = {"NAME": name, "CLASS": "".join(part.capitalize() for part in name.split("_")), "PROJECT": target.name}
    template = files("hub.cli") / "starter" / "connector"
    places = {
        "pyproject.toml.txt": "pyproject.toml",
        "README.md.txt": "README.md",
        "connector.py.txt": f"clinic_hub_{name}.py",
        "test_connector.py.txt": f"tests/test_{name}.py",
    }
    for source, place in places.items():
        text = (template / source).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        file = target / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        say(str(file))
    say(f"\nnext: cd {target} && pip install -e '.[test]' && pytest")
    return 0

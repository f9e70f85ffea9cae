"""Secrets by reference: `{$env: NAME}`, `{$file: path}`, `{$secret: name}` (asked of plugins); never in the file itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = ("$env", "$file", "$secret")


def is_reference(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$")


def has_reference(value: Any) -> bool:
    """True when the value, or anything in it, is looked up elsewhere."""
    if is_reference(value):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(has_reference(part) for part in inner)


def resolve(reference: dict[str, Any], folder: Path, find: Callable[[str], str | None]) -> tuple[str | None, str]:
    """The secret, or None and why there is none.  The reason never holds a secret."""
    way, name = next(iter(reference.items()))
    if way not in WAYS or not isinstance(name, str):
        return None, f"{way!r} is no way to a secret; there are {', '.join(WAYS)}"
    value, reason = _looked_up(way, name, folder, find)
    return (value, "") if value else (None, reason)


def _looked_up(way: str, name: str, folder: Path, find: Callable[[str], str | None]) -> tuple[str | None, str]:
    """What is kept there, and what to say when that is nothing."""
    if way == "$env":
        return os.environ.get(name), f"the environment variable {name} is not set, or empty"
    if way == "$file":
        try:
            return (folder / name).read_text(encoding="utf-8").strip(), f"the file {name} is empty"
        except (OSError, ValueError):
            return None, f"the file {name} cannot be read"
    try:
        return find(name), f"no plugin knows the secret {name}"
    except Exception as error:  # a plugin's; its words may hold what must not be shown
        return None, f"a plugin failed to find the secret {name}: {type(error).__name__}"

"""Secrets by reference: `{$env: NAME}`, `{$file: path}`, `{$secret: name}` (asked of plugins); never in the file itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = ("$env", "$file", "$secret")


def is_reference(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$")


def resolve(reference: dict[str, Any], folder: Path, find: Callable[[str], str | None]) -> tuple[str | None, str]:
    """The secret, or None and why there is none.  The reason never holds a secret."""
    way, name = next(iter(reference.items()))
    if way not in WAYS or not isinstance(name, str):
        return None, f"{way!r} is no way to a secret; there are {', '.join(WAYS)}"
    if way == "$env":
        value = os.environ.get(name)
        return value, "" if value is not None else f"the environment variable {name} is not set"
    if way == "$file":
        try:
            return (folder / name).read_text(encoding="utf-8").strip(), ""
        except (OSError, UnicodeDecodeError):
            return None, f"the file {name} cannot be read"
    value = find(name)
    return value, "" if value is not None else f"no plugin knows the secret {name}"

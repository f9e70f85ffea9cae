"""A vendor profile laid under a connection: mappings merge, lists and scalars replace; each value remembers its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hub.errors import Problem
from hub.settings.secrets import is_reference
from hub.yaml_text import Document, Key


@dataclass(slots=True)
class Layered:
    """Values from one or two files, and for each part the document it came from and its key there."""

    data: dict[str, Any]
    origins: dict[Key, tuple[Document, Key]] = field(default_factory=dict)

    def origin(self, key: Key) -> tuple[Document, Key]:
        """Of a part; for one that is not there, of its nearest parent, with the missing rest of the key."""
        rest: Key = ()
        while key not in self.origins and key:
            key, rest = key[:-1], (key[-1], *rest)
        document, base = self.origins[key]
        return document, (*base, *rest)

    def problem(self, code: str, key: Key, text: str, **details: Any) -> Problem:
        document, there = self.origin(key)
        return document.problem(code, there, text, **details)


def layer(document: Document, key: Key, data: dict[str, Any]) -> Layered:
    layered = Layered(data)
    _remember(layered, (), data, document, key)
    return layered


def merge(under: Layered, over: Layered) -> Layered:
    """`over` wins; a key without a value says nothing."""
    merged = Layered({}, {(): over.origins[()]})
    merged.data = _merge((), under.data, over.data, under, over, merged)
    return merged


def _merge(key: Key, under: Any, over: Any, low: Layered, high: Layered, out: Layered) -> Any:
    both = isinstance(under, dict) and isinstance(over, dict) and not is_reference(under) and not is_reference(over)
    if not both:
        _copy(key, high, out)
        return over
    if key:
        out.origins[key] = high.origins[key]
    result: dict[str, Any] = {}
    for name in {**under, **over}:
        here = (*key, name)
        if over.get(name) is not None and name in under:
            result[name] = _merge(here, under[name], over[name], low, high, out)
        else:
            source, value = (low, under[name]) if name in under else (high, over[name])
            _copy(here, source, out)
            result[name] = value
    return result


def _copy(key: Key, source: Layered, out: Layered) -> None:
    for known, origin in source.origins.items():
        if known[: len(key)] == key:
            out.origins[known] = origin


def _remember(layered: Layered, key: Key, value: Any, document: Document, base: Key) -> None:
    layered.origins[key] = (document, (*base, *key))
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        _remember(layered, (*key, name), child, document, base)

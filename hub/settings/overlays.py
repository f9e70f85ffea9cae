"""Mappings that stand in for others in flows from a connection: what a vendor's profile says of a dialect."""

from __future__ import annotations

from collections.abc import Iterator

from hub.catalogue import Catalogue
from hub.errors import Problem
from hub.settings.merge import Layered
from hub.settings.values import did_you_mean
from hub.yaml_text import load_file


def overlay_problems(layered: Layered, catalogue: Catalogue) -> Iterator[Problem]:
    """Of the `overlays` of a connection or a profile: each has to extend the mapping it stands in for."""
    given = layered.data.get("overlays")
    for mapping, overlay in given.items() if isinstance(given, dict) else ():
        if not isinstance(overlay, str):
            continue  # told where values are typed
        here = ("overlays", mapping)
        if unknown := [name for name in (mapping, overlay) if name not in catalogue.mappings]:
            help = did_you_mean(unknown[0], catalogue.mappings)
            yield layered.problem("CFG-035", here, f"there is no mapping {unknown[0]!r}", help=help)
        elif mapping not in _extended_by(overlay, catalogue):
            expected = f"a mapping that says `extends: {mapping}`"
            yield layered.problem("CFG-035", here, f"the mapping {overlay!r} does not extend {mapping!r}", expected=expected)


def _extended_by(name: str, catalogue: Catalogue) -> set[str]:
    """The mappings a mapping extends, also through others; whatever is wrong with them is told elsewhere."""
    found: set[str] = set()
    while name in catalogue.mappings:
        data = load_file(catalogue.mappings[name]).data
        name = str(data.get("extends")) if isinstance(data, dict) else ""
        if name in found:
            break
        found.add(name)
    return found

"""Vendor profiles: what a vendor's systems have in common, laid under a clinic's connections; data, and never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.catalogue import Catalogue
from hub.errors import Problem, Problems
from hub.settings.merge import Layered, layer
from hub.settings.overlays import overlay_problems
from hub.settings.values import Values
from hub.yaml_text import Document, load_file

FIELDS = ("vendor", "title", "proven", "sources", "kinds", "notes")
PROVEN = ("none", "simulator", "recorded", "sandbox", "live")


class Profiles:
    """The profiles of this installation, each read once."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths
        self._read: dict[str, Document] = {}

    def __contains__(self, vendor: object) -> bool:
        return vendor in self._paths

    def document(self, vendor: str) -> Document:
        if vendor not in self._read:
            self._read[vendor] = load_file(self._paths[vendor])
        return self._read[vendor]

    def kinds(self, vendor: str) -> dict[str, Any]:
        data = self.document(vendor).data
        kinds = data.get("kinds") if isinstance(data, dict) else None
        return kinds if isinstance(kinds, dict) else {}

    def kind(self, content: Any) -> str | None:
        """The kind of a connection: its own, or that of a profile that is for one kind only."""
        if not isinstance(content, dict):
            return None
        if content.get("kind") is not None:
            return str(content["kind"])
        vendor = str(content.get("vendor"))
        kinds = self.kinds(vendor) if vendor in self else {}
        return next(iter(kinds)) if len(kinds) == 1 else None

    def layer(self, vendor: str, kind: str) -> Layered | None:
        """What a profile says for a kind; None when that is nothing."""
        defaults = self.kinds(vendor).get(kind)
        if not isinstance(defaults, dict):
            return None
        document, key = self.document(vendor), ("kinds", kind)
        under = layer(document, key, {**defaults})
        under.data.setdefault("kind", kind)
        under.origins.setdefault(("kind",), (document, key))
        return under


def profile_problems(profile: Document, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with a vendor profile as such."""
    data = profile.data
    found = list(profile.problems.found)
    if not isinstance(data, dict) or not isinstance(data.get("kinds"), dict):
        return [*found, profile.problem("CFG-060", (), "a vendor profile has `vendor`, `proven` and `kinds`")]
    for name in data:
        if name not in FIELDS:
            found.append(profile.problem("CFG-060", (name,), f"unknown field {name!r} in a vendor profile", of_key=True))
    if data.get("proven") not in PROVEN:
        found.append(profile.problem("CFG-061", ("proven",), f"`proven` says how far this was tested: {', '.join(PROVEN)}"))
    for kind, content in data["kinds"].items():
        if kind not in catalogue.connectors:
            found.append(profile.problem("CFG-062", ("kinds", kind), f"there is no connector {kind!r}", of_key=True))
        elif isinstance(content, dict):
            found += _wrong_values(profile, kind, content, catalogue)
    return found


def _wrong_values(profile: Document, kind: str, content: dict[str, Any], catalogue: Catalogue) -> list[Problem]:
    """Mistakes in what a profile does say; what it leaves to the clinic is none."""
    problems = Problems()
    values = Values(Path(profile.file).parent, catalogue, False, problems)
    said = layer(profile, ("kinds", kind), {"kind": kind, **content})
    values.typed(catalogue.connectors[kind].Config, said, f"in the profile ({kind})", partial=True)
    for problem in overlay_problems(said, catalogue):
        problems.add(problem)
    return values.without_literals(problems.errors)

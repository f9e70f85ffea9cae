"""One clinic, checked as a whole: its file, the plugins it uses, its mappings and vendor profiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub.catalogue import Catalogue
from hub.errors import ConfigError, Problem, Problems
from hub.mapping import Mapping, load_mapping
from hub.registry import Registry
from hub.settings import Settings, load_settings
from hub.settings.load import preview
from hub.settings.profiles import profile_problems
from hub.yaml_text import load_file


@dataclass(slots=True)
class Clinic:
    """Everything a hub needs to know before it starts."""

    settings: Settings
    registry: Registry
    mappings: dict[str, Mapping]
    problems: list[Problem]
    """Warnings, once errors have been ruled out."""

    @property
    def catalogue(self) -> Catalogue:
        return self.registry.catalogue


@dataclass(slots=True)
class Examined:
    """What came of looking at a clinic file."""

    clinic: Clinic | None
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.level == "error"]


def examine(file: Path, *, strict_secrets: bool = True) -> Examined:
    """Looks at everything and reports every mistake at once; a plugin that cannot be used is one of them."""
    problems = Problems()
    first = preview(file)
    try:
        registry = Registry(disable=first.disable)
    except ConfigError as error:
        return Examined(None, [*first.document.problems.found, *error.problems])
    _add_own_files(registry.catalogue.mappings, first.mappings)
    _add_own_files(registry.catalogue.vendors, first.vendors)
    loaded = load_settings(file, registry.catalogue, strict_secrets=strict_secrets, document=first.document)
    for problem in loaded.problems:
        problems.add(problem)
    mappings = load_mappings(registry.catalogue, problems)
    _check_profiles(registry.catalogue, problems)
    clinic = Clinic(loaded.settings, registry, mappings, problems.sorted()) if loaded.settings is not None else None
    return Examined(clinic, problems.sorted())


def load_clinic(file: Path) -> Clinic:
    """The clinic, ready to run; raises ConfigError with everything that is wrong."""
    examined = examine(file)
    if examined.clinic is None or examined.errors:
        raise ConfigError(problems=examined.problems)
    return examined.clinic


def load_mappings(catalogue: Catalogue, problems: Problems) -> dict[str, Mapping]:
    found = {}
    for name in catalogue.mappings:
        mapping, wrong = load_mapping(name, catalogue)
        for problem in wrong:
            problems.add(problem)
        if mapping is not None:
            found[name] = mapping
    return found


def _add_own_files(known: dict[str, Path], folders: list[Path]) -> None:
    """The clinic's own mappings and profiles; one of the same name replaces a built-in."""
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if not path.name.endswith(".test.yaml"):
                known[path.stem] = path


def _check_profiles(catalogue: Catalogue, problems: Problems) -> None:
    """Of all profiles, also of those that no connection uses; what a connection has told already is not told again."""
    told = {(p.code, p.file, p.line, p.column) for p in problems.found}
    for path in catalogue.vendors.values():
        for problem in profile_problems(load_file(path), catalogue):
            if (problem.code, problem.file, problem.line, problem.column) not in told:
                problems.add(problem)

"""Finds plugins by entry point, collects what they register, and refuses what cannot work.

Built-ins and third-party packages come the same way: the entry-point group `clinic_hub`, one line per module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import structlog

from hub import hookspecs
from hub.catalogue import Catalogue
from hub.connector import Connector
from hub.errors import ConfigError, Problem
from hub.format import Format
from hub.step import DueJob, Operation, Reaction, RecordKind, Step
from hub.transform import Transform

log = structlog.get_logger(__name__)


_COLLECTED: dict[str, tuple[str, type[Any]]] = {
    "register_connectors": ("connectors", Connector),
    "register_steps": ("steps", Step),
    "register_formats": ("formats", Format),
    "register_records": ("records", RecordKind),
    "register_reactions": ("reactions", Reaction),
    "register_due": ("due", DueJob),
    "register_transforms": ("transforms", Transform),
    "register_operations": ("operations", Operation),
}
"""Hook to where what it returns belongs, and what that must be."""
_CLASSES = (Connector, Step)
"""These are registered as classes and named by their `kind`; everything else has a `name`."""
_FILES: dict[str, str] = {"register_mappings": "mappings", "register_vendors": "vendors"}


class Registry:
    """All plugins of this installation, checked."""

    def __init__(self, *, disable: Iterable[str] = (), points: Iterable[EntryPoint] | None = None) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.disabled = frozenset(disable)
        self.distributions: dict[str, str] = {}
        points = list(entry_points(group=hookspecs.PROJECT) if points is None else points)
        self._load(points)
        self.catalogue = self._collect(frozenset(point.name for point in points))

    def _load(self, points: Iterable[EntryPoint]) -> None:
        seen: dict[str, EntryPoint] = {}
        for point in sorted(points, key=lambda p: p.name):
            if point.name in seen and seen[point.name].value != point.value:
                raise _refusal("PLG-001", f"two plugins are called {point.name!r}: {seen[point.name].value} and {point.value}")
            if point.name in self.disabled or point.name in seen:
                continue
            seen[point.name] = point
            self._register(point)

    def _register(self, point: EntryPoint) -> None:
        try:
            module = point.load()
        except (Exception, SystemExit) as error:
            raise _refusal(
                "PLG-002", f"the plugin {point.name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
            ) from error
        _refuse_async_hooks(point.name, module)
        _refuse_unknown_hooks(point.name, module)
        _refuse_unmarked_hooks(point.name, module)
        try:
            self.manager.register(module, name=point.name)
        except pluggy.PluginValidationError as error:
            raise _refusal("PLG-003", f"the plugin {point.name!r} ({point.value}): {error}") from error
        self.distributions[point.name] = point.dist.name if point.dist else ""

    def _collect(self, names: frozenset[str]) -> Catalogue:
        hooks = self.manager.hook
        catalogue = Catalogue(plugins=names, find_secret=lambda reference: hooks.find_secret(reference=reference))
        for name, module in sorted(self.manager.list_name_plugin()):
            for hook, (field, kind) in _COLLECTED.items():
                for thing in _call(module, hook, name):
                    self._add(catalogue, field, _name_of(thing, kind, hook, name), thing, module)
            for hook, field in _FILES.items():
                for path in _yaml_files(_call(module, hook, name), hook, name):
                    self._add(catalogue, field, path.stem, path, module)
        return catalogue

    @staticmethod
    def _add(catalogue: Catalogue, field: str, name: str, thing: Any, module: Any) -> None:
        key = f"{field} {name}"
        origin = getattr(module, "__name__", repr(module))
        if key in catalogue.origin:
            raise _refusal("PLG-005", f"{field}: {name!r} is brought by both {catalogue.origin[key]} and {origin}")
        catalogue.origin[key] = origin
        getattr(catalogue, field)[name] = thing

    def tell(self, hook: str, **arguments: Any) -> None:
        """Calls a telling hook of every plugin; an error in one is logged and stops nothing."""
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            wanted = {name: arguments[name] for name in implementation.argnames}
            try:
                implementation.function(**wanted)
            except Exception as error:
                log.error("a plugin failed in a hook", plugin=implementation.plugin_name, hook=hook, error=type(error).__name__)


def _call(module: Any, hook: str, plugin: str) -> list[Any]:
    function: Callable[[], list[Any]] | None = getattr(module, hook, None)
    if function is None or not hasattr(function, f"{hookspecs.PROJECT}_impl"):
        return []
    try:
        return list(function())
    except Exception as error:
        raise _refusal("PLG-006", f"the plugin {plugin!r} failed in {hook}: {type(error).__name__}: {error}") from error


def _name_of(thing: Any, kind: type[Any], hook: str, plugin: str) -> str:
    of_kind = isinstance(thing, type) and issubclass(thing, kind) if kind in _CLASSES else isinstance(thing, kind)
    attribute = "kind" if kind in _CLASSES else "name"
    name = getattr(thing, attribute, None)
    if not of_kind or not isinstance(name, str) or not name:
        what = f"{'classes' if kind in _CLASSES else 'things'} made of {kind.__name__}, each with a `{attribute}`"
        raise _refusal("PLG-006", f"the plugin {plugin!r}: {hook} returns {what}, and not {type(thing).__name__}")
    return name


def _yaml_files(paths: Iterable[Any], hook: str, plugin: str) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not isinstance(path, Path):
            raise _refusal("PLG-006", f"the plugin {plugin!r}: {hook} returns paths, and not {type(path).__name__}")
        found += sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return [path for path in found if not path.name.endswith(".test.yaml")]


def _hook_functions(module: ModuleType) -> dict[str, Any]:
    return {
        name: function
        for name, function in vars(module).items()
        if inspect.isroutine(function) and hasattr(function, f"{hookspecs.PROJECT}_impl")
    }


def _refuse_async_hooks(plugin: str, module: ModuleType) -> None:
    for name, function in _hook_functions(module).items():
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise _refusal("PLG-004", f"the plugin {plugin!r}: {name} is async, but hooks are plain functions")


@cache
def _known_hooks() -> list[str]:
    return sorted(name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), f"{hookspecs.PROJECT}_spec"))


def _refuse_unknown_hooks(plugin: str, module: ModuleType) -> None:
    known = _known_hooks()
    for name in _hook_functions(module):
        if name not in known:
            raise _refusal("PLG-003", f"the plugin {plugin!r}: there is no hook {name!r}; there are {', '.join(known)}")


def _refuse_unmarked_hooks(plugin: str, module: ModuleType) -> None:
    marked = _hook_functions(module)
    for name in _known_hooks():
        function = getattr(module, name, None)
        if inspect.isroutine(function) and name not in marked:
            raise _refusal("PLG-003", f"the plugin {plugin!r}: {name} has the name of a hook, but no @hookimpl above it")


def _refusal(code: str, text: str) -> ConfigError:
    return ConfigError(text, code=code, problems=[Problem(code, text)])

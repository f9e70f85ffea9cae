"""Reading a clinic file: every mistake at once, each with file, line, column, what was expected and what to do."""

from __future__ import annotations

import difflib
import typing
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from hub.catalogue import Catalogue
from hub.connector import Source
from hub.errors import ConfigError, Problem, Problems
from hub.paths import DEFAULT_STORE
from hub.records import Organisation
from hub.settings import secrets
from hub.settings.merge import Layered, layer, merge
from hub.settings.model import (
    ConnectionSettings,
    FlowSettings,
    LogSettings,
    OrganisationSettings,
    Settings,
    SiteSettings,
    StepSettings,
    fingerprint,
)
from hub.settings.payers import read_payers
from hub.settings.when import HEADERS, When, is_path, keys_of, parse_when
from hub.step import Site
from hub.yaml_text import Document, Key, load_file

TOP = ("organisation", "sites", "payers", "store", "key", "connections", "flows", "mappings", "vendors", "disable", "log")
STORES = ("sqlite:///",)
FLOW_FIELDS = ("from", "when", "steps")
PROVEN = ("none", "simulator", "recorded", "sandbox", "live")


@dataclass(slots=True)
class Loaded:
    """What came of a clinic file: settings when nothing stands in the way, and all that was found."""

    settings: Settings | None
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        return [p for p in self.problems if p.level == "error"]

    def require(self) -> Settings:
        """The settings; raises ConfigError with everything that is wrong."""
        if self.settings is None or self.errors:
            raise ConfigError(problems=self.problems)
        return self.settings


@dataclass(slots=True)
class Preview:
    """What must be known of a file before the plugins are loaded: which not to load, where own mappings are."""

    document: Document
    disable: list[str]
    mappings: list[Path]
    vendors: list[Path]


def preview(path: Path) -> Preview:
    document = load_file(path)
    data = document.data if isinstance(document.data, dict) else {}
    folder = path.resolve().parent

    def paths(name: str) -> list[Path]:
        given = data.get(name)
        listed = given if isinstance(given, list) else [given] if isinstance(given, str) else [name]
        return [folder / entry for entry in listed if (folder / entry).is_dir()]

    disable = data.get("disable")
    listed = disable if isinstance(disable, list) else [disable] if isinstance(disable, str) else []
    return Preview(document, [str(name) for name in listed], paths("mappings"), paths("vendors"))


def load_settings(path: Path, catalogue: Catalogue, *, strict_secrets: bool = True, document: Document | None = None) -> Loaded:
    """Reads a clinic file.  Raises nothing: what is wrong is in the result.

    With `strict_secrets=False` (for `hub check`) a secret that is not set on this machine is a warning.
    """
    return _Loader(path, catalogue, strict_secrets, document or load_file(path)).load()


class _Loader:
    def __init__(self, path: Path, catalogue: Catalogue, strict_secrets: bool, document: Document) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.catalogue = catalogue
        self.strict_secrets = strict_secrets
        self.document = document
        self.problems = Problems(list(document.problems.found))

    def add(self, problem: Problem) -> None:
        self.problems.add(problem)

    def report(self, code: str, key: Key, text: str, **details: Any) -> None:
        self.add(self.document.problem(code, key, text, **details))

    # The file as a whole.

    def load(self) -> Loaded:
        data = self.document.data
        if not isinstance(data, dict):
            if not self.problems.found:
                self.report("CFG-008", (), "the clinic file is empty", help="`hub init DIR` writes one to start from")
            return Loaded(None, self.problems.sorted())
        for name in data:
            if name not in TOP:
                self.unknown_field((name,), name, TOP, "in the clinic file")
        organisation = self.organisation(data)
        sites = self.sites(data)
        payers = self.payers(data)
        log = self.part(LogSettings, ("log",), data.get("log") or {})
        settings = Settings(
            file=self.path,
            organisation=organisation or Organisation(name="", npi=""),
            sites=sites,
            payers=payers,
            store=self.store(data),
            key=self.folder / str(data.get("key") or "hub.key"),
            log=log or LogSettings(),
        )
        settings.connections = self.connections(data, sites)
        settings.flows = self.flows(data)
        return Loaded(settings, self.problems.sorted())

    def organisation(self, data: dict[str, Any]) -> Organisation | None:
        given = data.get("organisation")
        if not isinstance(given, dict):
            self.report(
                "CFG-010",
                ("organisation",),
                "`organisation` with name and npi is missing",
                expected="organisation: {name: ..., npi: ...}",
            )
            return None
        part = self.part(OrganisationSettings, ("organisation",), given)
        return part.record() if part else None

    def sites(self, data: dict[str, Any]) -> dict[str, Site]:
        given = data.get("sites")
        if not isinstance(given, dict) or not given:
            self.report(
                "CFG-010",
                ("sites",),
                "`sites` is missing: a clinic has at least one, with its time zone",
                expected="sites: {main: {timezone: America/Chicago}}",
            )
            return {"main": Site("main", _zone("UTC"))}
        sites = {}
        for name, content in given.items():
            part = self.part(SiteSettings, ("sites", name), content)
            sites[name] = Site(name, _zone(part.timezone if part else "UTC"))
        return sites

    def payers(self, data: dict[str, Any]) -> list[Any]:
        given = data.get("payers")
        if given is None:
            return []
        if not isinstance(given, str):
            self.report("CFG-011", ("payers",), "`payers` is the name of a CSV file")
            return []
        file = self.folder / given
        if not file.is_file():
            self.report("CFG-040", ("payers",), f"there is no file {given!r} beside the clinic file")
            return []
        return read_payers(file, self.problems)

    def store(self, data: dict[str, Any]) -> str:
        given = data.get("store") or DEFAULT_STORE
        if not isinstance(given, str) or not given.startswith(STORES):
            self.report("CFG-012", ("store",), "`store` is no address the hub knows", expected=DEFAULT_STORE)
            return DEFAULT_STORE
        return given

    def part(self, model: type[Any], key: Key, data: Any) -> Any:
        """One typed part of the clinic file; None when something is wrong with it."""
        if not isinstance(data, dict):
            self.report("CFG-011", key, f"{key[-1]}: expected `name: value` lines", expected=", ".join(model.model_fields))
            return None
        layered = layer(self.document, key, data)
        return self.validate(model, layered, f"in {'.'.join(str(k) for k in key)}")

    # Connections.

    def connections(self, data: dict[str, Any], sites: dict[str, Site]) -> dict[str, ConnectionSettings]:
        given = data.get("connections")
        if given is None:
            return {}
        if not isinstance(given, dict):
            self.report("CFG-011", ("connections",), "`connections` is a list of connections by name")
            return {}
        found = {}
        for name, content in given.items():
            if connection := self.connection(name, content, sites):
                found[name] = connection
        return found

    def connection(self, name: str, content: Any, sites: dict[str, Site]) -> ConnectionSettings | None:
        key: Key = ("connections", name)
        if not isinstance(content, dict):
            self.report("CFG-011", key, f"the connection {name!r} needs at least a `kind`")
            return None
        layered = self.with_profile(key, name, layer(self.document, key, content))
        kind = layered.data.get("kind")
        if kind is None:
            self.report(
                "CFG-013",
                key,
                f"the connection {name!r} has no `kind`",
                of_key=True,
                expected=f"one of {', '.join(sorted(self.catalogue.connectors))}",
            )
            return None
        connector = self.catalogue.connectors.get(str(kind))
        if connector is None:
            self.add(
                layered.problem(
                    "CFG-014",
                    ("kind",),
                    f"there is no connector {kind!r}",
                    help=did_you_mean(str(kind), self.catalogue.connectors),
                )
            )
            return None
        config = self.validate(connector.Config, layered, f"in the connection {name!r} ({kind})")
        if config is None:
            return None
        config = _anchored(config, self.folder)
        if config.site is not None and config.site not in sites:
            self.add(
                layered.problem(
                    "CFG-015", ("site",), f"there is no site {config.site!r}", help=did_you_mean(config.site, sites)
                )
            )
        return ConnectionSettings(name, connector, config, _effective(layered, config))

    def with_profile(self, key: Key, name: str, own: Layered) -> Layered:
        vendor = own.data.get("vendor")
        if vendor is None:
            return own
        path = self.catalogue.vendors.get(str(vendor))
        if path is None:
            self.report(
                "CFG-016",
                (*key, "vendor"),
                f"there is no vendor profile {vendor!r}",
                help=did_you_mean(str(vendor), self.catalogue.vendors),
            )
            return own
        profile = load_file(path)
        for problem in [*profile.problems.found, *profile_problems(profile, self.catalogue)]:
            self.add(problem)
        kinds = profile.data.get("kinds") if isinstance(profile.data, dict) else None
        if not isinstance(kinds, dict):
            return own
        kind = own.data.get("kind") or (next(iter(kinds)) if len(kinds) == 1 else None)
        defaults = kinds.get(str(kind))
        if not isinstance(defaults, dict):
            if kind is not None:
                text = f"the profile {vendor!r} has nothing for the kind {kind!r}, so all values of {name!r} are your own"
                self.report(
                    "CFG-017", (*key, "vendor"), text, level="warning", expected=f"kinds of this profile: {', '.join(kinds)}"
                )
            return own
        under = layer(profile, ("kinds", str(kind)), {**defaults})
        under.data.setdefault("kind", str(kind))
        under.origins.setdefault(("kind",), (profile, ("kinds", str(kind))))
        return merge(under, own)

    # Flows.

    def flows(self, data: dict[str, Any]) -> dict[str, FlowSettings]:
        given = data.get("flows")
        if given is None:
            return {}
        if not isinstance(given, dict):
            self.report("CFG-011", ("flows",), "`flows` is a list of flows by name")
            return {}
        return {name: flow for name, content in given.items() if (flow := self.flow(name, content, data))}

    def flow(self, name: str, content: Any, data: dict[str, Any]) -> FlowSettings | None:
        key: Key = ("flows", name)
        if not isinstance(content, dict):
            self.report("CFG-011", key, f"the flow {name!r} needs `from` and `steps`")
            return None
        for part in content:
            if part not in FLOW_FIELDS:
                self.unknown_field((*key, part), part, FLOW_FIELDS, f"in the flow {name!r}")
        source = self.flow_source(key, name, content.get("from"), data)
        when = parse_when(content.get("when"), lambda at, text: self.report("CFG-021", (*key, "when", *at), text))
        self.check_when_keys(key, when)
        steps = self.steps(key, name, content.get("steps"), data)
        if source is None:
            return None
        return FlowSettings(name, source, when, steps, fingerprint(content))

    def check_when_keys(self, key: Key, when: When) -> None:
        for name in keys_of(when):
            problem = None
            if is_path(name):
                formats = self.catalogue.formats.values()
                problems = [f.path_error(name) for f in formats]
                problem = None if None in problems or not problems else problems[0]
            elif name not in HEADERS:
                problem = f"{name!r} is no header of a message and no path"
            if problem:
                self.report("CFG-022", (*key, "when", name), problem, of_key=True, help=did_you_mean(name, HEADERS))

    def flow_source(self, key: Key, name: str, given: Any, data: dict[str, Any]) -> str | None:
        here: Key = (*key, "from")
        if isinstance(given, dict) and len(given) == 1:
            way, what = next(iter(given.items()))
            known = {"due": list(self.catalogue.due), "failed": list(data.get("flows") or {})}
            if way in known and what in known[way]:
                return f"{way} {what}"
            if way in known:
                kind = "due work" if way == "due" else "flow"
                self.report("CFG-024", (*here, way), f"there is no {kind} {what!r}", help=did_you_mean(str(what), known[way]))
                return None
        connections = data.get("connections") or {}
        if not isinstance(given, str):
            text = "`from` is missing" if given is None else "`from` is a connection, {due: JOB} or {failed: FLOW}"
            self.report("CFG-023", here, f"the flow {name!r}: {text}", expected="from: CONNECTION")
            return None
        if given not in connections:
            self.report("CFG-024", here, f"there is no connection {given!r}", help=did_you_mean(given, connections))
            return None
        if (connector := self.connector_of(given, data)) and not issubclass(connector, Source):
            self.report(
                "CFG-025", here, f"the connection {given!r} ({connector.kind}) only sends; a flow needs one that receives"
            )
            return None
        return f"connection {given}"

    def connector_of(self, name: str, data: dict[str, Any]) -> type[Any] | None:
        content = (data.get("connections") or {}).get(name)
        kind = content.get("kind") if isinstance(content, dict) else None
        return self.catalogue.connectors.get(str(kind))

    def steps(self, key: Key, flow: str, given: Any, data: dict[str, Any]) -> tuple[StepSettings, ...]:
        here: Key = (*key, "steps")
        if not isinstance(given, list) or not given:
            self.report("CFG-026", here, f"the flow {flow!r} has no steps", expected="steps: [{map: ...}, {save: ...}]")
            return ()
        found: list[StepSettings] = []
        for index, content in enumerate(given):
            step = self.step((*here, index), content, data)
            if step is None:
                continue
            name = _free_name(step.name, {s.name for s in found})
            if name != step.name and isinstance(content, dict) and "name" in content:
                self.report("CFG-028", (*here, index, "name"), f"two steps of the flow {flow!r} are called {step.name!r}")
            found.append(StepSettings(name, step.step, step.config))
        return tuple(found)

    def step(self, key: Key, content: Any, data: dict[str, Any]) -> StepSettings | None:
        if isinstance(content, str):
            content = {content: {}}
            kind_key: Key = key
        elif isinstance(content, dict) and (kinds := [k for k in content if k != "name"]):
            kind_key = (*key, kinds[0])
            if len(kinds) > 1:
                self.report(
                    "CFG-027",
                    (*key, kinds[1]),
                    f"one step does one thing: put {kinds[1]!r} under a dash of its own",
                    of_key=True,
                )
                return None
        else:
            self.report("CFG-027", key, "a step is written `- KIND: settings`")
            return None
        kind = next(k for k in content if k != "name")
        step = self.catalogue.steps.get(kind)
        if step is None:
            self.report(
                "CFG-029", kind_key, f"there is no step {kind!r}", of_key=True, help=did_you_mean(kind, self.catalogue.steps)
            )
            return None
        settings = content[kind]
        if not isinstance(settings, dict):
            if step.main is None:
                self.report(
                    "CFG-027", kind_key, f"the step {kind!r} needs settings", expected=", ".join(step.Config.model_fields)
                )
                return None
            settings = {step.main: settings} if settings is not None else {}
            layered = layer(self.document, kind_key, settings)
            layered.origins[(step.main,)] = (self.document, kind_key)
        else:
            layered = layer(self.document, kind_key, settings)
        config = self.validate(step.Config, layered, f"in the step {kind!r}")
        if config is None:
            return None
        self.check_references(step, config, layered, data)
        main = getattr(config, step.main) if step.main else None
        name = content.get("name") or (f"{kind}:{main}" if isinstance(main, str) else kind)
        return StepSettings(str(name), step, config)

    def check_references(self, step: type[Any], config: Any, layered: Layered, data: dict[str, Any]) -> None:
        names = _Names(
            connections={name: self.connector_of(name, data) for name in data.get("connections") or {}},
            mappings=self.catalogue.mappings,
            records=self.catalogue.records,
        )
        for wrong in step.misreferences(config, names):
            value = str(getattr(config, wrong.field.split(".")[0], ""))
            help = did_you_mean(value, wrong.candidates)
            self.add(layered.problem("CFG-030", tuple(wrong.field.split(".")), wrong.text, help=help))

    # Values.

    def validate(self, model: type[Any], layered: Layered, where: str) -> Any:
        """Types the values; every mistake becomes a problem at the place of its value."""
        before = len(self.problems.errors)
        self.refuse_literal_secrets(model, layered, (), layered.data, where)
        placeholders: set[Key] = set()
        data = self.resolve(layered, (), layered.data, placeholders)
        try:
            value = model.model_validate(data)
        except ValidationError as error:
            for mistake in error.errors(include_input=False, include_url=False):
                self.add_mistake(model, layered, mistake, where, placeholders)
            return None
        return value if len(self.problems.errors) == before else None

    def resolve(self, layered: Layered, key: Key, value: Any, placeholders: set[Key]) -> Any:
        if secrets.is_reference(value):
            secret, reason = secrets.resolve(value, self.folder, self.catalogue.find_secret)
            if secret is None:
                level = "error" if self.strict_secrets or reason.startswith("'") else "warning"
                self.add(layered.problem("CFG-050", key, reason, level=level))
                placeholders.add(key)
            return secret if secret is not None else "unset"
        if isinstance(value, dict):
            return {
                name: self.resolve(layered, (*key, name), child, placeholders)
                for name, child in value.items()
                if child is not None
            }
        if isinstance(value, list):
            return [self.resolve(layered, (*key, index), child, placeholders) for index, child in enumerate(value)]
        return value

    def refuse_literal_secrets(self, model: type[BaseModel], layered: Layered, key: Key, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            return
        for name, info in model.model_fields.items():
            value = data.get(name)
            kinds = (info.annotation, *typing.get_args(info.annotation))
            if SecretStr in kinds and isinstance(value, str):
                problem = layered.problem(
                    "CFG-051", (*key, name), f"the secret {name!r} is written into the file {where}",
                    expected=f"{name}: {{$env: NAME}} or {name}: {{$file: path}}",
                    help="take it out, change it at the vendor, and refer to it",
                )  # fmt: skip
                self.add(_without_value(problem, value))
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    self.refuse_literal_secrets(kind, layered, (*key, name), value, where)

    def add_mistake(self, model: type[Any], layered: Layered, mistake: Any, where: str, placeholders: set[Key]) -> None:
        key = tuple(mistake["loc"])
        if any(key[: len(done)] == done for done in placeholders):
            return
        name = str(key[-1]) if key else ""
        if mistake["type"] == "extra_forbidden":
            fields = _fields_at(model, key[:-1])
            document, there = layered.origin(key)
            problem = document.problem(
                "CFG-020",
                there,
                f"unknown field {name!r} {where}",
                of_key=True,
                expected=", ".join(fields),
                help=did_you_mean(name, fields),
            )
            self.add(problem)
        elif mistake["type"] == "missing":
            self.add(layered.problem("CFG-018", key, f"{name!r} is missing {where}", of_key=True))
        else:
            text = mistake["msg"].removeprefix("Value error, ")
            text = text[0].lower() + text[1:]
            self.add(layered.problem("CFG-019", key, f"{name}: {text}" if name else text))

    def unknown_field(self, key: Key, name: str, names: Iterable[str], where: str) -> None:
        names = list(names)
        self.report(
            "CFG-020",
            key,
            f"unknown field {name!r} {where}",
            of_key=True,
            expected=", ".join(names),
            help=did_you_mean(name, names),
        )


@dataclass(frozen=True, slots=True)
class _Names:
    connections: dict[str, Any]
    mappings: dict[str, Any]
    records: dict[str, Any]


def profile_problems(profile: Document, catalogue: Catalogue) -> list[Problem]:
    """What is wrong with a vendor profile as such."""
    data = profile.data
    found: list[Problem] = []
    if not isinstance(data, dict) or not isinstance(data.get("kinds"), dict):
        return [profile.problem("CFG-060", (), "a vendor profile has `vendor`, `proven` and `kinds`")]
    for name in data:
        if name not in ("vendor", "title", "proven", "sources", "kinds", "notes"):
            found.append(profile.problem("CFG-060", (name,), f"unknown field {name!r} in a vendor profile", of_key=True))
    if data.get("proven") not in PROVEN:
        found.append(profile.problem("CFG-061", ("proven",), f"`proven` says how far this was tested: {', '.join(PROVEN)}"))
    for kind in data["kinds"]:
        if kind not in catalogue.connectors:
            found.append(profile.problem("CFG-062", ("kinds", kind), f"there is no connector {kind!r}", of_key=True))
    return found


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    names = sorted(names)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names[:20])}" if names else "there are none"


def _free_name(name: str, taken: set[str]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name}#{number}", number + 1
    return candidate


def _without_value(problem: Problem, value: str) -> Problem:
    source = problem.source.replace(value, "•" * 8)
    return Problem(
        problem.code, problem.text, problem.file, problem.line, problem.column, source, 8, problem.expected, problem.help
    )


def _fields_at(model: type[Any], key: Key) -> list[str]:
    current: Any = model
    for part in key:
        info = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        kinds = (info.annotation, *typing.get_args(info.annotation)) if info else ()
        current = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
    return list(current.model_fields) if hasattr(current, "model_fields") else []


def _anchored(model: Any, folder: Path) -> Any:
    """Relative paths in a clinic file are relative to the file, wherever the hub is started."""
    update: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path) and not value.is_absolute():
            update[name] = folder / value
        elif isinstance(value, BaseModel):
            update[name] = _anchored(value, folder)
    return model.model_copy(update=update) if update else model


def _zone(name: str) -> tzinfo:
    return zoneinfo.ZoneInfo(name)


def _effective(layered: Layered, config: BaseModel) -> dict[str, tuple[Any, str]]:
    """Each setting with the file and line it came from; secrets stay references."""
    found: dict[str, tuple[Any, str]] = {}

    def walk(key: Key, value: Any, given: Any) -> None:
        if isinstance(value, BaseModel):
            for name in type(value).model_fields:
                walk((*key, name), getattr(value, name), given.get(name) if isinstance(given, dict) else None)
            return
        shown = "••••" if isinstance(value, SecretStr) else value
        if given is not None or key in layered.origins:
            document, there = layered.origin(key)
            place = document.place(there)
            found[".".join(map(str, key))] = (given if secrets.is_reference(given) else shown, f"{place.file}:{place.line}")
        else:
            found[".".join(map(str, key))] = (shown, "default")

    walk((), config, layered.data)
    return found

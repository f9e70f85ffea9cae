"""Reading a clinic file: every mistake at once, each with file, line, column, what was expected and what to do."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, SecretStr

from hub.catalogue import Catalogue
from hub.connector import Keep, Source
from hub.errors import ConfigError, Problem, Problems
from hub.format import Format
from hub.paths import DEFAULT_STORE, POSTGRES, has_password, is_postgres
from hub.records import Organisation
from hub.settings import secrets
from hub.settings.merge import Layered, layer, merge
from hub.settings.model import (
    DEFAULT_LEASE,
    LONGEST_LEASE,
    SHORTEST_LEASE,
    ConnectionSettings,
    DiskSettings,
    FlowSettings,
    LogSettings,
    OrganisationSettings,
    RetentionSettings,
    Settings,
    SiteSettings,
    StepSettings,
    fingerprint,
)
from hub.settings.overlays import overlay_problems
from hub.settings.payers import read_payers
from hub.settings.profiles import Profiles
from hub.settings.schedule import EverySettings, Schedule, Timing
from hub.settings.signals import AlertSettings, MetricsSettings
from hub.settings.values import Values, did_you_mean
from hub.step import Site
from hub.units import parse_duration
from hub.when import HEADERS, When, conditions_of, is_path, parse_when
from hub.yaml_text import Document, Key, load_file

TOP = (
    "organisation", "sites", "payers", "store", "files", "lease", "key", "retention", "disk", "connections", "flows",
    "mappings", "vendors", "disable", "log", "metrics", "alerts",
)  # fmt: skip
STORES = ("sqlite:///", POSTGRES, "postgres://")
FLOW_FIELDS = ("from", "when", "steps", "keep")


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

    def folders(name: str) -> list[Path]:
        return [folder / entry for entry in _words(data.get(name)) or [name] if (folder / entry).is_dir()]

    return Preview(document, _words(data.get("disable")), folders("mappings"), folders("vendors"))


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
        self.document = document
        self.data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
        self.profiles = Profiles(catalogue.vendors)
        self.problems = Problems(list(document.problems.found))
        self.values = Values(self.folder, catalogue, strict_secrets, self.problems)

    def add(self, problem: Problem) -> None:
        self.problems.add(problem)

    def report(self, code: str, key: Key, text: str, **details: Any) -> None:
        self.add(self.document.problem(code, key, text, **details))

    # The file as a whole.

    def load(self) -> Loaded:
        settings = self.settings() if isinstance(self.document.data, dict) else None
        if settings is None and not self.problems.found:
            self.report("CFG-008", (), "the clinic file is empty", help="`hub init DIR` writes one to start from")
        return Loaded(settings, self.values.without_literals(self.problems.sorted()))

    def settings(self) -> Settings:
        for name in self.data:
            if name not in TOP:
                self.unknown_field((name,), name, TOP, "in the clinic file")
        self.check_folders()
        self.check_disabled()
        settings = Settings(
            file=self.path,
            organisation=self.organisation() or Organisation(name="", npi=""),
            sites=self.sites(),
            payers=self.payers(),
            store=self.store(),
            files=self.files(),
            lease=self.lease(),
            key=self.key(),
            log=self.part(LogSettings, ("log",), self.data.get("log") or {}) or LogSettings(),
            retention=self.part(RetentionSettings, ("retention",), self.data.get("retention") or {}) or RetentionSettings(),
            metrics=self.part(MetricsSettings, ("metrics",), self.data.get("metrics") or {}) or MetricsSettings(),
            alerts=self.alerts(),
            disk=self.part(DiskSettings, ("disk",), self.data.get("disk") or {}) or DiskSettings(),
        )
        settings.connections = self.connections(settings.sites)
        settings.flows = self.flows()
        return settings

    def alerts(self) -> AlertSettings:
        part = self.part(AlertSettings, ("alerts",), self.data.get("alerts") or {})
        return _anchored(part, self.folder) if part is not None else AlertSettings()

    def check_folders(self) -> None:
        for name in ("mappings", "vendors"):
            for key, entry in self.words(name, f"`{name}` is the name of a folder, or a list of them"):
                if not (self.folder / entry).is_dir():
                    self.report("CFG-031", key, f"there is no folder {entry!r} beside the clinic file")

    def check_disabled(self) -> None:
        for key, entry in self.words("disable", "`disable` is the name of a plugin, or a list of them"):
            if entry not in self.catalogue.plugins:
                help = did_you_mean(entry, self.catalogue.plugins)
                self.report("CFG-032", key, f"there is no plugin {entry!r} to disable", help=help)

    def words(self, name: str, shape: str) -> list[tuple[Key, str]]:
        """One word or a list of words, each with its place."""
        given = self.data.get(name)
        listed = given if isinstance(given, list) else [] if given is None else [given]
        if not all(isinstance(entry, str) for entry in listed):
            self.report("CFG-011", (name,), shape)
            return []
        return [((name, index) if isinstance(given, list) else (name,), entry) for index, entry in enumerate(listed)]

    def named(self, part: str) -> dict[str, Any]:
        """What stands under `connections` or `flows`, whatever shape the file has."""
        given = self.data.get(part)
        return given if isinstance(given, dict) else {}

    def key(self) -> Path:
        given = self.data.get("key")
        if given is not None and not isinstance(given, str):
            self.report("CFG-011", ("key",), "`key` is the name of a file")
        return self.folder / (given if isinstance(given, str) and given else "hub.key")

    def organisation(self) -> Organisation | None:
        given = self.data.get("organisation")
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

    def sites(self) -> dict[str, Site]:
        given = self.data.get("sites")
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

    def payers(self) -> list[Any]:
        given = self.data.get("payers")
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

    def store(self) -> str:
        given: Any = self.data.get("store") or DEFAULT_STORE
        if secrets.is_reference(given):
            return self.store_looked_up(given)
        if not isinstance(given, str) or not given.startswith(STORES):
            self.report("CFG-012", ("store",), "`store` is no address the hub knows", expected=DEFAULT_STORE)
            return DEFAULT_STORE
        if has_password(given):
            self.values.keep_out_of_reports(given)
            self.report(
                "CFG-051",
                ("store",),
                "the password of the database is written into the file",
                expected="store: {$env: NAME}, or an address without a password and a ~/.pgpass",
                help="take it out, change it, and refer to it",
            )
        return given

    def store_looked_up(self, reference: dict[str, Any]) -> str:
        """An address that is looked up elsewhere, because a password is in it."""
        found, reason = secrets.resolve(reference, self.folder, self.catalogue.find_secret)
        if found is None:
            level = "error" if self.values.strict_secrets or reason.startswith("'") else "warning"
            self.report("CFG-050", ("store",), reason, level=level)
        elif not is_postgres(found):
            self.report("CFG-012", ("store",), "what `store` refers to is no address of PostgreSQL", expected=f"{POSTGRES}...")
        else:
            return found
        return POSTGRES

    def files(self) -> Path | None:
        given = self.data.get("files")
        if given is None:
            return None
        if not isinstance(given, str) or not given:
            self.report("CFG-011", ("files",), "`files` is the name of a folder")
            return None
        return self.folder / given

    def lease(self) -> float:
        given = self.data.get("lease")
        if given is None:
            return DEFAULT_LEASE
        try:
            seconds = parse_duration(str(given))
        except ValueError:
            seconds = 0.0
        if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
            text = "`lease` is how long a hub may be silent before another one takes over"
            self.report("CFG-011", ("lease",), text, expected=f"{SHORTEST_LEASE:g}s to {LONGEST_LEASE:g}s, such as 10s")
            return DEFAULT_LEASE
        return seconds

    def part(self, model: type[Any], key: Key, data: Any) -> Any:
        """One typed part of the clinic file; None when something is wrong with it."""
        if not isinstance(data, dict):
            self.report("CFG-011", key, f"{key[-1]}: expected `name: value` lines", expected=", ".join(model.model_fields))
            return None
        layered = layer(self.document, key, data)
        return self.values.typed(model, layered, f"in {'.'.join(str(k) for k in key)}")

    # Connections.

    def connections(self, sites: dict[str, Site]) -> dict[str, ConnectionSettings]:
        given = self.data.get("connections")
        if given is None:
            return {}
        if not isinstance(given, dict):
            self.report("CFG-011", ("connections",), "`connections` is a list of connections by name")
            return {}
        return {name: found for name, content in given.items() if (found := self.connection(name, content, sites))}

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
        config = self.values.typed(connector.Config, layered, f"in the connection {name!r} ({kind})")
        if config is None:
            return None
        config = _anchored(config, self.folder)
        self.check_site(name, connector, config, layered, sites)
        self.check_ordering_key(config, layered)
        for problem in overlay_problems(layered, self.catalogue):
            self.add(problem)
        return ConnectionSettings(name, connector, config, _effective(layered, config))

    def check_ordering_key(self, config: Any, layered: Layered) -> None:
        path = getattr(config, "ordering_key", None)
        ordered = [format for format in self.catalogue.formats.values() if format.orders_by_path]
        if path and (problem := self.path_problem(path, ordered)):
            self.add(layered.problem("CFG-034", ("ordering_key",), f"ordering_key: {problem}"))

    def path_problem(self, path: str, formats: Iterable[Format] | None = None) -> str | None:
        """What is wrong with a path, when none of these formats can read it, or no format at all."""
        problems = [f.path_error(path) for f in (self.catalogue.formats.values() if formats is None else formats)]
        return None if None in problems or not problems else problems[0]

    def check_site(self, name: str, connector: type[Any], config: Any, layered: Layered, sites: dict[str, Site]) -> None:
        if config.site is None and len(sites) > 1 and issubclass(connector, Source) and not config.timezone:
            first = next(iter(sites))
            text = f"the connection {name!r} does not say its site; times without a zone are taken for those of {first!r}"
            expected = f"site: {' or '.join(sites)}"
            self.report("CFG-033", ("connections", name), text, of_key=True, expected=expected, level="warning")
        if config.site is not None and config.site not in sites:
            help = did_you_mean(config.site, sites)
            self.add(layered.problem("CFG-015", ("site",), f"there is no site {config.site!r}", help=help))

    def with_profile(self, key: Key, name: str, own: Layered) -> Layered:
        if own.data.get("vendor") is None:
            return own
        vendor = str(own.data["vendor"])
        if vendor not in self.profiles:
            help = did_you_mean(vendor, self.catalogue.vendors)
            self.report("CFG-016", (*key, "vendor"), f"there is no vendor profile {vendor!r}", help=help)
            return own
        kind = self.profiles.kind(own.data)
        under = self.profiles.layer(vendor, kind) if kind is not None else None
        if under is not None:
            return merge(under, own)
        if kind is not None and (kinds := self.profiles.kinds(vendor)):
            text = f"the profile {vendor!r} has nothing for the kind {kind!r}, so all values of {name!r} are your own"
            expected = f"kinds of this profile: {', '.join(kinds)}"
            self.report("CFG-017", (*key, "vendor"), text, level="warning", expected=expected)
        return own

    # Flows.

    def flows(self) -> dict[str, FlowSettings]:
        given = self.data.get("flows")
        if given is None:
            return {}
        if not isinstance(given, dict):
            self.report("CFG-011", ("flows",), "`flows` is a list of flows by name")
            return {}
        return {name: flow for name, content in given.items() if (flow := self.flow(name, content))}

    def flow(self, name: str, content: Any) -> FlowSettings | None:
        key: Key = ("flows", name)
        if not isinstance(content, dict):
            self.report("CFG-011", key, f"the flow {name!r} needs `from` and `steps`")
            return None
        for part in content:
            if part not in FLOW_FIELDS:
                self.unknown_field((*key, part), part, FLOW_FIELDS, f"in the flow {name!r}")
        source = self.flow_source(key, name, content.get("from"))
        when = parse_when(content.get("when"), lambda at, text: self.report("CFG-021", (*key, "when", *at), text))
        self.check_when_keys(key, when)
        steps = self.steps(key, name, content.get("steps"))
        timing = self.flow_timing(key, content.get("from"))
        if source is None or timing is None:
            return None
        schedule = Schedule.of(timing, self.zone_of(key, timing.site)) if isinstance(timing, EverySettings) else None
        return FlowSettings(
            name, source, when, steps, fingerprint(content), timing, schedule, self.keep(key, content.get("keep"))
        )

    def keep(self, key: Key, given: Any) -> Keep | None:
        """How long bodies stay; None when the flow does not say."""
        known: dict[str, Keep] = {name: name for name in get_args(Keep)}
        if given is None:
            return None
        if isinstance(given, str) and given in known:
            return known[given]
        here, names = (*key, "keep"), list(known)
        self.report("CFG-019", here, f"keep: {given!r} is none of {', '.join(names)}", help=did_you_mean(str(given), names))
        return None

    def check_when_keys(self, key: Key, when: When) -> None:
        for condition in conditions_of(when):
            name, problem = condition.key, None
            if is_path(name):
                problem = self.path_problem(name)
            elif name not in HEADERS:
                problem = f"{name!r} is no header of a message and no path"
            if problem:
                self.report("CFG-022", (*key, "when", *condition.place), problem, of_key=True, help=did_you_mean(name, HEADERS))

    def flow_timing(self, key: Key, given: Any) -> Timing | None:
        """What becomes of missed times; None when something is wrong with it."""
        here: Key = (*key, "from")
        if not isinstance(given, dict):
            return Timing()
        if "every" in given:
            return cast("Timing | None", self.part(EverySettings, here, given))
        rest = {name: value for name, value in given.items() if name not in ("due", "failed")}
        if rest and "due" in given:
            return cast("Timing | None", self.part(Timing, here, rest))
        return Timing()

    def zone_of(self, key: Key, site: str | None) -> tzinfo:
        """The zone of a site of the clinic file; of its first one when none is named."""
        sites = self.named("sites")
        if site is not None and site not in sites:
            self.report("CFG-015", (*key, "from", "site"), f"there is no site {site!r}", help=did_you_mean(site, sites))
        content = sites.get(site or next(iter(sites), ""))
        name = content.get("timezone") if isinstance(content, dict) else None
        try:
            return _zone(str(name))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            return UTC  # what is wrong with the site is told where the site stands

    def flow_source(self, key: Key, name: str, given: Any) -> str | None:
        here: Key = (*key, "from")
        if isinstance(given, dict) and "every" in given:
            return f"every {name}"
        if isinstance(given, dict) and ("due" in given or len(given) == 1):
            way, what = ("due", given["due"]) if "due" in given else next(iter(given.items()))
            known = {"due": list(self.catalogue.due), "failed": list(self.named("flows"))}
            if way in known and what in known[way]:
                return f"{way} {what}"
            if way in known:
                kind = "due work" if way == "due" else "flow"
                self.report("CFG-024", (*here, way), f"there is no {kind} {what!r}", help=did_you_mean(str(what), known[way]))
                return None
        connections = self.named("connections")
        if not isinstance(given, str):
            ways = "a connection, {due: JOB}, {failed: FLOW} or {every: day, at: TIME}"
            text = "`from` is missing" if given is None else f"`from` is {ways}"
            self.report("CFG-023", here, f"the flow {name!r}: {text}", expected="from: CONNECTION")
            return None
        if given not in connections:
            self.report("CFG-024", here, f"there is no connection {given!r}", help=did_you_mean(given, connections))
            return None
        if (connector := self.connector_of(given)) and not issubclass(connector, Source):
            self.report(
                "CFG-025", here, f"the connection {given!r} ({connector.kind}) only sends; a flow needs one that receives"
            )
            return None
        return f"connection {given}"

    def connector_of(self, name: str) -> type[Any] | None:
        return self.catalogue.connectors.get(self.profiles.kind(self.named("connections").get(name)) or "")

    def steps(self, key: Key, flow: str, given: Any) -> tuple[StepSettings, ...]:
        here: Key = (*key, "steps")
        if not isinstance(given, list) or not given:
            self.report("CFG-026", here, f"the flow {flow!r} has no steps", expected="steps: [{map: ...}, {save: ...}]")
            return ()
        found: list[StepSettings] = []
        for index, content in enumerate(given):
            step = self.step((*here, index), content)
            if step is None:
                continue
            name = _free_name(step.name, {s.name for s in found})
            if name != step.name and isinstance(content, dict) and "name" in content:
                self.report("CFG-028", (*here, index, "name"), f"two steps of the flow {flow!r} are called {step.name!r}")
            found.append(StepSettings(name, step.step, step.config))
        return tuple(found)

    def step(self, key: Key, content: Any) -> StepSettings | None:
        kind_key = self.step_kind(key, content)
        if kind_key is None:
            return None
        kind, settings, own_name = content, {}, None
        if isinstance(content, dict):
            kind, own_name = str(kind_key[-1]), content.get("name")
            settings = content[kind]
        step = self.catalogue.steps.get(kind)
        if step is None:
            help = did_you_mean(kind, self.catalogue.steps)
            self.report("CFG-029", kind_key, f"there is no step {kind!r}", of_key=True, help=help)
            return None
        layered = self.step_layer(step, kind_key, settings)
        if layered is None or (config := self.values.typed(step.Config, layered, f"in the step {kind!r}")) is None:
            return None
        config = _anchored(config, self.folder)
        self.check_references(step, config, layered)
        main = getattr(config, step.main) if step.main else None
        return StepSettings(own_name or (f"{kind}:{main}" if isinstance(main, str) else kind), step, config)

    def step_kind(self, key: Key, content: Any) -> Key | None:
        """Where the kind of a step stands: `- KIND`, or `- KIND: settings` with or without `name`."""
        if isinstance(content, str):
            return key
        kinds = [name for name in content if name != "name"] if isinstance(content, dict) else []
        if not kinds:
            self.report("CFG-027", key, "a step is written `- KIND: settings`")
            return None
        if len(kinds) > 1:
            text = f"one step does one thing: put {kinds[1]!r} under a dash of its own"
            self.report("CFG-027", (*key, kinds[1]), text, of_key=True)
            return None
        if not isinstance(content.get("name"), str | None):
            self.report("CFG-027", (*key, "name"), "the `name` of a step is a word")
            return None
        return (*key, kinds[0])

    def step_layer(self, step: type[Any], key: Key, settings: Any) -> Layered | None:
        """The settings of a step; what is no mapping fills its main one."""
        if isinstance(settings, dict):
            return layer(self.document, key, settings)
        if step.main is None:
            expected = ", ".join(step.Config.model_fields)
            self.report("CFG-027", key, f"the step {step.kind!r} needs settings", expected=expected)
            return None
        layered = layer(self.document, key, {step.main: settings} if settings is not None else {})
        layered.origins[(step.main,)] = (self.document, key)
        return layered

    def check_references(self, step: type[Any], config: Any, layered: Layered) -> None:
        names = _Names(
            connections={name: self.connector_of(name) for name in self.named("connections")},
            mappings=self.catalogue.mappings,
            records=self.catalogue.records,
        )
        for wrong in step.misreferences(config, names):
            value = str(getattr(config, wrong.field.split(".")[0], ""))
            help = did_you_mean(value, wrong.candidates) if wrong.candidates is not None else ""
            self.add(layered.problem("CFG-030", tuple(wrong.field.split(".")), wrong.text, help=help))

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


def _words(given: Any) -> list[str]:
    listed = given if isinstance(given, list) else [given]
    return [entry for entry in listed if isinstance(entry, str)]


def _free_name(name: str, taken: set[str]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name}#{number}", number + 1
    return candidate


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
            found[".".join(map(str, key))] = (given if secrets.has_reference(given) else shown, f"{place.file}:{place.line}")
        else:
            found[".".join(map(str, key))] = (shown, "default")

    walk((), config, layered.data)
    return found

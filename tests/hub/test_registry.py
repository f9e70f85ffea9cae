"""Plugins are found by entry point, checked, and refused with words that name the one to blame."""

import io
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import structlog

from hub import hookspecs
from hub.clinic import examine
from hub.errors import ConfigError, HubError
from hub.registry import Registry
from tests.support import clinic_folder

IMPORTS = "from pathlib import Path\nfrom hub import Destination, DestinationConfig, Step, StepConfig, Transform, hookimpl\n"
CONNECTOR = """
class Config(DestinationConfig):
    pass
class Kiosk(Destination[Config]):
    kind = "kiosk"
    async def send(self, message):
        return None
"""

Plugin = Callable[..., EntryPoint]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    """Writes a module and gives its entry point."""
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    (tmp_path / "modules").mkdir()
    made: list[str] = []

    def make(source: str, name: str = "acme", module: str = "acme_plugin") -> EntryPoint:
        made.append(module)
        (tmp_path / "modules" / f"{module}.py").write_text(IMPORTS + source, encoding="utf-8")
        return EntryPoint(name, module, hookspecs.PROJECT)

    yield make
    for module in made:
        sys.modules.pop(module, None)


def refused(*points: EntryPoint, disable: tuple[str, ...] = ()) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Registry(points=points, disable=disable)
    assert [problem.code for problem in caught.value.problems] == [caught.value.code]
    return caught.value


def brings(connector: str) -> str:
    return f"{CONNECTOR}Kiosk.kind = {connector!r}\n@hookimpl\ndef register_connectors():\n    return [Kiosk]\n"


# What is there.


def test_everything_the_hub_comes_with_is_found_by_its_entry_points() -> None:
    catalogue = Registry().catalogue
    assert {"mllp_listener", "mllp_sender", "http", "folder"} <= catalogue.connectors.keys()
    assert {"map", "save", "ask", "send", "plan_checks", "check_failed", "worklist"} <= catalogue.steps.keys()
    assert {"hl7v2", "x12"} <= catalogue.formats.keys()
    assert {"patient", "appointment", "visit", "coverage_check", "worklist_item", "failure"} <= catalogue.records.keys()
    assert {"adt_to_patient", "siu_to_appointment", "visit_to_270", "271_to_coverage"} <= catalogue.mappings.keys()
    assert {"epic", "availity"} <= catalogue.vendors.keys()
    assert "eligibility" in catalogue.due
    assert not any(path.name.endswith(".test.yaml") for path in catalogue.mappings.values())


def test_every_thing_remembers_the_module_that_brought_it() -> None:
    origin = Registry().catalogue.origin
    assert origin["connectors mllp_listener"] == "connectors.mllp"
    assert origin["steps plan_checks"] == "plugins.eligibility"
    assert origin["vendors epic"] == "connectors.vendors"


def test_a_plugin_brings_what_it_registers(plugin: Plugin) -> None:
    source = (
        brings("kiosk")
        + "class Greet(Step[StepConfig]):\n    kind = 'greet'\n    async def run(self, message, context): ...\n"
        + "@hookimpl\ndef register_steps():\n    return [Greet]\n"
        + "@hookimpl\ndef register_transforms():\n    return [Transform('initial', lambda v, a, c: v[:1])]\n"
    )
    catalogue = Registry(points=[plugin(source)]).catalogue
    assert catalogue.connectors["kiosk"].__name__ == "Kiosk"
    assert set(catalogue.steps) == {"greet"}
    assert set(catalogue.transforms) == {"initial"}
    assert catalogue.origin["steps greet"] == "acme_plugin"


def test_mappings_and_profiles_are_found_in_folders_and_as_files(plugin: Plugin, tmp_path: Path) -> None:
    for name in ("one.yaml", "one.test.yaml", "notes.txt", "deep/two.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    paths = [str(tmp_path), str(tmp_path / "deep" / "two.yaml")]
    source = f"@hookimpl\ndef register_mappings():\n    return [Path(path) for path in {paths!r}]\n"
    catalogue = Registry(points=[plugin(source)]).catalogue
    assert catalogue.mappings == {"one": tmp_path / "one.yaml", "two": tmp_path / "deep" / "two.yaml"}


# What is refused.


def test_two_things_of_one_name_are_refused_naming_both_modules(plugin: Plugin) -> None:
    error = refused(plugin(brings("kiosk"), "a", "first_kiosk"), plugin(brings("kiosk"), "b", "second_kiosk"))
    assert error.code == "PLG-005"
    assert all(word in str(error) for word in ("'kiosk'", "first_kiosk", "second_kiosk"))


def test_a_thing_that_bears_the_name_of_a_built_in_one_is_refused(plugin: Plugin) -> None:
    error = refused(plugin(brings("http")), *entry_points(group=hookspecs.PROJECT))
    assert error.code == "PLG-005"
    assert "acme_plugin" in str(error)
    assert "connectors.http" in str(error)


def test_two_mappings_of_one_name_are_refused(plugin: Plugin, tmp_path: Path) -> None:
    (tmp_path / "adt_to_patient.yaml").write_text("", encoding="utf-8")
    source = f"@hookimpl\ndef register_mappings():\n    return [Path({str(tmp_path)!r})]\n"
    assert refused(plugin(source), *entry_points(group=hookspecs.PROJECT)).code == "PLG-005"


def test_a_thing_brought_twice_by_one_plugin_is_refused(plugin: Plugin) -> None:
    error = refused(plugin(brings("kiosk").replace("[Kiosk]", "[Kiosk, Kiosk]")))
    assert error.code == "PLG-005"


def test_two_plugins_of_one_name_are_refused_naming_both(plugin: Plugin) -> None:
    error = refused(plugin("", "acme", "first_acme"), plugin("", "acme", "second_acme"))
    assert error.code == "PLG-001"
    assert all(word in str(error) for word in ("'acme'", "first_acme", "second_acme"))


def test_the_same_plugin_found_twice_is_one(plugin: Plugin) -> None:
    point = plugin(brings("kiosk"))
    assert set(Registry(points=[point, point]).catalogue.connectors) == {"kiosk"}


CANNOT_BE_IMPORTED = {
    "a module that is missing": "import no_such_library_anywhere\n",
    "an error in it": "1 / 0\n",
    "a mistake of syntax": "def :\n",
    "a program that ends itself": "raise SystemExit(0)\n",
    "a mistake in its classes": "class Broken(Step[int]):\n    kind = x\n",
}


@pytest.mark.parametrize("source", CANNOT_BE_IMPORTED.values(), ids=CANNOT_BE_IMPORTED)
def test_a_plugin_that_cannot_be_imported_is_refused_by_name(plugin: Plugin, source: str) -> None:
    error = refused(plugin(source))
    assert error.code == "PLG-002"
    assert "'acme'" in str(error)
    assert "acme_plugin" in str(error)


def test_an_entry_point_to_nothing_is_refused_by_name() -> None:
    assert refused(EntryPoint("acme", "no_such_module_anywhere", hookspecs.PROJECT)).code == "PLG-002"


WRONG_HOOKS = {
    "misspelt": ("@hookimpl\ndef register_conectors():\n    return []\n", "PLG-003", "register_conectors"),
    "with an argument that is none": ("@hookimpl\ndef hub_started(hub, spoon):\n    pass\n", "PLG-003", "spoon"),
    "async": ("@hookimpl\nasync def hub_started(hub):\n    pass\n", "PLG-004", "hub_started"),
    "async, collecting": ("@hookimpl\nasync def register_steps():\n    return []\n", "PLG-004", "register_steps"),
    "an async generator": ("@hookimpl\nasync def register_steps():\n    yield None\n", "PLG-004", "register_steps"),
}


@pytest.mark.parametrize(("source", "code", "word"), WRONG_HOOKS.values(), ids=WRONG_HOOKS)
def test_a_hook_that_is_written_wrongly_is_refused_by_name(plugin: Plugin, source: str, code: str, word: str) -> None:
    error = refused(plugin(source))
    assert error.code == code
    assert "'acme'" in str(error)
    assert word in str(error)


def test_a_misspelt_hook_is_told_which_there_are(plugin: Plugin) -> None:
    assert "register_connectors" in str(refused(plugin("@hookimpl\ndef register_conectors():\n    return []\n")))


def registers(what: str, returned: str) -> str:
    return f"{CONNECTOR}@hookimpl\ndef register_{what}():\n    {returned}\n"


FAILS_WHILE_COLLECTED = {
    "raises": registers("steps", "raise RuntimeError('no')"),
    "returns nothing": registers("steps", "pass"),
    "returns one thing": registers("connectors", "return Kiosk"),
    "returns an object without a name": registers("transforms", "return [object()]"),
    "returns a text": registers("steps", "return ['greet']"),
    "returns a connector without a kind": "".join([registers("connectors", "return [Kiosk]"), "del Kiosk.kind\n"]),
    "returns an instance": registers("connectors", "return [Kiosk('a', Config(kind='kiosk'))]"),
    "returns paths as texts": registers("mappings", "return ['/tmp']"),
    "returns a class that is no connector": registers("connectors", "return [type('Thing', (), {'kind': 'thing'})]"),
}


@pytest.mark.parametrize("source", FAILS_WHILE_COLLECTED.values(), ids=FAILS_WHILE_COLLECTED)
def test_a_plugin_that_fails_while_it_is_collected_is_refused_by_name(plugin: Plugin, source: str) -> None:
    try:
        error = refused(plugin(source))
    except Exception as wrong:
        pytest.fail(f"{type(wrong).__name__} came out: {wrong}", pytrace=False)
    assert error.code == "PLG-006"
    assert "acme" in str(error)


def test_a_hook_without_its_mark_is_told_because_it_would_silently_bring_nothing(plugin: Plugin) -> None:
    error = refused(plugin(f"{CONNECTOR}def register_connectors():\n    return [Kiosk]\n"))
    assert "hookimpl" in str(error)


# `disable`.


def test_a_disabled_plugin_is_not_even_imported(plugin: Plugin) -> None:
    registry = Registry(points=[plugin("1 / 0\n")], disable=["acme"])
    assert not registry.catalogue.connectors


def test_disabling_one_of_two_that_clash_settles_it(plugin: Plugin) -> None:
    points = [plugin(brings("kiosk"), "a", "first_kiosk"), plugin(brings("kiosk"), "b", "second_kiosk")]
    assert Registry(points=points, disable=["b"]).catalogue.origin["connectors kiosk"] == "first_kiosk"


def test_a_clinic_file_disables_plugins(tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, "disable: [folder, worklist]\nconnections:\n  a: {kind: folder, path: /tmp}\n")
    examined = examine(file)
    assert [(p.code, p.line) for p in examined.errors] == [("CFG-014", 9)]
    examined = examine(clinic_folder(tmp_path, "disable: worklist\n"))
    assert examined.clinic is not None
    assert "worklist" not in examined.clinic.catalogue.steps
    assert "folder" in examined.clinic.catalogue.connectors


# Hooks that tell.


def test_telling_hooks_are_called_with_what_they_ask_for(plugin: Plugin) -> None:
    source = "told = []\n@hookimpl\ndef message_failed(where, final):\n    told.append((where, final))\n"
    registry = Registry(points=[plugin(source)])
    registry.tell("message_failed", message_id="m", where="flow a", error=HubError(), attempt=1, final=True)
    assert sys.modules["acme_plugin"].told == [("flow a", True)]


def test_an_error_in_a_telling_hook_is_logged_without_its_words_and_stops_nothing(plugin: Plugin) -> None:
    bad = plugin("@hookimpl\ndef hub_started(hub):\n    raise RuntimeError('ZZCANARYPATIENT')\n", "a", "bad_plugin")
    good = plugin("told = []\n@hookimpl\ndef hub_started(hub):\n    told.append(hub)\n", "b", "good_plugin")
    written = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(written))
    try:
        Registry(points=[bad, good]).tell("hub_started", hub="the hub")
        Registry(points=[good, bad]).tell("hub_started", hub="the hub")
    finally:
        structlog.reset_defaults()
    assert sys.modules["good_plugin"].told == ["the hub", "the hub"]
    log = written.getvalue()
    assert all(word in log for word in ("hub_started", "RuntimeError"))
    assert "CANARY" not in log


def test_the_first_plugin_that_knows_a_secret_decides(plugin: Plugin) -> None:
    first = plugin("@hookimpl\ndef find_secret(reference):\n    return None\n", "a", "knows_nothing")
    second = plugin("@hookimpl\ndef find_secret(reference):\n    return {'x': 'hidden'}.get(reference)\n", "b", "knows_one")
    find = Registry(points=[first, second]).catalogue.find_secret
    assert (find("x"), find("y")) == ("hidden", None)


def test_every_hook_says_what_it_is_by_its_name() -> None:
    hooks = [name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), f"{hookspecs.PROJECT}_spec")]
    assert len(hooks) >= 14
    for name in hooks:
        spec = getattr(hookspecs, name)
        assert spec.__doc__
        options = getattr(spec, f"{hookspecs.PROJECT}_spec")
        assert bool(options["firstresult"]) == name.startswith("find_")

"""Fixtures for the tests of the bus: the probe plugin, fresh for each test."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tests import support
from tests.hub.bus import probe
from tests.support import ROOT


@pytest.fixture(autouse=True)
def _only_errors_are_logged() -> Iterator[None]:
    """Refusals are what many of these tests are about: a line for each would bury what went wrong."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that makes the probe a plugin for whoever has it on the path."""
    return probe.plugged_in(tmp_path_factory.mktemp("lib"))


@pytest.fixture
def world(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> probe.World:
    """The probe is installed in this process, and nothing of a former test is left in it."""
    monkeypatch.syspath_prepend(str(plugin))
    for name in ("sent", "partners", "steps", "runs"):
        getattr(probe.WORLD, name).clear()
    return probe.WORLD


@pytest.fixture
def plugin_env(plugin: Path) -> dict[str, str]:
    """The environment of a process that has the probe installed."""
    return {"PYTHONPATH": os.pathsep.join([str(plugin), str(ROOT)])}


@pytest.fixture
def store(store_kind: str, tmp_path: Path) -> probe.Place:
    """Where the hub of a test keeps its store."""
    return tmp_path / "var" / "hub.db" if store_kind == "sqlite" else support.STORE[-1]


# Both databases.


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of promises run on both databases."""
    if metafunc.definition.get_closest_marker("both_stores") and not metafunc.definition.get_closest_marker("only_sqlite"):
        metafunc.parametrize("store_kind", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(autouse=True)
def store_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """What clinics that a test writes have as their store."""
    kind = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        yield kind
        return
    fresh = request.getfixturevalue("fresh_database")
    support.STORE.append(fresh())
    yield kind
    support.STORE.pop()


@pytest.fixture
def url(fresh_database: Callable[[], str]) -> str:
    """A database on PostgreSQL that is empty."""
    return fresh_database()

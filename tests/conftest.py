"""Fixtures for all tests, and what is not run is named."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.postgres import Server, execute, running_server
from tests.support import SAMPLES

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow campaigns and tests of what a fresh machine lacks run in `make test-long`; `make test` says which."""
    if LONG:
        return
    left = [item for item in items if item.get_closest_marker("long") or "tests/system" in str(item.path)]
    if left:
        config.stash[_LEFT] = {item.nodeid.split("[")[0] for item in left}
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


_LEFT = pytest.StashKey[set[str]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the others' boss what it left out."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["left"] = sorted(session.config.stash.get(_LEFT, set()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(_LEFT, set()).update(getattr(node, "workeroutput", {}).get("left", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left = config.stash.get(_LEFT, set())
    if left:
        terminalreporter.write_sep("-", f"{len(left)} tests run in `make test-long` only")
        for name in sorted(left):
            terminalreporter.write_line(name)


@pytest.fixture(autouse=True)
def _logging_begins_anew() -> None:
    """A hub that read its clinic file again, or a demo, has set up logging for the whole process."""
    structlog.reset_defaults()


@pytest.fixture
def samples() -> Path:
    """The public samples; a test that needs them says when they are not there."""
    if not SAMPLES.is_dir():
        pytest.skip(f"the public samples are not on this machine ({SAMPLES})")
    return SAMPLES


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A real server, for all tests of this process."""
    with running_server() as server:
        server.database("template")
        asyncio.run(prepare(server.url("template")))
        yield server


@pytest.fixture(scope="session")
def fresh_database(postgres_server: Server) -> Callable[[], str]:
    """Makes databases that have the tables and nothing else; returns their addresses."""
    numbers = count(1)

    def make() -> str:
        name = f"store{next(numbers)}"
        execute(postgres_server.url("postgres"), f'CREATE DATABASE "{name}" TEMPLATE template')
        return postgres_server.url(name)

    return make


async def prepare(url: str) -> None:
    from hub.store.postgres_opening import migrate

    await migrate(url, "")

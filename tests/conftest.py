"""Fixtures for all tests, and what is not run is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def samples() -> Path:
    """The public samples; a test that needs them says when they are not there."""
    if not SAMPLES.is_dir():
        pytest.skip(f"the public samples are not on this machine ({SAMPLES})")
    return SAMPLES

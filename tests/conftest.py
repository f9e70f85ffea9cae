"""Fixtures for all tests, and what is not run is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import SAMPLES

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow campaigns and tests of what a fresh machine lacks run in `make test-long`; `make test` says which."""
    if LONG:
        return
    left = [item for item in items if item.get_closest_marker("long") or "tests/system" in str(item.path)]
    if left:
        config.stash[_LEFT] = sorted({item.nodeid.split("[")[0] for item in left})
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


_LEFT = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left = config.stash.get(_LEFT, [])
    if left:
        terminalreporter.write_sep("-", f"{len(left)} tests run in `make test-long` only")
        for name in left:
            terminalreporter.write_line(name)


@pytest.fixture
def samples() -> Path:
    """The public samples; a test that needs them says when they are not there."""
    if not SAMPLES.is_dir():
        pytest.skip(f"the public samples are not on this machine ({SAMPLES})")
    return SAMPLES

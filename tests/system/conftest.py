"""The shim and a nursery whose hubs run on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.nursery import Nursery, nursery as open_nursery
from tests.system.shim import compiled


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not on this machine")
    return compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def nursery(shim: Path) -> Iterator[Nursery]:
    """Hubs whose disk forgets and fails as told."""
    with open_nursery({"LD_PRELOAD": str(shim)}) as found:
        yield found

"""What all tests of a module share, because making it takes longer than most tests: a clearinghouse, and an empty store."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from connectors.simulators.clearinghouse import Clearinghouse
from tests.plugins import clinic
from tests.support import clinic_folder, running_hub

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a module share an event loop with its clearinghouse."""
    for item in items:
        if HERE in item.path.parents and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    empty = clinic_folder(tmp_path_factory.mktemp("empty"), "")
    async with running_hub(empty):
        pass  # it makes the store and its key
    async with Clearinghouse() as house:
        clinic.SHARED.append(clinic.Shared(house, empty.parent))
        yield
        clinic.SHARED.clear()

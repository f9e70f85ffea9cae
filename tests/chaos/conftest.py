"""One nursery for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.nursery import Nursery, nursery as open_nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as found:
        yield found

"""Sources that look again and again: one bad look, or a mistake in the plugin, never ends the looking unnoticed."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from hub.connector import Deliver, Poller, SourceConfig
from hub.errors import ConnectionDown, HubError, StoreError
from hub.testing import CANARY, FakeDeliver
from hub.units import Duration
from tests.support import until


class LookConfig(SourceConfig):
    """Looks."""

    every: Duration = 0.01
    """How often."""


class Look(Poller[LookConfig]):
    """Fails as it is told, then goes on."""

    kind = "look"
    error: BaseException
    looks = 0

    async def poll(self, deliver: Deliver) -> None:
        self.looks += 1
        if self.looks <= 3:
            raise self.error


ERRORS = [
    ConnectionDown("look: the far side is gone"),
    StoreError("the disk is full"),
    HubError("no"),
    OSError(5, "Input/output error"),
    TimeoutError(),
    ValueError(CANARY),
    UnicodeEncodeError("utf-8", CANARY, 0, 1, "no"),
    KeyError(CANARY),
    RuntimeError(CANARY),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_poll_that_fails_is_told_and_tried_again(error: BaseException) -> None:
    source = Look("look", LookConfig(kind="look"))
    source.error = error
    with capture_logs() as logs:
        await source.open(FakeDeliver())
        try:
            await until(lambda: source.failure, timeout=1)
            assert CANARY not in (source.failure or ""), "the words of a strange error may hold patient data"
            await until(lambda: source.looks > 5 and source.failure is None, timeout=1)
        finally:
            await asyncio.gather(source.close(), return_exceptions=True)
    assert CANARY not in str(logs)


async def test_closing_ends_a_poll_that_hangs() -> None:
    class Hang(Look):
        async def poll(self, deliver: Deliver) -> None:
            await asyncio.Event().wait()

    source = Hang("look", LookConfig(kind="look"))
    await source.open(FakeDeliver())
    async with asyncio.timeout(1):
        await source.close()
        await source.close()

"""What cannot be kept is said once in a while, with how much it was."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from connectors.mllp import unkept
from connectors.mllp.unkept import Unkept


async def test_a_sender_that_tries_without_end_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unkept, "EVERY", 0.2)
    said = Unkept("ehr")
    with capture_logs() as lines:
        for _ in range(1000):
            said.tell(2, "STO-002", "the disk is full")
        assert [line["count"] for line in lines] == [2], "the first one at once"
        await asyncio.sleep(0.3)
        assert [line["count"] for line in lines] == [2, 1998]
        await asyncio.sleep(0.4)
        assert len(lines) == 2, "nothing new, nothing said"
        said.tell(1, "STO-002", "the disk is full")
        said.tell(3, "STO-003", "it is broken")
        said.close()
    assert [(line["count"], line["code"]) for line in lines[2:]] == [(1, "STO-002"), (3, "STO-003")]

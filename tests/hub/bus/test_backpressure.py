"""More comes in than the disk takes: senders are slowed, then told to try later; nothing is lost, memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from connectors.mllp.framing import framed
from hub.bus.admission import Admission
from hub.bus.hub import Hub
from hub.errors import Busy
from tests.hub.bus.probe import World, adt, deliver, one
from tests.support import ask, clinic_folder, port_of, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  ehr: {kind: mllp_listener, port: "0"}
  bytes: {kind: mllp_listener, port: "0", commit_bytes: "true"}
flows:
  work: {from: inbox, steps: [{probe: work}]}
  other: {from: ehr, steps: [{probe: work}]}
"""


@contextlib.contextmanager
def disk_stands_still(hub: Hub) -> Iterator[None]:
    """No commit ends meanwhile."""
    go_on = threading.Event()
    writer = hub.core.store.writer
    apply = writer.apply
    writer.apply = lambda writes: (go_on.wait(20), apply(writes))[1]  # type: ignore[method-assign]
    try:
        yield
    finally:
        writer.apply = apply  # type: ignore[method-assign]
        go_on.set()


def narrow(hub: Hub, messages: int = 3, patience: float = 0.3) -> Admission:
    admission = hub.core.admission
    admission.most_messages, admission.patience = messages, patience
    return admission


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    return clinic_folder(tmp_path, FLOW)


async def test_who_comes_when_it_is_full_waits_and_is_kept_in_turn(file: Path, store: Path) -> None:
    async with running_hub(file) as hub:
        admission = narrow(hub, patience=20)
        with disk_stands_still(hub):
            tasks = [asyncio.create_task(deliver(hub, adt(f"M{n}", str(n)))) for n in range(30)]
            await until(lambda: admission.slowed >= 25)
            assert admission.messages == 3, "the others are outside, as they came"
        receipts = await asyncio.gather(*tasks)
        await settled(hub)
        assert len({receipt.ids[0] for receipt in receipts}) == 30
        assert admission.highest_messages == 3
        assert (admission.messages, admission.bytes, admission.turned_away) == (0, 0, 0)
    assert one(store, "SELECT count(*) FROM message") == 30
    order = [one(store, "SELECT control_id FROM message WHERE seq = ?", n + 1) for n in range(30)]
    assert order == [f"M{n}" for n in range(30)]


async def test_who_waits_too_long_is_told_to_try_later_and_nothing_of_it_is_kept(file: Path, store: Path) -> None:
    async with running_hub(file) as hub:
        narrow(hub)
        with disk_stands_still(hub):
            inside = [asyncio.create_task(deliver(hub, adt(f"M{n}", str(n)))) for n in range(3)]
            await until(lambda: hub.core.admission.messages == 3)
            with pytest.raises(Busy) as busy:
                await deliver(hub, adt("M9"))
            assert busy.value.retry_after > 0
        await asyncio.gather(*inside)
        status = (await ask(hub, "status"))["store"]
        assert (status["coming_in"], status["slowed"], status["turned_away"]) == (0, 1, 1)
        await deliver(hub, adt("M9"))
        await settled(hub)
    assert one(store, "SELECT count(*) FROM message WHERE control_id = 'M9'") == 1


@pytest.mark.parametrize(
    ("ehr", "conditions", "answer"),
    [("ehr", "", b"MSA|AR|M9"), ("ehr", "||AL|NE", b"MSA|CR|M9"), ("bytes", "", b"\x15")],
    ids=["original-mode", "enhanced-mode", "commit-bytes"],
)
async def test_a_listener_answers_try_later(file: Path, store: Path, ehr: str, conditions: str, answer: bytes) -> None:
    message = adt("M9")
    first, rest = message.split(b"\r", 1)
    message = first.rstrip(b"|") + (b"|" + conditions.encode() if conditions else b"") + b"\r" + rest
    async with running_hub(file) as hub:
        narrow(hub)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(hub, ehr))
        try:
            with disk_stands_still(hub):
                inside = [asyncio.create_task(deliver(hub, adt(f"M{n}", str(n)))) for n in range(3)]
                await until(lambda: hub.core.admission.messages == 3)
                writer.write(framed(message))
                said = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
                assert answer in said
                assert ehr == "bytes" or b"207" in said
            await asyncio.gather(*inside)
            assert one(store, "SELECT count(*) FROM message WHERE control_id = 'M9'") == 0
            writer.write(framed(message))
            assert b"|AR|" not in await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5), "later it is taken"
            await settled(hub)
        finally:
            writer.close()
            await writer.wait_closed()
    assert one(store, "SELECT count(*) FROM message WHERE control_id = 'M9'") == 1


async def test_what_is_too_large_for_any_room_is_let_in_alone() -> None:
    admission = Admission(most_bytes=10, most_messages=10, patience=0.05)
    await admission.enter(100, 1)
    with pytest.raises(Busy):
        await admission.enter(1, 1)
    admission.leave(100, 1)
    await admission.enter(1, 1)
    assert admission.bytes == 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4), st.floats(0, 0.004), st.booleans()), min_size=1, max_size=25))
def test_never_more_inside_than_there_is_room_for_whoever_gives_up(visits: list[tuple[int, int, float, bool]]) -> None:
    async def story() -> None:
        admission = Admission(most_bytes=40, most_messages=6, patience=0.01)

        async def visit(bytes: int, messages: int, stay: float) -> None:
            with contextlib.suppress(Busy):
                await admission.enter(bytes, messages)
                try:
                    await asyncio.sleep(stay)
                finally:
                    admission.leave(bytes, messages)

        tasks = []
        for bytes, messages, stay, cancelled in visits:
            tasks.append(asyncio.create_task(visit(bytes, messages, stay)))
            await asyncio.sleep(0)
            if cancelled:
                tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (admission.bytes, admission.messages, len(admission._outside)) == (0, 0, 0)
        assert admission.highest_bytes <= 40
        assert admission.highest_messages <= 6

    asyncio.run(story())

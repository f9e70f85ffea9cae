"""Sending again (sentence 6): `repeat: safe` is repeated under the same id, `repeat: ask` never when in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from hub.connector import Destination
from hub.errors import ConnectionDown, DoubtfulSend, MessageRejected
from hub.message import Message
from hub.registry import Registry
from tests.hub.bus.probe import World, adt, control_ids, deliver, in_turn, one, states
from tests.support import HubProcess, ask, clinic_folder, free_port, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  fax: {kind: @KIND@, retry: {first: 20ms, most: 50ms, attempts: "3"}@MORE@}
flows:
  work: {from: inbox, steps: [{send: fax}]}
"""
PROCESS = """
connections:
  inbox: {kind: mllp_listener, port: "@PORT@"}
  fax: {kind: @KIND@, log: "@DIR@/log", silent_while: "@DIR@/silent"}
flows:
  work: {from: inbox, steps: [{send: fax}]}
"""


def clinic(folder: Path, kind: str = "probe_ask", more: str = "") -> Path:
    return clinic_folder(folder, FLOW.replace("@KIND@", kind).replace("@MORE@", more))


class Killable:
    """A hub in a process of its own with one destination that can be made silent or away."""

    def __init__(self, folder: Path, kind: str, env: dict[str, str]) -> None:
        self.port, self.folder = free_port(), folder
        text = PROCESS.replace("@PORT@", str(self.port)).replace("@KIND@", kind).replace("@DIR@", str(folder))
        self.hub = HubProcess(clinic_folder(folder, text), env=env)
        self.store = folder / "var" / "hub.db"

    def sent(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().split() if log.exists() else []

    async def send(self, *bodies: bytes) -> None:
        async with EhrClient("127.0.0.1", self.port) as ehr:
            for body in bodies:
                assert (await ehr.send(body)).code == "AA"

    async def kill_and_start(self) -> None:
        self.hub.kill()
        await asyncio.to_thread(self.hub.start)


@asynccontextmanager
async def killable(folder: Path, kind: str, env: dict[str, str]) -> AsyncIterator[Killable]:
    found = Killable(folder, kind, env)
    with found.hub:
        yield found


# Killed while it was sending.


async def test_a_safe_send_is_repeated_under_the_same_id_after_a_kill(tmp_path: Path, plugin_env: dict[str, str]) -> None:
    (tmp_path / "silent").touch()
    async with killable(tmp_path, "probe_out", plugin_env) as hub:
        await hub.send(adt("M1"), adt("M2"))
        await until(lambda: len(hub.sent()) == 1)
        hub.hub.kill()
        (tmp_path / "silent").unlink()
        await asyncio.to_thread(hub.hub.start)
        await until(lambda: states(hub.store, "to:fax") == ["delivered", "delivered"])
        first, again, second = hub.sent()
        assert first == again != second


async def test_a_send_that_must_not_be_repeated_becomes_unknown_after_a_kill(
    tmp_path: Path, plugin_env: dict[str, str]
) -> None:
    (tmp_path / "silent").touch()
    async with killable(tmp_path, "probe_ask", plugin_env) as hub:
        await hub.send(adt("M1"), adt("M2"))
        await until(lambda: len(hub.sent()) == 1)
        hub.hub.kill()
        (tmp_path / "silent").unlink()
        await asyncio.to_thread(hub.hub.start)
        await until(lambda: states(hub.store, "to:fax") == ["unknown", "delivered"])
        first, second = hub.sent()
        assert first != second, "the first one was not sent again, the next one was"


# In this process.


async def test_a_restart_while_the_partner_is_away_leaves_no_doubt(world: World, tmp_path: Path, store: Path) -> None:
    tried = 0

    @world.partner
    async def fax(message: Message) -> None:
        nonlocal tried
        tried += 1
        raise ConnectionDown("fax: the carrier is away")

    file = clinic(tmp_path)
    async with running_hub(file) as hub:
        await in_turn(hub, [adt("M1"), adt("M2")])
        await until(lambda: tried >= 2)
    world.partners.clear()
    world.sent.clear()
    async with running_hub(file) as hub:
        await settled(hub)
    assert states(store, "to:fax") == ["delivered", "delivered"]
    assert control_ids(world.sent["fax"]) == ["M1", "M2"]


async def test_that_it_is_being_sent_is_on_disk_before_it_is_sent(world: World, tmp_path: Path, store: Path) -> None:
    seen: list[list[str]] = []

    @world.partner
    async def fax(message: Message) -> None:
        seen.append(states(store, "to:fax"))

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
    assert seen == [["working"]]
    assert states(store, "to:fax") == ["delivered"]


@pytest.mark.parametrize("kind", ["probe_out", "probe_ask"])
async def test_a_doubtful_send_becomes_unknown_and_its_lane_goes_on(
    world: World, tmp_path: Path, store: Path, kind: str
) -> None:
    @world.partner
    async def fax(message: Message) -> None:
        if b"M1" in message.body:
            raise DoubtfulSend("the carrier hung up after the last page")

    async with running_hub(clinic(tmp_path, kind)) as hub:
        first, second = await in_turn(hub, [adt("M1"), adt("M2")])
        await settled(hub)
        [doubtful] = await ask(hub, "messages.list", state="unknown")
        assert "hung up after the last page" in doubtful["reason"]
        assert await second.outcome(1.0) == "delivered"
        assert await first.outcome(1.0) == "delivered", "the flow did its part; the fax has a state of its own"
    assert states(store, "to:fax") == ["unknown", "delivered"]
    assert len(world.sent["fax"]) == 2


async def test_a_person_may_send_what_is_unknown_again(world: World, tmp_path: Path, store: Path) -> None:
    doubt = True

    @world.partner
    async def fax(message: Message) -> None:
        if doubt:
            raise DoubtfulSend("who knows")

    async with running_hub(clinic(tmp_path)) as hub:
        await deliver(hub, adt("M1"))
        await settled(hub)
        doubt = False
        assert (await ask(hub, "replay", state="unknown", dry_run=True))["count"] == 1
        await ask(hub, "replay", state="unknown", yes=1)
        await settled(hub)
    assert states(store, "to:fax") == ["unknown", "delivered"]
    assert [message.generation for message in world.sent["fax"]] == [0, 1], "who sends it can look first whether it is there"


async def test_what_the_partner_refused_is_in_no_doubt(world: World, tmp_path: Path, store: Path) -> None:
    """An answer is an answer: it is tried again, also after a restart between the attempts."""
    refused = 0

    @world.partner
    async def fax(message: Message) -> None:
        nonlocal refused
        refused += 1
        raise MessageRejected("the line is busy", answer="busy")

    file = clinic_folder(
        tmp_path,
        FLOW.replace("@KIND@", "probe_ask").replace("first: 20ms, most: 50ms", "first: 500ms, most: 1s").replace("@MORE@", ""),
    )
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: refused == 1 and states(store, "to:fax") == ["waiting"])
    world.partners.clear()
    async with running_hub(file) as hub:
        await settled(hub)
    assert states(store, "to:fax") == ["delivered"]
    assert one(store, "SELECT attempts FROM work WHERE target = 'to:fax'") == 2


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        pytest.param("probe_out", 2, id="safe"),
        pytest.param("probe_ask", 1, id="ask"),
        pytest.param("probe_look", 2, id="a question where others are orders"),
    ],
)
async def test_a_send_that_a_stop_interrupts_is_doubtful_only_where_it_may_not_be_repeated(
    world: World, tmp_path: Path, store: Path, kind: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.bus.hub.DRAIN", 0.1)
    silent = True

    @world.partner
    async def fax(message: Message) -> None:
        await until(lambda: not silent)

    file = clinic(tmp_path, kind)
    async with running_hub(file) as hub:
        await deliver(hub, adt("M1"))
        await until(lambda: world.sent.get("fax"))
    silent = False
    async with running_hub(file) as hub:
        await settled(hub)
    assert len(world.sent["fax"]) == times
    assert states(store, "to:fax") == (["delivered"] if times == 2 else ["unknown"])


def test_each_connector_says_whether_it_may_repeat() -> None:
    """HL7 v2, X12 inquiries and files by name are safe; whoever adds a fax, a text or a call has to say `ask`."""
    connectors = Registry().catalogue.connectors
    said = {name: kind.repeat for name, kind in connectors.items() if issubclass(kind, Destination)}
    safe = {name for name, repeat in said.items() if repeat == "safe"}
    assert safe == {"caqh_core", "folder", "form_poll", "http", "mllp_sender", "sftp"}

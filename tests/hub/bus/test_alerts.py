"""Alerts: on by default, raised once, cleared once, told until they have been told, without patient data."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trustme

from hub.bus.habit import HOUR, Habit
from hub.bus.hub import Hub
from hub.clinic import load_clinic
from hub.errors import ConfigError, ConnectionDown, MessageRejected, Refused
from hub.message import Message
from hub.step import Context
from hub.store.schema import message as message_table
from tests.connectors.web import Asked, Web, answer
from tests.hub.bus.probe import Place, World, adt, deliver, disk_is_full, tamper, there_is_space_again
from tests.support import HubProcess, ask, clinic_folder, environment, running_hub, settled, until

FLOW = """
connections:
  inbox: {kind: probe_in}
  ehr: {kind: probe_out, retry: {first: 50ms, most: 50ms}}
flows:
  work: {from: inbox, steps: [{probe: work}, {send: ehr}]}
"""
BY_HAND = "alerts: {every: 1h}\n"
"""The test looks, nobody else does."""


class Clock:
    """A clock that goes where the test wants it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def after(self, **parts: float) -> None:
        self.ahead += timedelta(**parts).total_seconds()


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[tuple[Hub, Clock]]:
    """A hub whose alerts go by a clock of the test."""
    async with running_hub(file) as hub:
        clock = hub.alerts.clock = Clock()
        yield hub, clock


async def look(hub: Hub) -> list[tuple[str, str]]:
    """Looks once and lets whoever is to be told be told; what is raised then."""
    await hub.alerts.look()
    await told(hub)
    return sorted((alert.code, alert.where) for alert in hub.alerts.raised.values())


async def told(hub: Hub) -> None:
    await asyncio.sleep(0)
    await until(lambda: not any(task.get_name() == "tell alerts" for task in hub.alerts._tasks))


async def items(hub: Hub) -> list[dict[str, Any]]:
    return list(await ask(hub, "worklist.list", queue="it"))


async def cleared(hub: Hub, clock: Clock) -> list[tuple[str, str]]:
    """What is raised once the cause of something has been gone for long enough."""
    await look(hub)
    clock.after(seconds=61)
    return await look(hub)


# What raises one.


async def test_a_healthy_hub_has_none(world: World, tmp_path: Path) -> None:
    async with watched(clinic_folder(tmp_path, FLOW + BY_HAND)) as (hub, clock):
        await deliver(hub, adt("M1"))
        await settled(hub)
        clock.after(days=3)
        assert await look(hub) == []
        assert (await ask(hub, "status"))["alerts"] == []


async def test_much_that_is_turned_away(world: World, tmp_path: Path) -> None:
    """A partner's new key, or somebody who tries."""
    async with watched(clinic_folder(tmp_path, FLOW + BY_HAND)) as (hub, clock):
        away = hub.core.signals.source("inbox").turned_away
        assert await look(hub) == []
        away["wrong_signature"] = 19
        clock.after(minutes=1)
        assert await look(hub) == []
        away["stale"] = 1
        assert await look(hub) == [("ALR-011", "connection inbox")]
        [alert] = hub.alerts.raised.values()
        assert alert.text == "20 within 10 min; since the hub started: stale 1, wrong_signature 19"
        clock.after(minutes=9)
        assert await look(hub) != []
        clock.after(minutes=2)
        assert await cleared(hub, clock) == []
        away["stale"] = 15
        assert await look(hub) == [], "so few do not raise it again"


async def test_a_partner_that_is_down_for_long(world: World, tmp_path: Path) -> None:
    away = True

    @world.partner
    async def ehr(message: Message) -> Message | None:
        if away:
            raise ConnectionDown("ehr: nobody answers")
        return None

    async with watched(clinic_folder(tmp_path, FLOW + BY_HAND)) as (hub, clock):
        await deliver(hub, adt("M1", family="ZQXNAME"))
        await until(lambda: hub.core.signals.target("to:ehr").down)
        assert await look(hub) == [], "not yet for long"
        clock.after(minutes=11)
        assert await look(hub) == [("ALR-005", "connection ehr")], "and no second one for what waits because of it"
        [item] = await items(hub)
        assert (item["queue"], item["cause"], item["who"]) == ("it", "ALR-005 connection ehr", "it")
        assert "nobody answers" in item["text"]
        [line] = (await ask(hub, "status"))["alerts"]
        assert (line["code"], line["where"]) == ("ALR-005", "connection ehr")
        assert "in order" in line["help"]
        assert "ZQX" not in json.dumps([item, line])
        away = False
        await settled(hub)
        assert await cleared(hub, clock) == []
        assert await items(hub) == []


@pytest.mark.both_stores
async def test_messages_that_wait_too_long_and_nobody_knows_why(world: World, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    @world.partner
    async def ehr(message: Message) -> Message | None:
        await go_on.wait()
        return None

    async with watched(clinic_folder(tmp_path, FLOW + BY_HAND)) as (hub, clock):
        await deliver(hub, adt("M1"))
        await until(lambda: world.sent.get("ehr"))
        clock.after(minutes=9)
        assert await look(hub) == []
        clock.after(minutes=2)
        assert await look(hub) == [("ALR-002", "connection ehr")]
        go_on.set()
        await settled(hub)
        assert await cleared(hub, clock) == []


@pytest.mark.both_stores
async def test_quarantine_until_it_is_replayed(world: World, tmp_path: Path) -> None:
    mended = False

    @world.step
    async def work(message: Message, context: Context) -> Message:
        if not mended:
            raise ValueError("no")
        return message

    async with watched(clinic_folder(tmp_path, FLOW + BY_HAND)) as (hub, clock):
        await deliver(hub, adt("M1"))
        await deliver(hub, adt("M2", "7"))
        await settled(hub)
        assert await look(hub) == [("ALR-003", "flow work")]
        assert "2 in quarantine" in (await items(hub))[0]["text"]
        mended = True
        await ask(hub, "replay", state="quarantined", yes=2)
        await settled(hub)
        clock.after(seconds=20)
        assert await cleared(hub, clock) == []


@pytest.mark.both_stores
async def test_a_message_that_waits_for_a_person(world: World, tmp_path: Path) -> None:
    @world.partner
    async def ehr(message: Message) -> Message | None:
        raise MessageRejected("no such doctor", answer="AR", final=True)

    async with watched(clinic_folder(tmp_path, FLOW.replace("ehr: {", "ehr: {on_rejected: hold, ") + BY_HAND)) as (hub, clock):
        await deliver(hub, adt("M1"))
        await until(lambda: hub.core.signals.target("to:ehr").held)
        clock.after(hours=1)
        assert await look(hub) == [("ALR-004", "connection ehr")]


async def test_a_certificate_that_expires_soon(world: World, tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=40))
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "hub.pem")
    text = """
connections:
  ehr: {kind: mllp_listener, port: 0, tls: {cert: hub.pem, key: hub.pem}}
"""
    async with watched(clinic_folder(tmp_path, text + BY_HAND)) as (hub, clock):
        assert await look(hub) == []
        assert hub.alerts.certificates["ehr"] == pytest.approx(time.time() + 40 * 86400, abs=86400)
        clock.after(days=11)
        assert await look(hub) == [("ALR-006", "connection ehr")]
        renewed = trustme.CA().issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=400))
        renewed.private_key_and_cert_chain_pem.write_to_path(tmp_path / "hub.pem")
        clock.after(hours=1)
        assert await cleared(hub, clock) == []


async def test_a_disk_with_too_little_room(world: World, tmp_path: Path) -> None:
    async with watched(clinic_folder(tmp_path, FLOW + BY_HAND + "disk: {warn_below: 9999999GiB}\n")) as (hub, _):
        assert await look(hub) == [("ALR-007", "the disk of the store")]


async def test_a_step_that_keeps_all_others_from_working_is_named(world: World, tmp_path: Path) -> None:
    @world.step
    async def work(message: Message, context: Context) -> Message:
        time.sleep(3.2)  # what no step may do
        return message

    by_hand = BY_HAND.replace("{", "{loop_lag: 2s, ")
    async with watched(clinic_folder(tmp_path, FLOW + by_hand)) as (hub, _):
        await asyncio.sleep(0.6)
        await deliver(hub, adt("M1"))
        await settled(hub)
        await until(lambda: hub.core.signals.loop.worst > 2)
        assert await look(hub) == [("ALR-008", "the hub")]
        [alert] = hub.alerts.raised.values()
        assert "test_alerts.py" in alert.text, "the thread that watches saw where it stood"
        assert "in work" in alert.text


# Silence, against a connection's own habit.


async def with_a_past(file: Path, store: Place, moments: list[float]) -> None:
    """Gives the journal messages of these times, as if the hub had been there: before all it has, in their order."""
    async with running_hub(file) as hub:
        await deliver(hub, adt("M0"))
        await settled(hub)
    rest = [column.name for column in message_table.columns if column.name not in ("seq", "id", "at")]
    values = ",".join(f"({number - len(moments)}, {int(moment * 1e6)})" for number, moment in enumerate(sorted(moments)))
    names, copied = ", ".join(f'"{name}"' for name in rest), ", ".join(f'm."{name}"' for name in rest)
    tamper(
        store,
        f"INSERT INTO message (seq, id, at, {names}) SELECT v.column1, 'past' || v.column1, v.column2, {copied} "
        f"FROM (VALUES {values}) AS v, message AS m WHERE m.seq = (SELECT min(seq) FROM message)",
    )
    tamper(store, "DELETE FROM message WHERE seq >= 0")


def busy_hours(now: float, weeks: int, each: int = 30) -> list[float]:
    """So many messages in each of the hours around this one, in so many weeks before."""
    zone = ZoneInfo("America/Chicago")
    hour = datetime.fromtimestamp(now // HOUR * HOUR, zone)
    found = []
    for week in range(1, weeks + 1):
        for around in range(-1, 4):
            begins = (hour - timedelta(weeks=week)).timestamp() + around * HOUR
            found += [begins + number * HOUR / each for number in range(each)]
    return found


@pytest.mark.both_stores
async def test_a_connection_that_is_silent_when_it_never_is(world: World, tmp_path: Path, store: Place) -> None:
    file = clinic_folder(tmp_path, FLOW + BY_HAND)
    await with_a_past(file, store, busy_hours(time.time(), weeks=4))
    async with watched(file) as (hub, clock):
        clock.after(minutes=9)
        assert await look(hub) == []
        clock.after(minutes=16)
        assert await look(hub) == [("ALR-001", "connection inbox")]
        assert "about 1" in (await items(hub))[0]["text"]
        clock.after(minutes=5)
        assert await look(hub) == [("ALR-001", "connection inbox")]
        assert len(await items(hub)) == 1, "raised once"
        await deliver(hub, adt("M1"))
        clock.ahead = 0.0
        assert await cleared(hub, clock) == []
        assert await items(hub) == []


@pytest.mark.parametrize(
    ("weeks", "more"), [(1, ""), (4, "silence: 0, "), (4, "silence: 100, ")], ids=["too-new", "switched-off", "more-patient"]
)
async def test_no_silence_without_a_habit(world: World, tmp_path: Path, store: Place, weeks: int, more: str) -> None:
    file = clinic_folder(tmp_path, FLOW + BY_HAND.replace("{", "{" + more))
    await with_a_past(file, store, busy_hours(time.time(), weeks))
    async with watched(file) as (hub, clock):
        clock.after(minutes=45)
        assert await look(hub) == []


async def test_a_connection_that_a_person_has_paused_may_be_silent(world: World, tmp_path: Path, store: Place) -> None:
    file = clinic_folder(tmp_path, FLOW + BY_HAND)
    await with_a_past(file, store, busy_hours(time.time(), weeks=4))
    async with watched(file) as (hub, clock):
        await ask(hub, "pause", name="inbox")
        clock.after(minutes=45)
        assert await look(hub) == []


class _Counted:
    """A journal that knows when messages came."""

    def __init__(self, moments: list[float]) -> None:
        self.moments = [int(moment * 1_000_000) for moment in moments]

    async def first_message(self) -> int | None:
        return min(self.moments, default=None)

    async def counts_between(self, names: list[str], moments: list[int]) -> dict[str, list[int]]:
        pairs = list(pairwise(moments))
        return {name: [sum(low <= m < high for m in self.moments) for low, high in pairs] for name in names}


async def test_a_habit_keeps_to_the_clock_of_the_clinic_when_summer_time_ends(tmp_path: Path) -> None:
    zone = ZoneInfo("America/Chicago")
    nine = [datetime(2026, 10, day, 9, 30, tzinfo=zone) for day in (12, 19, 26)]
    now = datetime(2026, 11, 2, 9, 59, tzinfo=zone)  # summer time ended on the first of November
    habit = Habit(_Counted([m.timestamp() for m in nine for _ in range(20)]))  # type: ignore[arg-type]
    await habit.learn(["ehr"], now.timestamp())
    assert habit.usual("ehr", int(now.timestamp() // HOUR), zone) == 20
    assert habit.usual("ehr", int(now.timestamp() // HOUR) - 1, zone) == 0
    half = (now - timedelta(minutes=29)).timestamp()
    assert habit.expected("ehr", half, now.timestamp(), zone) == pytest.approx(20 * 29 / 60, abs=0.1)


async def test_one_holiday_in_four_weeks_changes_no_habit(tmp_path: Path) -> None:
    zone = ZoneInfo("America/Chicago")
    now = datetime(2026, 11, 23, 9, 30, tzinfo=zone)
    past = [now - timedelta(weeks=week) for week in (1, 3, 4)]
    start = now - timedelta(weeks=5)
    habit = Habit(_Counted([start.timestamp(), *(m.timestamp() for m in past for _ in range(12))]))  # type: ignore[arg-type]
    await habit.learn(["ehr"], now.timestamp())
    assert habit.usual("ehr", int(now.timestamp() // HOUR), zone) == 12


# Raised once, cleared once.


async def test_what_comes_and_goes_around_a_limit_does_not_flutter(world: World, tmp_path: Path) -> None:
    async with watched(clinic_folder(tmp_path, FLOW + BY_HAND)) as (hub, clock):
        lag = hub.core.signals.loop
        for seconds in (6.0, 3.0, 5.5, 2.6):
            lag._worst.clear()
            lag._worst.append(seconds)
            assert await look(hub) == [("ALR-008", "the hub")], "half of the limit keeps it"
        lag._worst.clear()
        lag._worst.append(0.1)
        assert await look(hub) == [("ALR-008", "the hub")], "its cause must be gone for a minute"
        clock.after(seconds=30)
        lag._worst.append(5.5)
        assert len(await look(hub)) == 1
        lag._worst.pop()
        clock.after(seconds=40)
        assert len(await look(hub)) == 1, "the minute begins anew"
        clock.after(seconds=61)
        assert await look(hub) == []


async def test_an_alert_survives_a_restart_and_is_not_told_again(world: World, tmp_path: Path) -> None:
    async with Web(lambda asked: answer(200)) as hook:
        text = f"alerts: {{every: 1h, webhook: {{url: 'http://127.0.0.1:{hook.port}/alerts'}}}}\n"
        low = "disk: {warn_below: 9999999GiB}\n"
        async with watched(clinic_folder(tmp_path, FLOW + text + low)) as (hub, _):
            assert len(await look(hub)) == 1
        async with watched(clinic_folder(tmp_path, FLOW + text + low)) as (hub, _):
            [line] = (await ask(hub, "status"))["alerts"]
            assert line["told"] == ["webhook"], "known before the first look"
            await look(hub)
            assert len(await items(hub)) == 1
        assert [states(asked) for asked in hook.asked] == [["raised"]]
        async with watched(clinic_folder(tmp_path, FLOW + text)) as (hub, clock):
            assert await cleared(hub, clock) == []
            assert await items(hub) == []
        async with watched(clinic_folder(tmp_path, FLOW + text)) as (hub, _):
            await look(hub)
        assert [states(asked) for asked in hook.asked] == [["raised"], ["cleared"]]


def states(asked: Asked) -> list[str]:
    return [alert["state"] for alert in json.loads(asked.body)["alerts"]]


# Told.


async def test_a_webhook_that_is_down_is_an_alert_and_is_told_when_it_is_back(world: World, tmp_path: Path) -> None:
    down = True

    def replies(asked: Asked) -> bytes:
        return answer(503 if down else 200)

    async with Web(replies) as hook:
        where = f"url: 'http://127.0.0.1:{hook.port}/alerts', auth: {{api_key: {{$env: KEY}}}}"
        text = f"alerts: {{every: 1h, webhook: {{{where}}}}}\n"
        with environment(KEY="secret-1"):
            file = clinic_folder(tmp_path, FLOW + text + "disk: {warn_below: 9999999GiB}\n")
            async with watched(file) as (hub, clock):
                await look(hub)
                assert await look(hub) == [("ALR-007", "the disk of the store"), ("ALR-010", "alerts by webhook")]
                assert len(hook.asked) == 1, "the breaker waits before it tries again"
                down = False
                hub.alerts._ways[0].breaker.open_until = 0.0
                await look(hub)
                await look(hub)
                assert await cleared(hub, clock) == [("ALR-007", "the disk of the store")]
    last = [asked for asked in hook.asked if "ALR-007" in asked.body.decode()][-1]
    assert last.headers["authorization"] == "secret-1"
    body = json.loads(last.body)
    assert body["hub"] == "Test Clinic"
    [disk] = [alert for alert in body["alerts"] if alert["code"] == "ALR-007"]
    assert disk["meaning"]
    assert disk["help"]
    assert disk["raised_at"].endswith("Z")


class Mailbox:
    """A mail server of the smallest kind (RFC 5321), in this process."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.to: list[str] = []
        self.refuse = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.split(" ")[0].upper()
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(email.message_from_bytes(content[:-5], policy=email.policy.default))  # type: ignore[arg-type]
            elif word == "RCPT":
                self.to.append(line)
            writer.write({"EHLO": b"250 mail.example", "QUIT": b"221 bye"}.get(word, b"250 fine") + b"\r\n" if not (
                self.refuse and word == "MAIL") else b"451 try later\r\n")  # fmt: skip
            if word == "QUIT":
                break
        writer.close()


async def test_by_e_mail_one_for_all_that_is_new(world: World, tmp_path: Path) -> None:
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    where = (
        f"host: 127.0.0.1, port: {port}, tls: none, sender: hub@clinic.example, to: [it@clinic.example, on-call@clinic.example]"
    )
    text = f"alerts: {{every: 1h, email: {{{where}}}}}\ndisk: {{warn_below: 9999999GiB}}\n"
    async with server, watched(clinic_folder(tmp_path, FLOW + text)) as (hub, _):
        box.refuse = True
        await look(hub)
        assert await look(hub) == [("ALR-007", "the disk of the store"), ("ALR-010", "alerts by email")]
        assert "451" in hub.alerts.raised["ALR-010 alerts by email"].text
        assert box.mails == []
        box.refuse = False
        hub.alerts._ways[0].breaker.open_until = 0.0
        await look(hub)
        await until(lambda: box.mails)
        [mail] = box.mails
        assert mail["subject"] == "Clinic Hub Test Clinic: 2 alerts raised, 0 cleared"
        assert mail["to"] == "it@clinic.example, on-call@clinic.example"
        assert mail["auto-submitted"] == "auto-generated"
        assert len(box.to) == 2
        assert "ALR-007 the disk of the store" in mail.get_content()
        assert "hub explain" in mail.get_content()


async def test_while_the_store_takes_nothing_alerts_are_told_all_the_same_and_kept_later(world: World, tmp_path: Path) -> None:
    async with Web(lambda asked: answer(200)) as hook:
        text = f"alerts: {{every: 1h, webhook: {{url: 'http://127.0.0.1:{hook.port}/alerts'}}}}\n"
        file = clinic_folder(tmp_path, FLOW + text)
        async with watched(file) as (hub, _):
            disk_is_full(hub)
            hub.core.signals.loop.add(6.0)
            for number in range(40):  # small writes find room in the pages there are
                hub.alerts._unkept[f"ALR-008 {number}"] = False
                hub.alerts._cleared[f"ALR-008 {number}"] = hub_alert(f"ALR-008 {number}", "x" * 2000)
            assert await look(hub) == [("ALR-008", "the hub")]
            assert [states(asked) for asked in hook.asked] == [["raised"]]
            assert hub.alerts._unkept, "the store has not taken it yet"
            there_is_space_again(hub)
            await look(hub)
            assert hub.alerts._unkept == {}
            assert [item["cause"] for item in await items(hub)] == ["ALR-008 the hub"]


def hub_alert(id: str, text: str) -> Any:
    from hub.records import Alert

    return Alert(id=id, code="ALR-008", where=id, text=text, cleared_at=datetime.now(UTC), pending=False)


# Settings.


async def test_they_can_be_switched_off(world: World, tmp_path: Path) -> None:
    text = "alerts: {enabled: no}\ndisk: {warn_below: 9999999GiB}\n"
    async with running_hub(clinic_folder(tmp_path, FLOW + text)) as hub:
        assert hub.alerts._tasks == set()


async def test_they_look_by_themselves(world: World, tmp_path: Path) -> None:
    text = "alerts: {every: 100ms, worklist: ''}\ndisk: {warn_below: 9999999GiB}\n"
    async with running_hub(clinic_folder(tmp_path, FLOW + text)) as hub:
        await until(lambda: hub.alerts.raised, timeout=10)
        assert await items(hub) == [], "and the worklist can be left out"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("alerts: {silense: 3}", "CFG-020", "silense"),
        ("alerts: {backlog_age: 5}", "CFG-019", "unit"),
        ("alerts: {webhook: {url: ftp://x}}", "CFG-019", "url"),
        ("alerts: {email: {host: m, sender: hub, to: it@c.example}}", "CFG-019", "sender"),
        ("alerts: {email: {host: m, sender: hub@c.example, to: [it]}}", "CFG-019", "it@clinic.example"),
        (
            "alerts: {email: {host: m.example, tls: none, user: u, sender: h@c.example, to: i@c.example}}",
            "CFG-019",
            "without TLS",
        ),
        ("alerts: {email: {host: m, password: open, sender: h@c.example, to: i@c.example}}", "CFG-051", "password"),
        ("alerts: yes", "CFG-011", "name: value"),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_its_place(tmp_path: Path, text: str, code: str, words: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        load_clinic(clinic_folder(tmp_path, text + "\n"))
    assert [problem.code for problem in wrong.value.problems] == [code]
    [problem] = wrong.value.problems
    assert words in problem.text
    assert problem.line > 0


async def test_a_reload_of_the_clinic_file_changes_what_is_told_and_how(world: World, tmp_path: Path) -> None:
    low = "disk: {warn_below: 9999999GiB}\n"
    async with Web(lambda asked: answer(200)) as hook, watched(clinic_folder(tmp_path, FLOW + BY_HAND + low)) as (hub, _):
        assert len(await look(hub)) == 1
        text = f"alerts: {{every: 1h, webhook: {{url: 'http://127.0.0.1:{hook.port}/alerts'}}}}\n"
        clinic_folder(tmp_path, FLOW + text + low)
        await ask(hub, "reload")
        await look(hub)
        assert [states(asked) for asked in hook.asked] == [["raised"]], "the new way hears of what is raised"
        clinic_folder(tmp_path, FLOW + text + low + "metrics: {port: 0}\n")
        with pytest.raises(Refused, match="metrics cannot be changed"):
            await ask(hub, "reload")


async def test_a_mail_server_that_says_nothing_does_not_keep_the_hub_from_stopping(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    where = f"host: 127.0.0.1, port: {server.sockets[0].getsockname()[1]}, tls: none, sender: h@c.example, to: i@c.example"
    text = f"alerts: {{every: 100ms, email: {{{where}}}}}\ndisk: {{warn_below: 9999999GiB}}\nconnections: {{}}\n"
    hub = HubProcess(clinic_folder(tmp_path, text))
    await asyncio.to_thread(hub.start)
    async with asyncio.timeout(15):
        await heard.wait()
    began = time.monotonic()
    assert await asyncio.to_thread(hub.terminate) == 0
    assert time.monotonic() - began < 10, "the time-out of the mail server is longer"
    server.close()


async def test_what_concerns_all_hubs_of_a_store_is_looked_after_by_the_one_that_leads(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lead goes to another hub and comes back: nothing is cleared or told twice because of that."""

    @world.step
    async def work(message: Message, context: Context) -> Message:
        raise ValueError("no")

    async with Web(lambda asked: answer(200)) as hook:
        text = f"alerts: {{every: 1h, webhook: {{url: 'http://127.0.0.1:{hook.port}/alerts'}}}}\n"
        async with watched(clinic_folder(tmp_path, FLOW + text + "disk: {warn_below: 9999999GiB}\n")) as (hub, clock):
            await deliver(hub, adt("M1"))
            await settled(hub)
            both = [("ALR-003", "flow work"), ("ALR-007", "the disk of the store")]
            assert await look(hub) == both
            monkeypatch.setattr(Hub, "leads", False)
            assert await look(hub) == both[1:], "its own machine is still its own business"
            clock.after(minutes=5)
            assert await look(hub) == both[1:]
            told = [(line["code"], line["told"]) for line in (await ask(hub, "status"))["alerts"]]
            assert sorted(told) == [("ALR-003", ["webhook"]), ("ALR-007", ["webhook"])], "status has those of all hubs"
            monkeypatch.setattr(Hub, "leads", True)
            assert await look(hub) == both
            assert len(await items(hub)) == 2
        assert [states(asked) for asked in hook.asked] == [["raised", "raised"]]

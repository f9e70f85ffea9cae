"""Mails that must be known to have arrived: receipts in any order come to the same state, and a missing one to a person."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from connectors.mail.sender import MailSender
from hub.bus.hub import Hub
from hub.formats.mail.receipts import Receipt, Told
from hub.message import Message
from hub.records_mail import Mail, MailReport
from hub.step import StepConfig
from plugins.mail.steps import MailSent, TrackMail
from plugins.mail.tracking import handed_in, received, wanted_next
from tests.connectors.imap_server import PASSWORD, USER, ImapServer
from tests.connectors.smtp_server import SmtpServer, Taken
from tests.hub.formats.mails import PDF, dsn, mdn
from tests.support import ask, clinic_folder, environment, running_hub, settled, until

FLOWS = """
connections:
  scans: {{kind: folder, path: "{scans}", format: document, every: 20ms, stable_for: 0s}}
  direct:
    kind: mail_sender
    host: 127.0.0.1
    port: "{smtp}"
    encryption: none
    sender: hub@clinic.example
    to: [{to}]
    answer_within: 300ms
    retry: {{first: 20ms, most: 20ms, attempts: "2"}}
  direct_inbox:
    kind: mailbox
    host: 127.0.0.1
    port: "{imap}"
    encryption: none
    user: {user}
    password: {{$env: BOX_PASSWORD}}
    every: 20ms
flows:
  referrals:
    from: scans
    steps:
      - track_mail: {{{receipts}processed_within: {processed}, dispatched_within: {dispatched}}}
      - ask: direct
      - mail_sent
  receipts: {{from: direct_inbox, when: {{type: [receipt, bounce]}}, steps: [mail_receipt]}}
  overdue: {{from: {{due: mail_overdue}}, steps: [mail_overdue]}}
  not_sent: {{from: {{failed: referrals}}, steps: [mail_failed]}}
"""


class World:
    """A hub between a mail server and a mailbox; the partner answers as the test says."""

    def __init__(self, hub: Hub, scans: Path, smtp: SmtpServer, imap: ImapServer) -> None:
        self.hub, self.scans, self.smtp, self.imap = hub, scans, smtp, imap

    def scan(self, name: str = "a") -> None:
        (self.scans / f"{name}.pdf").write_bytes(PDF + name.encode())

    async def mail(self) -> Mail | None:
        """The only mail there is."""
        kind = self.hub.core.clinic.catalogue.records["sent_mail"]
        for taken in self.smtp.mails:
            found = await self.hub.core.records.get(kind, _id_of(taken).partition("@")[0])
            if found is not None:
                return found[0]  # type: ignore[return-value]
        return None

    async def comes_to(self, state: str, missed: str = "") -> Mail:
        async def so() -> bool:
            mail = await self.mail()
            return mail is not None and (mail.state, mail.missed) == (state, missed)

        await until(so)
        await settled(self.hub)
        mail = await self.mail()
        assert mail is not None
        return mail

    async def items(self) -> list[str]:
        return [item["cause"] for item in await ask(self.hub, "worklist.list")]


def _id_of(taken: Taken) -> str:
    return str(taken.mail["message-id"]).strip("<>")


@asynccontextmanager
async def world(
    folder: Path,
    *,
    to: str = "partner@hospital.example",
    processed: str = "1h",
    dispatched: str = "24h",
    receipts: str = "",
    answers: Callable[[str], list[bytes]] = lambda original: [],
) -> AsyncIterator[World]:
    scans = folder / "scans"
    scans.mkdir(parents=True)
    async with SmtpServer() as smtp, ImapServer() as imap:
        smtp.on_mail = lambda taken: [imap.put(raw) for raw in answers(_id_of(taken))] and None
        text = FLOWS.format(
            scans=scans, smtp=smtp.port, imap=imap.port, to=to, user=USER, receipts=receipts, processed=processed,
            dispatched=dispatched,
        )  # fmt: skip
        with environment(BOX_PASSWORD=PASSWORD):
            async with running_hub(clinic_folder(folder / "clinic", text)) as hub:
                yield World(hub, scans, smtp, imap)


async def test_a_mail_is_processed_and_dispatched_and_nobody_has_to_do_anything(tmp_path: Path) -> None:
    async with world(tmp_path, answers=lambda original: [mdn(original, "processed"), mdn(original, "dispatched")]) as w:
        w.scan()
        mail = await w.comes_to("dispatched")
        assert w.smtp.mails[0].mail["disposition-notification-to"] == "hub@clinic.example"
        assert await w.items() == []
        assert wanted_next(mail) is None
        assert await w.hub.core.reader.due("mail_overdue", mail.id) is None


async def test_without_the_receipt_in_time_a_person_is_told_and_a_late_one_closes_that(tmp_path: Path) -> None:
    async with world(tmp_path, processed="200ms", dispatched="500ms") as w:
        w.scan()
        mail = await w.comes_to("sent", "processed")
        assert await w.items() == ["mail not processed"]
        w.imap.put(mdn(_id_of(w.smtp.mails[0]), "processed"))
        await w.comes_to("processed", "dispatched")
        assert await w.items() == ["mail not dispatched"]
        w.imap.put(mdn(_id_of(w.smtp.mails[0]), "dispatched"))
        assert (await w.comes_to("dispatched")).id == mail.id
        assert await w.items() == []


async def test_what_was_not_delivered_is_told_once(tmp_path: Path) -> None:
    def answers(original: str) -> list[bytes]:
        bounce = dsn(original, {"partner@hospital.example": ("failed", "5.1.1")})
        return [mdn(original, "processed"), bounce, bounce, mdn(original, "failed")]

    async with world(tmp_path, answers=answers) as w:
        w.scan()
        mail = await w.comes_to("failed")
        assert mail.detail in ("failed 5.1.1", "failed")
        assert len(await w.items()) == 1
        assert await w.hub.core.reader.due("mail_overdue", mail.id) is None


async def test_a_mail_that_the_server_does_not_take_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.smtp.faults.says["RCPT"] = "550 5.1.1 no such user"
        w.scan()

        async def told() -> bool:
            return await w.items() == ["mail failed"]

        await until(told)
        assert w.smtp.mails == []
        w.smtp.faults.says.clear()
        (sent,) = await ask(w.hub, "messages.list", connection="direct", state="quarantined")
        await ask(w.hub, "replay", ids=[sent["id"]], keep_ids=True, yes=1)
        await w.comes_to("sent")
        assert await w.items() == [], "a person has sent it again"


async def test_a_doubtful_mail_is_unknown_until_a_receipt_says_that_it_arrived(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.smtp.faults.silent_at = "END"
        w.scan()
        await w.comes_to("unknown")
        assert await w.items() == ["mail unknown"]
        assert len(w.smtp.mails) == 1, "it is not sent again"
        w.imap.put(mdn(_id_of(w.smtp.mails[0]), "processed"))
        await w.comes_to("processed")
        assert await w.items() == []


async def test_a_mistake_in_a_program_after_it_was_sent_is_a_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send = MailSender.send

    async def send_and_fail(self: MailSender, message: Message) -> None:
        await send(self, message)
        raise KeyError

    monkeypatch.setattr(MailSender, "send", send_and_fail)
    async with world(tmp_path) as w:
        w.scan()
        await w.comes_to("unknown")
        assert await w.items() == ["mail unknown"]


async def test_ordinary_mail_asks_for_nothing_and_a_bounce_is_told(tmp_path: Path) -> None:
    async with world(tmp_path, receipts="receipts: no, ", processed="100ms") as w:
        w.scan()
        mail = await w.comes_to("sent")
        assert w.smtp.mails[0].mail["disposition-notification-to"] is None
        assert await w.hub.core.reader.due("mail_overdue", mail.id) is None
        w.imap.put(dsn(_id_of(w.smtp.mails[0]), {"partner@hospital.example": ("failed", "5.1.1")}))
        assert (await w.comes_to("failed")).detail == "failed 5.1.1"
        assert await w.items() == ["mail failed 5.1.1"]


class Remembering:
    """A context that remembers what a step wants."""

    now = datetime(2026, 11, 25, tzinfo=UTC)

    def __init__(self) -> None:
        self.saved: list[Any] = []
        self.keys: list[tuple[str, str]] = []

    async def get(self, kind: Any, id: str) -> Any:
        return next((record for record in self.saved if record.id == id), None)

    def plan(self, due: Any) -> None:
        self.planned = due

    def note(self, what: str, text: str, *, plain: bool = False) -> None:
        assert plain, "nothing in it could tell about a patient"

    def new_id(self) -> str:
        return "m1"

    async def put(self, record: Any) -> None:
        self.saved.append(record)

    def key(self, kind: str, value: str) -> None:
        self.keys.append((kind, value))


async def test_the_timeline_of_a_visit_has_its_mail() -> None:
    context: Any = Remembering()
    step = TrackMail("track", TrackMail.Config())
    message = await step.run(Message(PDF, "document", headers={"appointment": "F-77"}), context)
    assert isinstance(message, Message)
    assert dict(message.headers) == {"appointment": "F-77", "mail_id": "m1", "receipts": "processed"}
    assert context.keys == [("mail", "m1"), ("appointment", "F-77")]
    assert context.saved[0].appointment == "F-77"
    report = MailReport(id="m1", message_id="m1@clinic.example", to=["a@b.example"])
    sent = await MailSent("sent", StepConfig()).run(message.derive(report, format="mail_report"), context)
    assert isinstance(sent, Message)
    assert dict(sent.headers) == {"appointment": "F-77"}, "a further mail of this flow is another"
    assert context.planned.key == "m1"


async def test_each_address_counts(tmp_path: Path) -> None:
    async with world(tmp_path, to="a@b.example, c@d.example") as w:
        w.scan()
        await w.comes_to("sent")
        original = _id_of(w.smtp.mails[0])
        w.imap.put(mdn(original, "processed", "a@b.example"))
        w.imap.put(mdn(original, "processed", "stranger@evil.example"))
        await until(lambda: all(stored.flags for stored in w.imap.folders["INBOX"]))
        mail = await w.comes_to("sent")
        assert [(one.address, one.state) for one in mail.recipients] == [("a@b.example", "processed"), ("c@d.example", "sent")]
        w.imap.put(mdn(original, "processed", "forwarded@d.example", also="C@d.example"))
        await w.comes_to("processed")


async def test_receipts_of_others_change_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.imap.put(mdn("somebody-elses@clinic.example", "failed"))
        await until(lambda: all(stored.flags for stored in w.imap.folders["INBOX"]))
        await settled(w.hub)
        assert await w.items() == []
        assert await ask(w.hub, "messages.list", state="quarantined") == []


# Every order ends in the same state.

NOW: Any = SimpleNamespace(now=datetime(2026, 11, 25, tzinfo=UTC))
TO = ["a@b.example", "c@d.example"]


def _after(events: list[Any], to: list[str]) -> tuple[str, list[tuple[str, str]]]:
    mail = Mail(id="m")
    for event in events:
        mail = handed_in(mail, to, NOW) if event is None else received(mail, Receipt("mdn", "m@x", (event,)), NOW)
    return mail.state, [(one.address, one.state) for one in mail.recipients]


ADDRESSES = [
    ("a@b.example", ""),
    ("A@b.example", ""),
    ("alias@x.example", "c@d.example"),
    ("c@d.example", ""),
    ("evil@x.example", ""),
]
EVENTS = ["processed", "dispatched", "failed", "displayed", "delayed", "deleted", "denied"]


@settings(max_examples=150, deadline=None)
@given(
    told=st.lists(st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(EVENTS)), max_size=5),
    order=st.randoms(use_true_random=False),
    to=st.sampled_from([TO, TO[:1]]),
)
def test_every_order_of_receipts_and_reports_ends_in_the_same_state(told: list[Any], order: Any, to: list[str]) -> None:
    events: list[Any] = [None, *(Told(address, event, also=also) for (address, also), event in told)]
    first = _after(events, to)
    other = [*events, *order.sample(events, min(2, len(events)))]
    order.shuffle(other)
    assert _after(other, to) == first


@pytest.mark.parametrize(
    ("to", "told", "state"),
    [
        (TO[:1], [("a@b.example", "dispatched"), ("a@b.example", "processed")], "dispatched"),
        (TO[:1], [("a@b.example", "processed"), ("alias@b.example", "failed")], "failed"),
        (TO, [("a@b.example", "processed"), ("evil@x.example", "failed")], "sent"),
        (TO, [("evil@x.example", "dispatched"), ("evil@x.example", "dispatched")], "sent"),
        (TO, [("a@b.example", "dispatched"), ("c@d.example", "failed")], "failed"),
        (TO, [("a@b.example", "dispatched"), ("c@d.example", "processed")], "processed"),
    ],
)
def test_in_all_orders(to: list[str], told: list[tuple[str, str]], state: str) -> None:
    events = [None, *(Told(*one) for one in told)]
    assert {_after(list(order), to)[0] for order in itertools.permutations(events)} == {state}

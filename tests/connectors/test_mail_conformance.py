"""What the family of mail promises, for each profile that says it is proven: with every fault of the servers, each mail arrives
once and is known to have arrived, or somebody is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.bus.hub import Hub
from hub.records_mail import Mail
from hub.yaml_text import load_file
from tests.connectors.certificates import Certificates
from tests.connectors.imap_server import ImapServer
from tests.connectors.smtp_server import PASSWORD, USER, SmtpServer, Taken
from tests.hub.formats.mails import PDF, mdn
from tests.support import ROOT, HubProcess, ask, clinic_folder, environment, running_hub, settled, until

FLOWS = """
connections:
  scans: {{kind: folder, path: "{scans}", format: document, every: 20ms, stable_for: 0s}}
  direct:
    vendor: {vendor}
    kind: mail_sender
    port: "{smtp}"
    tls: {{ca: "{ca}"}}
    user: {user}
    password: {{$env: HISP_PASSWORD}}
    sender: hub@clinic.example
    to: partner@hospital.example
    timeout: 300ms
    answer_within: 300ms
    retry: {{first: 20ms, most: 40ms, attempts: "20"}}
  direct_inbox:
    vendor: {vendor}
    kind: mailbox
    port: "{imap}"
    tls: {{ca: "{ca}"}}
    user: {user}
    password: {{$env: HISP_PASSWORD}}
    every: 20ms
    timeout: 300ms
flows:
  referrals:
    from: scans
    steps: [{{track_mail: {{dispatched_within: 24h}}}}, {{ask: direct}}, mail_sent]
  receipts: {{from: direct_inbox, when: {{type: [receipt, bounce]}}, steps: [mail_receipt]}}
  overdue: {{from: {{due: mail_overdue}}, steps: [mail_overdue]}}
  not_sent: {{from: {{failed: referrals}}, steps: [mail_failed]}}
"""
PROVEN = [
    vendor
    for vendor in ("direct_hisp", "microsoft365", "paubox")
    if load_file(ROOT / f"connectors/vendors/{vendor}.yaml").data["proven"] != "none"
]


@dataclass
class World:
    """A clinic, its provider and a partner whose system writes both receipts."""

    file: Path
    scans: Path
    smtp: SmtpServer
    imap: ImapServer

    def scan(self, name: str) -> None:
        draft = self.scans.parent / name
        draft.write_bytes(PDF + name.encode())
        draft.rename(self.scans / f"{name}.pdf")

    def ledger(self) -> Counter[bytes]:
        """How often the provider was handed each document in."""
        found = []
        for taken in self.smtp.mails:
            [attached] = taken.mail.iter_attachments()
            found.append(attached.get_payload(decode=True).removeprefix(PDF))
        return Counter(found)


@asynccontextmanager
async def world(folder: Path, vendor: str, certificates: Certificates) -> AsyncIterator[World]:
    scans = folder / "scans"
    scans.mkdir(parents=True)
    tls = certificates.server("127.0.0.1")
    async with SmtpServer(tls=tls, login=True) as smtp, ImapServer(tls=tls, at_once=True) as imap:

        def answer(taken: Taken) -> None:
            original = str(taken.mail["message-id"]).strip("<>")
            for event in ("dispatched", "processed", "processed"):  # out of order, and one twice
                imap.put(mdn(original, event))

        smtp.on_mail = answer
        text = FLOWS.format(scans=scans, vendor=vendor, smtp=smtp.port, imap=imap.port, ca=certificates.ca, user=USER)
        with environment(HISP_PASSWORD=PASSWORD):
            yield World(clinic_folder(folder / "clinic", text), scans, smtp, imap)


async def states(hub: Hub, w: World) -> Counter[str]:
    kind = hub.core.clinic.catalogue.records["sent_mail"]
    found: Counter[str] = Counter()
    for id in {str(taken.mail["message-id"]).strip("<>").partition("@")[0] for taken in w.smtp.mails}:
        record = await hub.core.records.get(kind, id)
        assert record is not None
        assert isinstance(record[0], Mail)
        found[record[0].state] += 1
    return found


@contextmanager
def smtp_fault(w: World, kind: str, at: str) -> Iterator[None]:
    faults = w.smtp.faults
    if kind in ("drop_at", "silent_at"):
        setattr(faults, kind, at)
    else:
        faults.says[at] = kind
    yield
    faults.drop_at = faults.silent_at = ""
    faults.says.clear()


@contextmanager
def imap_fault(w: World, kind: str, at: Any) -> Iterator[None]:
    before = getattr(w.imap.faults, kind)
    setattr(w.imap.faults, kind, at)
    yield
    setattr(w.imap.faults, kind, before)


PASSING = [
    *(("451 4.7.1 later", at) for at in ("MAIL", "RCPT", "DATA", "END")),
    *(("421 4.3.2 going", at) for at in ("GREETING", "MAIL", "DATA", "END")),
    *(("drop_at", at) for at in ("CONNECT", "MAIL")),
    *(("silent_at", at) for at in ("CONNECT", "MAIL")),
]
"""Faults of the server after which it is known that the mail was not taken."""
INBOX = [
    *(("refuse", {at}) for at in ("SELECT", "SEARCH", "FETCH", "STORE")),
    *(("drop_at", at) for at in ("AUTHENTICATE", "SEARCH", "FETCH", "STORE")),
    *(("silent_at", at) for at in ("SELECT", "FETCH")),
    ("chatty", True),
    ("uid_last", True),
]


@pytest.mark.parametrize("vendor", PROVEN)
async def test_with_every_fault_each_mail_arrives_once_and_is_known_to_have(
    vendor: str, tmp_path: Path, certificates: Certificates
) -> None:
    async with world(tmp_path, vendor, certificates) as w, running_hub(w.file) as hub:
        for number, (kind, at) in enumerate(PASSING):
            with smtp_fault(w, kind, at), imap_fault(w, *INBOX[number]):
                w.scan(f"d{number}")
                await asyncio.sleep(0.15)
        await until(lambda: len(w.ledger()) == len(PASSING), 20)
        await until(lambda: all(mail.flags for mail in w.imap.folders["INBOX"]))
        await settled(hub)
        assert set(w.ledger().values()) == {1}
        assert await states(hub, w) == {"dispatched": len(PASSING)}
        assert await ask(hub, "worklist.list") == []


@pytest.mark.parametrize("vendor", PROVEN)
async def test_what_is_doubtful_is_shown_and_settled_by_a_receipt(
    vendor: str, tmp_path: Path, certificates: Certificates
) -> None:
    async with world(tmp_path, vendor, certificates) as w, running_hub(w.file) as hub:
        with smtp_fault(w, "silent_at", "END"), imap_fault(w, "refuse", {"SELECT"}):
            w.scan("doubtful")

            async def is_told() -> bool:
                return [item["cause"] for item in await ask(hub, "worklist.list")] == ["mail unknown"]

            await until(is_told)
        await until(lambda: w.imap.folders["INBOX"] and all(mail.flags for mail in w.imap.folders["INBOX"]))
        await settled(hub)
        assert set(w.ledger().values()) == {1}
        assert await states(hub, w) == {"dispatched": 1}
        assert await ask(hub, "worklist.list") == []


@pytest.mark.parametrize("vendor", PROVEN)
async def test_a_hub_that_is_killed_sends_nothing_twice(vendor: str, tmp_path: Path, certificates: Certificates) -> None:
    names = [f"k{number:02}" for number in range(12)]
    async with world(tmp_path, vendor, certificates) as w:
        w.smtp.faults.slow = 0.03
        for name in names:
            w.scan(name)
        process = HubProcess(w.file)
        await asyncio.to_thread(process.start)
        await until(lambda: len(w.smtp.mails) >= 4)
        await asyncio.to_thread(process.kill)
        async with running_hub(w.file) as hub:
            await until(lambda: len(w.ledger()) >= len(names) - 2 and not list(w.scans.glob("*.pdf")))
            await settled(hub)
            await until(lambda: all(mail.flags for mail in w.imap.folders["INBOX"]))
            await settled(hub)
            unknown = await ask(hub, "messages.list", state="unknown")
            assert set(w.ledger().values()) == {1}, "nothing twice"
            assert len(w.ledger()) + len(unknown) >= len(names), "nothing lost: what did not arrive is shown"
            assert (await states(hub, w))["dispatched"] == len(w.ledger())

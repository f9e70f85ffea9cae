"""kill -9 at random moments of a day of documents: faxes out and in, envelopes to sign, and what of it ends in a chart.

The partners misbehave meanwhile: they are silent, break connections, answer 500 or 503, tell nothing, twice, late or in
another order.  Their ledgers are the judges: nothing is sent twice, nothing is lost, each document is in its chart once, and
what nobody knows is `unknown` and on the worklist.

`CLINIC_HUB_LONG=1` has two hundred documents and envelopes, and sixty kills; raw figures go to benchmarks/results.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from connectors.simulators.ehr import EhrClient, EhrServer, header, message, segment
from connectors.simulators.fax_carrier import Carrier
from connectors.simulators.signer import DropboxSign, SigningService
from connectors.simulators.signer.pdf import page
from hub.cli.operate import operate
from hub.errors import HubError
from hub.formats.hl7v2.message import Hl7
from hub.security.seal import new_key, write_key
from tests.chaos.nursery import Hub, Nursery
from tests.chaos.test_kills import keep_figures
from tests.support import free_port, until

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
ENVELOPES, LETTERS, ARRIVALS, KILLS = (60, 80, 60, 60) if LONG else (6, 8, 6, 5)
PATIENCE = 900.0 if LONG else 60.0
DAY = date.today() + timedelta(days=9)
SIGNERS = ("signs", "declines", "signs", "bounces", "expires", "signs")
ENDS = {"signs": "completed", "declines": "declined", "bounces": "bounced", "expires": "expired"}
DIGITS = "02945678"
"""Last digits of numbers, by which the carrier knows how a fax ends."""
FAX_ENDS = {"6": "failed", "7": "failed"}
ORDERS = ("503", "silent after commit", "502 after commit", "hangup", "half", "drop", "silent", "ok", "ok", "ok")
LOOKS = ("503", "hangup", "html", "silent", "slow 0.2", "ok", "ok", "ok")
HOOKS = ("twice", "never", "swapped", "late 0.4", "forged", "ok", "ok")

CLINIC = """
organisation: {{name: Test Clinic, npi: "1234567893"}}
sites:
  main: {{timezone: America/Chicago}}
store: sqlite:///var/hub.db
log: {{level: error}}
connections:
  ehr: {{kind: mllp_listener, port: "{ehr}", authority: RIVER}}
  charts:
    {{kind: mllp_sender, host: 127.0.0.1, port: "{charts}", timeout: 3s, retry: {{first: 50ms, most: 200ms, attempts: "20"}}}}
  letters: {{kind: folder, path: letters, pattern: "*.pdf", format: bytes, every: 100ms, stable_for: 0ms}}
  signing:
    vendor: dropbox_sign
    kind: esign
    url: http://127.0.0.1:{signer}/v3
    auth: {{api_key: {{$file: signer.secret}}}}
    documents: forms
    timeout: 1s
    retry: {{first: 50ms, most: 200ms, attempts: "20"}}
  signing_hooks:
    {{vendor: dropbox_sign, kind: webhook_listener, port: "{hooks}", verify: {{secrets: [{{$file: signer.secret}}]}}}}
  fax_line:
    vendor: srfax
    kind: fax
    url: http://127.0.0.1:{carrier}
    secrets: {{access_id: {{$file: account.secret}}, access_pwd: {{$file: password.secret}}}}
    values: {{caller_id: "3125550199", email: fax@clinic.example}}
    timeout: 1s
    every: 200ms
    retry: {{first: 50ms, most: 200ms, attempts: "20"}}
flows:
  registrations:
    from: ehr
    when: {{type: ADT^*}}
    steps: [{{map: adt_to_patient}}, {{save: patient}}]
  bookings:
    from: ehr
    when: {{type: SIU^*}}
    steps:
      - map: siu_to_appointment
      - save: appointment
      - plan_packets:
          looks: [200ms, 300ms]
          packets: {{consent: {{title: Consent, files: [consent.pdf], certificate: false}}}}
  signatures:
    from: {{due: signature}}
    steps: [{{ask: signing}}, save_signature, file_document]
  signing_events:
    from: signing_hooks
    steps: [signature_event, {{ask: signing}}, save_signature]
  signature_failures:
    from: {{failed: signatures}}
    steps: [signature_failed]
  faxes_out:
    from: {{due: fax}}
    steps: [fax_order, {{ask: fax_line}}, save_fax]
  fax_looks:
    from: {{due: fax_look}}
    steps: [{{ask: fax_line}}, save_fax]
  fax_failures:
    from: {{failed: faxes_out}}
    steps: [fax_failed]
  faxes_in:
    from: fax_line
    steps: [save_fax, {{receive_document: fax}}, {{match_document: {{file_after: 0s}}}}]
  filing:
    from: {{due: file_document}}
    steps: [{{map: document_to_mdm}}, embed_document, {{ask: charts}}, document_filed]
  filing_failures:
    from: {{failed: filing}}
    steps: [filing_failed]
"""
LETTER = """  letter_{number}:
    from: letters
    when: {{file: "{number}.pdf"}}
    steps:
      - send_fax:
          to: "+{number}"
          policy:
            {{busy: [100ms, 100ms], no_answer: [100ms], partial: [100ms], other: [100ms], look: [200ms, 500ms, 1s, 2s, 4s]}}
"""


def letter_number(number: int) -> str:
    """Each letter goes to a number of its own."""
    return f"1312555{number // len(DIGITS):03d}{DIGITS[number % len(DIGITS)]}"


NUMBERS = [letter_number(number) for number in range(LETTERS)]


@dataclass
class Rig:
    """The partners, and a hub that is killed."""

    signer: SigningService
    carrier: Carrier
    charts: EhrServer
    hub: Hub
    folder: Path
    ehr: int
    chance: random.Random
    kills: int = 0
    control_ids: int = 0
    scripted: Counter[str] = field(default_factory=Counter)

    def script(self) -> None:
        """What goes wrong next."""
        for family, faults in (("signer", self.signer.faults), ("carrier", self.carrier.faults)):
            for to, words in (("send", ORDERS), ("look", LOOKS), ("fetch", LOOKS), ("inbox", LOOKS), ("find", LOOKS)):
                word = self.chance.choice(words)
                faults.script(word, to=to)
                self.scripted[f"{family} {word}"] += 1
        self.signer.hooks.script(self.chance.choice(HOOKS))

    async def send(self, *segments: str, type: str) -> None:
        """As an EHR does: again, until it is acknowledged."""
        self.control_ids += 1
        body = message(header(type, f"P{self.control_ids:05d}"), *segments)
        while True:
            try:
                async with EhrClient("127.0.0.1", self.ehr) as ehr:
                    assert (await ehr.send(body, timeout=5.0)).code == "AA"
                    return
            except (OSError, TimeoutError):
                await asyncio.sleep(0.02)

    async def patients(self) -> None:
        for number in range(max(ENVELOPES, ARRIVALS)):
            address = f"{SIGNERS[number % len(SIGNERS)]}.{number}@example.com"
            await self.send(segment("EVN", f1="A04"), pid(number, address), type="ADT^A04")

    async def work(self) -> None:
        """Bookings, letters and arrivals, one after the other."""
        for number in range(max(ENVELOPES, LETTERS, ARRIVALS)):
            self.script()
            if number < ENVELOPES:
                start = f"^^^{DAY:%Y%m%d}{8 + number % 9:02d}00"
                sch = segment("SCH", f1=f"V-{number}", f2=f"V-{number}", f8="OFFICE", f11=start, f25="Booked")
                await self.send(sch, pid(number), type="SIU^S12")
            if number < LETTERS:
                draft = self.folder / f"{NUMBERS[number]}.part"
                draft.write_bytes(page([f"Letter {number}"]))
                draft.rename(self.folder / "letters" / f"{NUMBERS[number]}.pdf")
            if number < ARRIVALS:
                text = [f"Report {number}", f"MRN: {20000 + number}", f"Patient: Doe{number}, Jane", "DOB: 02/29/1980"]
                self.carrier.faxes.receive("+13125550171", page(text))
            await asyncio.sleep(0.05)

    async def ask(self, operation: str, **params: Any) -> list[dict[str, Any]]:
        try:
            found = await asyncio.to_thread(operate, str(self.hub.file), operation, params, running=True)
        except HubError:
            return []
        return list(found)

    async def over(self) -> bool:
        """Every envelope and fax has come to an end, or nobody knows; every arrival is filed."""
        envelopes = await self.ask("signatures.list", date=DAY.isoformat())
        faxes = [line for line in await self.ask("faxes.list", limit=10_000) if line["direction"] == "out"]
        filed = await self.ask("documents.list", state="filed")
        signed = sum(line["state"] == "completed" for line in envelopes)
        return (
            len(envelopes) == ENVELOPES
            and all(line["state"] in (*ENDS.values(), "unknown") for line in envelopes)
            and len(faxes) == LETTERS
            and all(line["state"] in ("sent", "failed", "unknown") for line in faxes)
            and len(filed) == ARRIVALS + signed
        )


def pid(number: int, address: str = "") -> str:
    contact = f"^NET^Internet^{address}" if address else ""
    return segment("PID", f1="1", f3=f"{20000 + number}^^^RIVER^MR", f5=f"DOE{number}^JANE", f7="19800229", f8="F", f13=contact)


@asynccontextmanager
async def rig(folder: Path, nursery: Nursery) -> AsyncIterator[Rig]:
    async with SigningService() as signer, Carrier() as carrier, EhrServer() as charts:
        signer.facade(DropboxSign).not_ready = 0
        ehr, hooks = free_port(), free_port()
        ports = {"ehr": ehr, "hooks": hooks, "charts": charts.port, "signer": signer.port, "carrier": carrier.port}
        text = CLINIC.format(**ports) + "".join(LETTER.format(number=number) for number in NUMBERS)
        (folder / "clinic.yaml").write_text(text)
        secrets = {"signer": "sign-api-key", "account": "12345", "password": "srfax-password"}
        for name, secret in secrets.items():
            (folder / f"{name}.secret").write_text(secret)
        for name in ("letters", "forms"):
            (folder / name).mkdir()
        (folder / "forms" / "consent.pdf").write_bytes(page(["I agree"]))
        write_key(folder / "hub.key", new_key())
        signer.hooks.url = f"http://127.0.0.1:{hooks}/hooks/dropbox-sign"
        hub = Hub(nursery, folder / "clinic.yaml")
        try:
            yield Rig(signer, carrier, charts, hub, folder, ehr, random.Random(7))
        finally:
            hub.close()


async def test_a_day_of_documents_ends_as_it_should_however_often_the_hub_is_killed(tmp_path: Path, nursery: Nursery) -> None:
    began = time.monotonic()
    async with rig(tmp_path, nursery) as it:
        await asyncio.to_thread(it.hub.start)
        await it.patients()
        work = asyncio.create_task(it.work())
        while it.kills < KILLS:
            await asyncio.sleep(it.chance.uniform(0.2, 1.0))
            await asyncio.to_thread(it.hub.kill)
            it.kills += 1
            await asyncio.to_thread(it.hub.start)
        await work
        await until(it.over, PATIENCE)
        envelopes = {line["appointment"]: line["state"] for line in await it.ask("signatures.list", date=DAY.isoformat())}
        faxes = {line["to"]: line["state"] for line in await it.ask("faxes.list", limit=10_000) if line["direction"] == "out"}
        items = await it.ask("worklist.list")
        keep_figures(
            "papers",
            seconds=time.monotonic() - began,
            kills=it.kills,
            things=ENVELOPES + LETTERS + ARRIVALS,
            envelopes=dict(Counter(envelopes.values())),
            faxes=dict(Counter(faxes.values())),
            faults=dict(it.scripted),
        )
        assert it.signer.table.twice() == []
        assert [fax.to for fax in it.carrier.faxes.sent_twice()] == []
        assert nothing_of_envelopes_is_lost(it, envelopes) == []
        assert nothing_of_letters_is_lost(it, faxes) == []
        assert papers_in_charts(it) == papers_that_belong_there(it)
        shown = "\n".join(f"{item['cause']} {item['text']} {item['appointment']}" for item in items)
        doubtful = [visit for visit, state in envelopes.items() if state == "unknown"]
        assert [visit for visit in doubtful if visit not in shown] == []
        assert sum(state == "unknown" for state in faxes.values()) <= sum("fax" in item["text"] for item in items)


def nothing_of_envelopes_is_lost(it: Rig, states: dict[str, str]) -> list[str]:
    """Visits whose envelope is otherwise than its signer made it, and not because nobody knows."""
    wrong = []
    for number in range(ENVELOPES):
        visit, does = f"V-{number}", SIGNERS[number % len(SIGNERS)]
        if states.get(visit) not in (ENDS[does], "unknown"):
            wrong.append(f"{visit} {does} {states.get(visit)}")
    return wrong


def nothing_of_letters_is_lost(it: Rig, states: dict[str, str]) -> list[str]:
    """Letters that ended otherwise than the carrier says, and not because nobody knows."""
    wrong = []
    for number in NUMBERS:
        state, arrived = states.get(f"+{number}"), it.carrier.faxes.pages_to(number)
        expected = FAX_ENDS.get(number[-1], "sent")
        if state not in (expected, "unknown") or (state == "sent") != (state != "unknown" and arrived == 1):
            wrong.append(f"{number} {state} {arrived}")
    return wrong


def papers_in_charts(it: Rig) -> dict[str, int]:
    """How many different documents each chart has: one that was sent again has the same control id."""
    found: dict[str, set[str]] = defaultdict(set)
    for body in it.charts.received:
        sent = Hl7(body)
        found[sent.get("PID-3.1") or ""].add(sent.get("MSH-10") or "")
    return {chart: len(ids) for chart, ids in sorted(found.items())}


def papers_that_belong_there(it: Rig) -> dict[str, int]:
    """A report for each arrival, and a consent for each envelope that was signed."""
    wanted: Counter[str] = Counter(f"{20000 + number}" for number in range(ARRIVALS))
    for envelope in it.signer.table.by_id.values():
        if envelope.end == "completed":
            wanted[str(20000 + int(envelope.people[0].email.partition(".")[2].partition("@")[0]))] += 1
    return dict(sorted(wanted.items()))

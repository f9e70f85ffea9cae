"""kill -9 at random moments of a day of reminders, with faults on: none lost, none sent twice, and what nobody knows is shown.

The telephone network's table is the judge.  `CLINIC_HUB_LONG=1` kills a hundred times among five hundred visits.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connectors.simulators.ehr import header, message, segment
from connectors.simulators.phone_network import Person, PhoneNetwork
from hub.cli.operate import operate
from hub.errors import HubError
from tests.chaos.nursery import Hub, Nursery
from tests.chaos.test_kills import keep_figures
from tests.support import clinic_folder, free_port, until

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
VISITS, KILLS = (500, 100) if LONG else (16, 4)
PATIENCE = 900.0 if LONG else 25.0
ZONE = ZoneInfo("America/Chicago")
FAULTS = ("silent after commit", "502 after commit", "503", "hangup", "slow 0.2", "429 after 0", "half", "empty", "drop")
WORDS = ("ok", "twice", "late 0.2", "swapped")
POLICIES = """
quiet: {from: "00:00", to: "00:00"}
looks: [200ms, 400ms, 800ms, 2s, 4s]
reminders: {all: {steps: [{before: 2h, template: visit}]}}
templates:
  visit:
    text: {en: "{clinic}: your visit is on {day} at {time}. Reply C to confirm, STOP for no reminders."}
    call: {en: "Your visit is on {day} at {time}. Press 1 to confirm."}
"""
CLINIC = """
connections:
  inbox: {kind: folder, path: inbox, pattern: "*.hl7", every: 50ms, stable_for: 0s}
  texts: {vendor: twilio, kind: sms, @SERVICE@, status_url: "http://127.0.0.1:@HOOKS@/states"}
  calls: {vendor: twilio, kind: voice, @SERVICE@, status_url: "http://127.0.0.1:@HOOKS@/states",
          reply_url: "http://127.0.0.1:@HOOKS@/digits"}
  states: {vendor: twilio, kind: webhook_listener, @LISTEN@, path: /states, public_url: "http://127.0.0.1:@HOOKS@/states"}
  answers: {vendor: twilio, kind: webhook_listener, @LISTEN@, path: /answers, public_url: "http://127.0.0.1:@HOOKS@/answers"}
  digits: {vendor: twilio, kind: webhook_listener, @LISTEN@, path: /digits, public_url: "http://127.0.0.1:@HOOKS@/digits"}
flows:
  registrations: {from: inbox, when: {type: ADT^*}, steps: [{map: adt_to_patient}, {save: patient}]}
  bookings:
    from: inbox
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_reminders: reminders.yaml}]
  reminders: {from: {due: reminder}, steps: [{remind: @WAYS@}, {take_report: reminders.yaml}]}
  reminders_failed: {from: {failed: reminders}, steps: [{reminder_failed: reminders.yaml}]}
  looks: {from: {due: reminder_look}, steps: [{look_again: @WAYS@}, {take_report: reminders.yaml}]}
  events: {from: states, steps: [{map: phone_event}, {look_again: @WAYS@}, {take_report: reminders.yaml}]}
  text_answers: {from: answers, steps: [{map: text_reply}, {take_reply: {policies: reminders.yaml}}]}
  call_answers: {from: digits, steps: [{map: call_reply}, {take_reply: {policies: reminders.yaml}}]}
"""
SERVICE = (
    "url: 'http://127.0.0.1:@PORT@', values: {account: demo}, auth: {user: demo, password: {$file: token}},"
    " sender: '+13125550100', timeout: 2s, parallel: 8, retry: {first: 20ms, most: 200ms}"
)
PEOPLE = (
    lambda: Person(replies=["C"]),
    Person,
    lambda: Person(text="landline", digit="1"),
    lambda: Person(text="invalid", call="busy"),
)
ENDS = ("delivered", "delivered", "delivered", "failed")


def clinic_file(folder: Path, port: int, hooks: int) -> Path:
    (folder / "token").write_text("sim-token")
    (folder / "reminders.yaml").write_text(POLICIES)
    (folder / "inbox").mkdir()
    text = CLINIC.replace("@SERVICE@", SERVICE).replace("@LISTEN@", 'port: "@HOOKS@", verify: {secrets: [{$file: token}]}')
    text = text.replace("@WAYS@", "{policies: reminders.yaml, text: texts, call: calls}")
    return clinic_folder(folder, text.replace("@PORT@", str(port)).replace("@HOOKS@", str(hooks)))


def number_of(visit: int) -> str:
    return f"+1312555{visit + 1000:04d}"


def booking(visit: int, starts: datetime) -> list[bytes]:
    patient = segment("PID", f1="1", f3=f"{visit}^^^RIVER^MR", f5="CANARIUS^QUETZAL", f13=number_of(visit))
    sch = segment("SCH", f2=f"V-{visit}", f11=f"^^^{starts:%Y%m%d%H%M%S}", f25="Booked")
    admission = message(header("ADT^A04", f"A{visit}"), segment("EVN", f1="A04"), patient)
    return [admission, message(header("SIU^S12", f"S{visit}"), sch, patient)]


async def test_no_reminder_is_lost_or_sent_twice_however_often_the_hub_is_killed(tmp_path: Path, nursery: Nursery) -> None:
    chance, began, kills = random.Random(7), time.monotonic(), 0
    async with PhoneNetwork(account="demo") as network:
        hooks = free_port()
        network.reply_url = f"http://127.0.0.1:{hooks}/answers"
        for visit in range(VISITS):
            network.people[number_of(visit)] = PEOPLE[visit % len(PEOPLE)]()
        file = clinic_file(tmp_path, network.port, hooks)
        hub = Hub(nursery, file)

        async def asked(operation: str, **params: Any) -> list[dict[str, Any]]:
            try:
                return list(await asyncio.to_thread(operate, str(file), operation, params, running=True))
            except HubError:
                return []

        async def book() -> None:
            for visit in range(VISITS):
                starts = datetime.now(ZONE) + timedelta(hours=2, seconds=chance.uniform(2, 5))
                for number, body in enumerate(booking(visit, starts)):
                    draft = tmp_path / "inbox" / f"{visit:05d}-{number}.part"
                    await asyncio.to_thread(draft.write_bytes, body)
                    draft.rename(draft.with_suffix(".hl7"))
                network.faults.script(*chance.choices(["ok", *FAULTS], weights=[12, *[1] * len(FAULTS)]), to="send")
                network.hooks.script(*chance.choices(WORDS, weights=[5, 1, 1, 1], k=3))
                await asyncio.sleep(0.05)

        async def is_decided() -> bool:
            found = await asked("reminders.list")
            taken = {thing.to for thing in network.things if thing.kind == "text"}
            return len(found) == VISITS and all(has_ended(line, taken) for line in found)

        def has_ended(line: dict[str, Any], taken: set[str]) -> bool:
            """What may have been sent is settled by the service's webhook when it was; else it stays unknown."""
            visit = int(line["appointment"].partition("-")[2])
            never_taken = line["state"] == "unknown" and (number_of(visit) not in taken or line["tries"][-1] == "call")
            return line["state"] in ("delivered", "failed", "skipped") or never_taken

        try:
            await asyncio.to_thread(hub.start)
            booking_all = asyncio.create_task(book())
            while kills < KILLS:
                await asyncio.sleep(chance.uniform(0.4, 1.2))
                await asyncio.to_thread(hub.kill)
                kills += 1
                await asyncio.to_thread(hub.start)
            await booking_all
            await until(is_decided, PATIENCE)
            await network.quiet()
            await until(is_decided, PATIENCE)
            found = await asked("reminders.list")
            items = await asked("worklist.list")
        finally:
            hub.close()
        doubled, things = network.doubled(), list(network.things)

    unknown = [line for line in found if line["state"] == "unknown"]
    keep_figures(
        "reminder_kills", seconds=time.monotonic() - began, visits=VISITS, kills=kills, unknown=len(unknown), sent=len(things)
    )
    assert doubled == []
    assert sorted(line["appointment"] for line in found) == sorted(f"V-{visit}" for visit in range(VISITS))
    late = [line["appointment"] for line in found if line["state"] == "skipped"]
    assert {line["why"] for line in found if line["state"] == "skipped"} <= {"its time was over when the visit was booked"}
    for line in found:
        visit = int(line["appointment"].partition("-")[2])
        if line["state"] != "unknown" and line["appointment"] not in late:
            assert line["state"] == ENDS[visit % len(ENDS)], line
    assert len([item for item in items if item["cause"].startswith("unknown ")]) == len(unknown)
    reached = {thing.to for thing in things if thing.state in ("delivered", "completed")}
    said = {number_of(int(line["appointment"].partition("-")[2])) for line in found if line["state"] == "delivered"}
    assert said == reached & said, "what counts as delivered was"
    assert not [item for item in items if item["topic"] == "reply" and "several" in item["cause"]]

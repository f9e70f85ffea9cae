"""A clinic whose patients are reminded: a real hub with webhooks, a simulated telephone network, and a clock that is set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connectors.simulators.ehr import EhrClient
from connectors.simulators.phone_network import PhoneNetwork
from hub import moments
from hub.moments import to_micros
from hub.records_reminders import Call, Reminder, TextMessage
from tests.plugins.clinic import Clinic, adt, mrn, pid, quick_hub, siu
from tests.support import WallClock, clinic_folder, free_port, port_of, until

ZONE = ZoneInfo("America/Chicago")
BEGIN = datetime(2027, 3, 1, 9, 0, tzinfo=ZONE)
DAY = date(2027, 3, 10)
POLICIES = """
quiet: {from: "20:00", to: "09:00"}
reminders:
  office:
    steps:
      - {before: 5d, at: "10:00", template: visit}
      - {before: 1d, at: "18:00", template: visit}
      - {before: 2h, template: soon, channels: [text]}
recalls:
  flu: {template: flu}
templates:
  visit:
    text: {en: "{clinic}: your visit is on {day} at {time}. Reply C to confirm, R for another time, STOP for no reminders."}
    call: {en: "{clinic}. Your visit is on {day} at {time}. Press 1 to confirm, 2 for another time, 9 for no calls."}
  soon: {text: {en: "{clinic}: see you today at {time}. {link}"}}
  flu: {text: {en: "{clinic}: it is time for your flu shot. Call us, or reply R and we call you."}}
telehealth: {types: [VIDEO], room: "https://rooms.example/river"}
"""
CONNECTIONS = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
  texts:
    vendor: twilio
    kind: sms
    url: http://127.0.0.1:@PORT@
    values: {account: AC00000000000000000000000000000001}
    auth: {user: AC00000000000000000000000000000001, password: {$file: token}}
    sender: "+13125550100"
    status_url: http://127.0.0.1:@HOOKS@/phone/status
    timeout: 300ms
    retry: {first: 20ms, most: 50ms, attempts: "3"}
  calls:
    vendor: twilio
    kind: voice
    url: http://127.0.0.1:@PORT@
    values: {account: AC00000000000000000000000000000001}
    auth: {user: AC00000000000000000000000000000001, password: {$file: token}}
    sender: "+13125550100"
    status_url: http://127.0.0.1:@HOOKS@/phone/status
    reply_url: http://127.0.0.1:@HOOKS@/phone/digit
    timeout: 300ms
    retry: {first: 20ms, most: 50ms, attempts: "3"}
  phone_states:
    vendor: twilio
    kind: webhook_listener
    port: "@HOOKS@"
    path: /phone/status
    public_url: "http://127.0.0.1:@HOOKS@/phone/status"
    verify: {secrets: [{$file: token}]}
  text_replies:
    vendor: twilio
    kind: webhook_listener
    port: "@HOOKS@"
    path: /phone/text
    public_url: "http://127.0.0.1:@HOOKS@/phone/text"
    verify: {secrets: [{$file: token}]}
  call_replies:
    vendor: twilio
    kind: webhook_listener
    port: "@HOOKS@"
    path: /phone/digit
    public_url: "http://127.0.0.1:@HOOKS@/phone/digit"
    verify: {secrets: [{$file: token}]}
  lists: {kind: folder, path: lists, pattern: "*", format: document, stable_for: 0s, every: 50ms}
  to_ehr: {kind: folder, path: to_ehr, name: "{id}.hl7"}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_reminders: reminders.yaml}]
  reminders:
    from: {due: reminder}
    steps: [{remind: {policies: reminders.yaml, text: texts, call: calls}}, {take_report: reminders.yaml}]
  reminders_failed:
    from: {failed: reminders}
    steps: [{reminder_failed: reminders.yaml}]
  reminder_looks:
    from: {due: reminder_look}
    steps: [{look_again: {policies: reminders.yaml, text: texts, call: calls}}, {take_report: reminders.yaml}]
  reminder_events:
    from: phone_states
    steps:
      - map: phone_event
      - look_again: {policies: reminders.yaml, text: texts, call: calls}
      - take_report: reminders.yaml
  text_answers:
    from: text_replies
    steps:
      - map: text_reply
      - take_reply: {policies: reminders.yaml, to_do: [change, unclear]}
      - map: reply_to_hl7
      - send: to_ehr
  call_answers:
    from: call_replies
    steps:
      - map: call_reply
      - take_reply: {policies: reminders.yaml, to_do: [change, unclear]}
      - map: reply_to_hl7
      - send: to_ehr
  recalls:
    from: lists
    steps: [{take_recalls: reminders.yaml}]
"""
JANE = "+13125550142"


@dataclass
class PhoneClinic(Clinic):
    """A running hub with its EHR, and the telephone network."""

    network: PhoneNetwork = field(default_factory=PhoneNetwork)
    clock: WallClock = field(default_factory=WallClock)
    folder: Path = Path()

    async def booked(
        self, visit: str = "F-1", number: str = "42", phone: str = "(312) 555-0142", day: date = DAY, **more: Any
    ) -> None:
        patient = pid(mrn(number), family="CANARIUS", given="QUETZAL", born="19310203", f13=phone)
        at = datetime(day.year, day.month, day.day, more.pop("hour", 14), more.pop("minute", 30), tzinfo=ZONE)
        await self.say(adt("A04", patient), siu(more.pop("trigger", "S12"), visit, at, patient, **more))
        await self.settled()

    async def settled(self) -> None:
        """All that is due by the test clock is done, all that follows from it, and all the network has to tell."""
        assert self.clock.at is not None
        now = to_micros(self.clock.at)

        async def nothing_left() -> bool:
            before = self.hub.core.journal.commits
            await self.network.quiet()
            await self.hub.due.look()
            due, work = await self.hub.core.reader.due_until(now, 1), await self.hub.core.reader.open_targets()
            return not due and not work and self.hub.core.journal.commits == before

        await until(nothing_left, 20)

    async def passes(self, end: datetime) -> None:
        """The time up to `end`, from one thing that is due to the next."""
        while (following := await self.hub.core.reader.next_due()) is not None and following <= to_micros(end):
            self.clock.at = moments.from_micros(following)
            await self.settled()
        self.clock.at = end

    async def reminder(self, step: str, visit: str = "F-1") -> Reminder:
        found = await self.hub.core.context("test").get(Reminder, f"{visit}/{step}")
        assert found is not None
        return found

    async def texts(self, number: str = JANE) -> list[TextMessage]:
        return await self.hub.core.context("test").find(TextMessage, "number", number)

    async def calls(self, number: str = JANE) -> list[Call]:
        return await self.hub.core.context("test").find(Call, "number", number)

    def told_ehr(self) -> list[str]:
        folder = self.folder / "to_ehr"
        return [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.hl7"))]


def phone_file(
    folder: Path, network_port: int, hooks: int, *, ehr_port: int = 0, text: str = CONNECTIONS, policies: str = POLICIES
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("lists", "to_ehr"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "token").write_text("sim-token", encoding="utf-8")
    (folder / "reminders.yaml").write_text(policies, encoding="utf-8")
    text = text.replace("@PORT@", str(network_port)).replace("@HOOKS@", str(hooks)).replace("@IN@", str(ehr_port))
    return clinic_folder(folder, text)


@asynccontextmanager
async def phones(folder: Path, clock: WallClock, **more: str) -> AsyncIterator[PhoneClinic]:
    hooks = free_port()
    clock.at = BEGIN
    async with PhoneNetwork() as network:
        network.reply_url = f"http://127.0.0.1:{hooks}/phone/text"
        file = phone_file(folder, network.port, hooks, **more)
        async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
            yield PhoneClinic(hub, client, network=network, clock=clock, folder=folder)


FIVE_DAYS = datetime(2027, 3, 5, 10, 0, tzinfo=ZONE)
LATER = timedelta(hours=5)

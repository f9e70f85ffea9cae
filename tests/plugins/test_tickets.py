"""Escalation: what nobody takes care of becomes one ticket, without a word about a patient unless the clinic wants it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from connectors.simulators.ehr import EhrClient
from connectors.simulators.ticketing import HelpDesk
from connectors.ticket import TicketDesk
from hub import WorklistItem, calls, moments
from hub.records_tickets import Ticket
from tests.plugins.clinic import Clinic, at, mrn, pid, quick_hub, siu
from tests.support import WallClock, clinic_folder, port_of, settled, until

FLOWS = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  helpdesk:
    vendor: zendesk
    kind: ticket
    url: http://127.0.0.1:@PORT@/zendesk/api/v2
    auth: {user: demo, password: {$env: DESK_PASSWORD}}
    timeout: 500ms
    retry: {first: 20ms, most: 50ms, attempts: "3"}
flows:
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {on_booking: true, fresh_for: 24h}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {worklist: front_desk}]
  failures:
    from: {failed: bookings}
    steps: [{ticket: helpdesk}, {ask: helpdesk}, save_ticket]
  escalations:
    from: {every: 15m}
    steps: [{overdue: 4h}, {ticket: {desk: helpdesk@MORE@}}, {ask: helpdesk}, {save_ticket: {look_again: 6h}}]
  looks:
    from: {due: ticket_look}
    steps: [{ask: helpdesk}, save_ticket]
  no_ticket:
    from: {failed: escalations}
    steps: [ticket_failed]
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(calls, "LOOKS", (0.01, 0.02))
    monkeypatch.setenv("DESK_PASSWORD", "demo-secret")


@pytest.fixture
def clock(monkeypatch):
    clock = WallClock()
    monkeypatch.setattr(moments, "clock", clock)
    return clock


@asynccontextmanager
async def escalating(folder, more=""):
    async with HelpDesk() as desk:
        file = clinic_folder(folder, FLOWS.replace("@PORT@", str(desk.port)).replace("@MORE@", more))
        async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
            yield Clinic(hub, ehr), desk


async def tickets(clinic, state):
    return await clinic.hub.core.context("test").find(Ticket, "state", state)


async def an_item(clinic):
    """A visit without any coverage on file: somebody has to ask the patient."""
    await clinic.say(siu("S12", "F-77", at(9), pid(mrn("42"), family="CANARY")))
    await until(lambda: clinic.to_do("F-77"))
    [item] = await clinic.to_do("F-77")
    return item


async def later(clinic, clock, hours):
    """So much time goes by, and what is due by then is done."""
    clock.ahead += timedelta(hours=hours)
    await clinic.hub.due.look()
    await settled(clinic.hub)


async def test_an_item_that_is_open_too_long_becomes_one_ticket_without_a_word_about_the_patient(tmp_path, clock):
    async with escalating(tmp_path) as (clinic, desk):
        item = await an_item(clinic)
        await later(clinic, clock, 5)
        await until(lambda: tickets(clinic, "open"))
        [ticket] = await tickets(clinic, "open")
        assert (ticket.item, ticket.appointment, ticket.partner_id) == (item["id"], "F-77", "1001")

        said = json.dumps(desk.tickets.kept[0].said)
        assert item["id"] in said
        assert "F-77" in said
        assert item["text"] not in said
        assert "CANARY" not in said

        await later(clinic, clock, 1)
        desk.close(ticket.id)
        await later(clinic, clock, 6)
        await until(lambda: tickets(clinic, "closed"))
        assert [kept.reference for kept in desk.tickets.kept] == [ticket.id]


async def test_a_ticket_says_what_the_item_says_where_the_clinic_wants_it(tmp_path, clock):
    async with escalating(tmp_path, ", with_text: true") as (clinic, desk):
        item = await an_item(clinic)
        await later(clinic, clock, 5)
        await until(lambda: tickets(clinic, "open"))
        assert item["text"] in desk.tickets.kept[0].said["ticket"]["comment"]["body"]


async def test_a_flow_that_fails_becomes_a_ticket(tmp_path):
    async with escalating(tmp_path) as (clinic, desk):
        await clinic.say(siu("S12", "", at(9), pid(mrn("42"), family="CANARY")))
        await until(lambda: tickets(clinic, "open"))
        said = json.dumps(desk.tickets.kept[0].said)
        assert "MAP-001" in said
        assert "CANARY" not in said


async def test_a_ticket_of_which_nobody_knows_is_shown_to_a_person_and_not_opened_again(tmp_path, clock):
    async with escalating(tmp_path) as (clinic, desk):
        await an_item(clinic)
        desk.faults.script("silent", to="open")
        await later(clinic, clock, 5)
        await until(lambda: tickets(clinic, "unknown"))
        [item] = [item for item in await clinic.all_items("F-77") if item.topic == "ticket"]
        assert "not known whether a ticket was opened" in item.text
        await later(clinic, clock, 5)
        await clinic.quiet()
        assert desk.tickets.kept == []


async def test_a_mistake_in_a_program_after_it_was_sent_is_a_doubt(tmp_path, clock, monkeypatch):
    send = TicketDesk.send

    async def send_and_fail(self, message):
        await send(self, message)
        raise KeyError

    monkeypatch.setattr(TicketDesk, "send", send_and_fail)
    async with escalating(tmp_path) as (clinic, desk):
        await an_item(clinic)
        await later(clinic, clock, 5)
        await until(lambda: tickets(clinic, "unknown"))
        assert len(desk.tickets.kept) == 1


async def test_a_ticket_that_was_opened_without_an_answer_is_found(tmp_path, clock):
    async with escalating(tmp_path) as (clinic, desk):
        await an_item(clinic)
        desk.faults.script("silent after commit", to="open")
        await later(clinic, clock, 5)
        await until(lambda: tickets(clinic, "open"))
        assert desk.opened_twice() == []
        assert not [
            item for item in await clinic.all_items("F-77") if isinstance(item, WorklistItem) and item.topic == "ticket"
        ]

"""Tickets at help desks: what each vendor is asked, and that whatever goes wrong no ticket is opened twice."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager

import pytest

from connectors.simulators.ticketing import HelpDesk
from connectors.ticket import TicketDesk
from hub import calls
from hub.clinic import load_clinic
from hub.connector import Destination
from hub.errors import ConfigError, ConnectionDown, DoubtfulSend, MessageRejected, MessageUnusable
from hub.message import Message
from hub.records_tickets import Ticket, TicketOrder, TicketReport
from hub.testing import ConnectorContract
from tests.support import clinic_folder, free_port

VENDORS = {
    "zendesk": "zendesk/api/v2",
    "freshdesk": "freshdesk/api/v2",
    "servicenow": "servicenow/api/now",
    "jira_service": "jira/rest/servicedeskapi",
}
MORE = {
    "freshdesk": ", values: {email: hub@clinic.example}",
    "jira_service": ", values: {desk: '4', type: '21'}",
}
ORDER = TicketOrder(ticket="t-w-1", subject="Worklist it: MSG-001", text="Item w-1 is open since 5 h", priority="high")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(calls, "LOOKS", (0.01, 0.02, 0.05))
    monkeypatch.setenv("DESK_PASSWORD", "demo-secret")


@asynccontextmanager
async def at_desk(tmp_path, vendor, more=""):
    """A connection to the desk of a vendor, as a clinic writes it."""
    async with HelpDesk() as desk:
        url = f"url: 'http://127.0.0.1:{desk.port}/{VENDORS[vendor]}'"
        auth = "auth: {user: demo, password: {$env: DESK_PASSWORD}}"
        settings = f"vendor: {vendor}, kind: ticket, {url}, {auth}, timeout: 300ms{MORE.get(vendor, '')}{more}"
        text = f"connections:\n  helpdesk: {{{settings}}}\n"
        connection = connection_of(clinic_folder(tmp_path, text + "flows: {}\n"))
        try:
            yield desk, connection
        finally:
            await connection.close()


def connection_of(file):
    settings = load_clinic(file).settings.connections["helpdesk"]
    return settings.connector("helpdesk", settings.config)


async def order(connection: Destination) -> TicketReport:
    reply = await connection.send(Message(ORDER, "ticket_order"))
    assert reply is not None
    assert reply.format == "ticket_report"
    return TicketReport.model_validate_json(reply.body)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_ticket_is_opened_and_looked_at_until_it_is_closed(tmp_path, vendor):
    async with at_desk(tmp_path, vendor) as (desk, connection):
        report = await order(connection)
        assert (report.ticket, report.state) == ("t-w-1", "open")
        [kept] = desk.tickets.kept
        assert str(kept.number) in str(report.partner_id)
        assert "Item w-1 is open since 5 h" in str(kept.said)

        ticket = Ticket(id="t-w-1", partner_id=report.partner_id, state="open")
        assert TicketReport.model_validate_json((await connection.send(Message(ticket, "ticket"))).body).state == "open"
        kept.closed = True
        assert TicketReport.model_validate_json((await connection.send(Message(ticket, "ticket"))).body).state == "closed"
        desk.tickets.kept.clear()
        assert TicketReport.model_validate_json((await connection.send(Message(ticket, "ticket"))).body).state == "closed"


@pytest.mark.parametrize(
    "word", ["silent after commit", "hangup", "half", "empty", "html", "502 after commit", "500", "silent", "drop"]
)
@pytest.mark.parametrize("vendor", ["zendesk", "jira_service"])
async def test_what_may_have_been_opened_is_found_or_left_to_a_person(tmp_path, vendor, word):
    async with at_desk(tmp_path, vendor) as (desk, connection):
        desk.faults.script(word, to="open")
        with contextlib.suppress(DoubtfulSend):
            report = await order(connection)
            assert report.partner_id, "it was found"
            return
        assert not desk.tickets.kept or vendor == "jira_service", "it was there to be found"
        assert len(desk.tickets.kept) <= 1


@pytest.mark.parametrize("word", ["503", "429 after 2", "401"])
@pytest.mark.parametrize("vendor", ["zendesk", "jira_service"])
async def test_what_was_surely_not_opened_is_tried_again(tmp_path, vendor, word):
    async with at_desk(tmp_path, vendor) as (desk, connection):
        desk.faults.script(word, to="open")
        with pytest.raises(ConnectionDown):
            await order(connection)
        assert desk.tickets.kept == []
        assert (await order(connection)).partner_id


async def test_what_a_person_sends_again_is_looked_for_first(tmp_path):
    async with at_desk(tmp_path, "zendesk") as (desk, connection):
        first = await order(connection)
        again = await connection.send(Message(ORDER, "ticket_order", generation=1))
        assert TicketReport.model_validate_json(again.body) == first
        assert len(desk.tickets.kept) == 1


async def test_a_refusal_is_about_this_ticket(tmp_path):
    async with at_desk(tmp_path, "zendesk") as (desk, connection):
        desk.faults.script("422", to="open")
        with pytest.raises(MessageRejected) as refused:
            await order(connection)
        assert refused.value.final


async def test_a_vendor_of_nobody_needs_no_python(tmp_path):
    """The profile of a desk that exists only here, written into the clinic file."""
    async with HelpDesk() as desk:
        text = f"""
connections:
  helpdesk:
    kind: ticket
    url: http://127.0.0.1:{desk.port}/servicenow/api/now
    auth: {{user: demo, password: {{$env: DESK_PASSWORD}}}}
    values: {{group: clinic}}
    open:
      path: /table/incident
      body: {{short_description: "{{subject}}", correlation_id: "{{ticket}}", assignment_group: "{{value.group}}"}}
      answer: {{partner_id: result.sys_id}}
flows: {{}}
"""
        connection = connection_of(clinic_folder(tmp_path, text))
        assert (await order(connection)).state == "open"
        assert desk.tickets.kept[0].said["assignment_group"] == "clinic"
        with pytest.raises(MessageUnusable, match="has no `look`"):
            await connection.send(Message(Ticket(id="t", partner_id="1"), "ticket"))
        with pytest.raises(MessageUnusable, match="takes a ticket_order or a ticket"):
            await connection.send(Message(b"x"))
        await connection.close()


def test_a_call_that_wants_what_nobody_tells_is_refused_before_anything_runs(tmp_path):
    text = "connections:\n  helpdesk: {vendor: freshdesk, kind: ticket}\nflows: {}\n"
    with pytest.raises(ConfigError, match=r"value\.email"):
        load_clinic(clinic_folder(tmp_path, text))


class TestTicketDesk(ConnectorContract):
    connector = TicketDesk
    config = {
        "url": "http://127.0.0.1:9/servicenow/api/now",
        "auth": {"user": "demo", "password": "demo-secret"},
        "open": {"path": "/table/incident", "body": {"description": "{text}"}, "answer": {"partner_id": "result.sys_id"}},
    }

    async def far_side(self, config):
        """Its port is known once it is open."""
        self.desk = HelpDesk(port=free_port())
        config["url"] = f"{self.desk.base}/servicenow/api/now"
        return self.desk

    def outgoing(self):
        return Message(ORDER.model_copy(update={"text": self.sample.decode("latin-1")}), "ticket_order")

    def arrived(self, connection, tmp_path):
        return self.desk.tickets.kept[0].said["description"].encode("latin-1")

"""Webhooks as vendors send them, to connections that a profile makes: what is good is kept and named, a changed one is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from connectors.webhook import WebhookListener
from hub.clinic import load_clinic
from hub.settings.model import ConnectionSettings
from hub.testing import FakeDeliver
from hub.yaml_text import load_file
from tests.connectors.hooks import post
from tests.support import ROOT, clinic_folder

SECRET = "s3cret-of-the-vendor"
PUBLIC = "https://hooks.example/hooks/vendor"


@dataclass(frozen=True)
class Sent:
    """A delivery as the vendor makes it, and what the hub has to make of it: event and resource of each message."""

    body: bytes
    headers: dict[str, str]
    said: list[tuple[str, str]]
    secret: str = SECRET


def mac(text: bytes, key: bytes = SECRET.encode()) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


def calendly(now: str) -> Sent:
    body = _json({"event": "invitee.created", "payload": {"uri": "https://api.calendly.com/x/1", "name": "Jane"}})
    signature = mac(f"{now}.".encode() + body).hex()
    headers = {"Calendly-Webhook-Signature": f"t={now},v1={signature}"}
    return Sent(body, headers, [("invitee.created", "https://api.calendly.com/x/1")])


def zocdoc(now: str) -> Sent:
    body = _json({"event_type": "appointment_updated", "data": {"appointment_data": {"appointment_id": "A-1"}}})
    headers = {"webhook-signature": f"v1:{b64(mac(now.encode() + b'.' + body))};v2:AAAA", "webhook-timestamp": now}
    return Sent(body, headers, [("appointment_updated", "A-1")], b64(SECRET.encode()))


def stedi(now: str) -> Sent:
    body = _json({"event": {"detail": {}}})
    headers = {"webhook-id": "msg_1", "webhook-timestamp": now}
    headers["webhook-signature"] = f"v1,{b64(mac(f'msg_1.{now}.'.encode() + body))}"
    return Sent(body, headers, [("", "")], f"whsec_{b64(SECRET.encode())}")


def hubspot(now: str) -> Sent:
    body = _json([{"eventId": n, "subscriptionType": "ticket.propertyChange", "objectId": 70 + n} for n in (1, 2)])
    moment = f"{now}000"
    headers = {"X-HubSpot-Signature-v3": b64(mac(f"POST{PUBLIC}".encode() + body + moment.encode()))}
    said = [("ticket.propertyChange", "71"), ("ticket.propertyChange", "72")]
    return Sent(body, {**headers, "X-HubSpot-Request-Timestamp": moment}, said)


def zendesk(now: str) -> Sent:
    body = _json({"event": "ticket.changed", "id": "7"})
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(now)))
    headers = {"X-Zendesk-Webhook-Signature": b64(mac(moment.encode() + body))}
    return Sent(body, {**headers, "X-Zendesk-Webhook-Signature-Timestamp": moment}, [("ticket.changed", "7")])


def jira_service(now: str) -> Sent:
    body = _json({"webhookEvent": "jira:issue_updated", "issue": {"key": "HELP-7"}})
    return Sent(body, {"X-Hub-Signature": f"sha256={mac(body).hex()}"}, [("jira:issue_updated", "HELP-7")])


def athenahealth(now: str) -> Sent:
    event = {"eventNumber": "1", "id": "a-1.AuditEvent-9", "focus": {"reference": "Appointment/a-1.Appointment-5"}}
    status = {"resourceType": "SubscriptionStatus", "topic": "Appointment.schedule", "notificationEvent": [event]}
    body = _json({"resourceType": "Bundle", "entry": [{"resource": status}, {"resource": {"resourceType": "AuditEvent"}}]})
    headers = {"X-Hub-Signature": f"sha256={mac(body).hex()}"}
    return Sent(body, headers, [("Appointment.schedule", "Appointment/a-1.Appointment-5")])


def shared_token(now: str) -> Sent:
    return Sent(_json({"event": "ticket.changed", "id": "7"}), {"X-Hub-Token": SECRET}, [("ticket.changed", "7")])


def acme_signs(now: str) -> Sent:
    """A vendor that exists only here: nothing of it is Python but this, which is its side."""
    body = b"kind=visit.moved&visit%5Bid%5D=V-7"
    signature = mac(f"{PUBLIC}|{now}|".encode() + body).hex()
    headers = {"X-Acme": f"at={now};sig={signature}", "Content-Type": "application/x-www-form-urlencoded"}
    return Sent(body, headers, [("visit.moved", "V-7")])


ACME = """
vendor: acme_visits
title: Acme Visits
proven: none
notes: Only in the tests.
kinds:
  webhook_listener:
    verify:
      how: hmac
      signed: "{url}|{timestamp}|{body}"
      signature: {header: X-Acme, among: ";", after: ["sig="]}
      timestamp: {header: X-Acme, among: ";", after: ["at="]}
    event: {field: kind}
    resource: {field: visit.id}
    dedupe: [{field: visit.id}]
"""
VENDORS = {
    "acme_visits": acme_signs,
    "athenahealth": athenahealth,
    "calendly": calendly,
    "freshdesk": shared_token,
    "hubspot": hubspot,
    "jira_service": jira_service,
    "servicenow": shared_token,
    "stedi": stedi,
    "zendesk": zendesk,
    "zocdoc": zocdoc,
}


TOKENS = ("freshdesk", "servicenow")
PROFILES = sorted(p.stem for p in (ROOT / "connectors/vendors").glob("*.yaml") if "webhook_listener" in p.read_text())


@pytest.fixture(scope="module")
def connections(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ConnectionSettings]:
    """A connection of each profile, as a clinic would have it; those too that their families try with simulators."""
    folder = tmp_path_factory.mktemp("clinic")
    (folder / "vendors").mkdir()
    (folder / "vendors/acme_visits.yaml").write_text(ACME)
    lines = ["connections:"]
    for number, vendor in enumerate([*PROFILES, "acme_visits"]):
        secret = VENDORS[vendor]("0").secret if vendor in VENDORS else "c2VjcmV0"
        (folder / f"{vendor}.new").write_text(secret)
        (folder / f"{vendor}.old").write_text("b2xk")
        lines.append(
            f"  {vendor}: {{vendor: {vendor}, kind: webhook_listener, port: '0', path: /h/{number}, public_url: {PUBLIC}"
        )
        lines[-1] += f"{_verify(vendor)}}}"
    return load_clinic(clinic_folder(folder, "\n".join(lines) + "\n")).settings.connections


def _verify(vendor: str) -> str:
    """What a profile leaves to the clinic."""
    secrets = f"secrets: [{{$file: {vendor}.old}}, {{$file: {vendor}.new}}]"
    if vendor in VENDORS:
        return f", verify: {{{secrets}}}"
    how = load_file(ROOT / f"connectors/vendors/{vendor}.yaml").data["kinds"]["webhook_listener"].get("verify", {}).get("how")
    return {"unsigned": "", "basic": f", verify: {{user: hub, {secrets}}}"}.get(how, f", verify: {{{secrets}}}")


@pytest.mark.parametrize("vendor", PROFILES)
def test_a_profile_needs_nothing_but_secrets_and_addresses(connections: dict[str, ConnectionSettings], vendor: str) -> None:
    assert connections[vendor].config.vendor == vendor


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_a_vendor_signs_is_kept_and_named_and_all_else_is_not(
    connections: dict[str, ConnectionSettings], vendor: str
) -> None:
    sent, deliver = VENDORS[vendor](str(int(time.time()))), FakeDeliver()
    headers = {"Content-Type": "application/json", **sent.headers}
    config = connections[vendor].config
    listener = WebhookListener(vendor, config)
    await listener.open(deliver)
    try:

        async def told(body: bytes, headers: dict[str, str]) -> int:
            return (await post(listener.port, body, headers, target=config.path)).status

        assert await told(sent.body, {}) == 401
        if vendor not in TOKENS:
            assert await told(sent.body.replace(b"7", b"8") + b" ", headers) == 401
        assert await told(sent.body, headers) == 200
        first, deliver.delivered = deliver.delivered, []
        assert await told(sent.body, headers) == 200
    finally:
        await listener.close()
    assert [(message.type, message.headers.get("resource", "")) for message in first] == sent.said
    keys = [message.duplicate_key for message in first]
    assert keys == [message.duplicate_key for message in deliver.delivered]
    assert all(keys) == (vendor not in TOKENS), "the same delivery is recognised where anything makes that possible"

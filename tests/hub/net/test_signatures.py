"""How partners prove who sends: each way with vectors that others have made, and with what must not pass.

Vectors are published ones where there are (named beside them), else made with `openssl dgst`, never with the code under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from dropbox_sign import EventCallbackHelper
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from twilio.request_validator import RequestValidator

from connectors.webhook.events import reader
from hub.net.signatures import Delivery, Verify, signature_of, verify

NOW = 1795680000.0
FORM = "application/x-www-form-urlencoded"
HOOK = "https://hooks.example/hooks/"


def delivery(body: bytes = b"", headers: dict[str, str] | None = None, **more: Any) -> Delivery:
    given = [(name.lower(), value) for name, value in (headers or {}).items()]
    content_type = next((value for name, value in given if name == "content-type"), "")
    return Delivery(body, given, read=reader(body, content_type), **more)


def signs(signature: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"how": "hmac", "signature": signature, **more}


FILED, FILED_TYPE = (
    (
        b'--x\r\nContent-Disposition: form-data; name="fax[id]"\r\n\r\n77\r\n'
        b'--x\r\nContent-Disposition: form-data; name="direction"\r\n\r\nsent\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="f.pdf"\r\n\r\nhello\r\n--x--\r\n'
    ),
    "multipart/form-data; boundary=x",
)
CALL = "To=%2B18005551212&Digits=1234&From=%2B14158675309&CallSid=CA1234567890ABCDE&Caller=%2B14158675309"

WAYS: dict[str, tuple[dict[str, Any], list[str], Delivery]] = {
    # GitHub's documentation ("Validating webhook deliveries") has this vector.
    "the body, hex with a prefix (athenahealth, Jira)": (
        signs({"header": "X-Hub-Signature", "after": ["sha256="]}),
        ["It's a Secret to Everybody"],
        delivery(
            b"Hello, World!",
            {"X-Hub-Signature": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        ),
    ),
    "the body, Base64 in numbered headers (DocuSign)": (
        signs({"header": "X-DocuSign-Signature-*"}, encoding="base64"),
        ["connect-key"],
        delivery(
            b'{"event":"envelope-completed"}',
            {
                "X-DocuSign-Signature-1": "AAAAJ6QCsedO1riWzKsw8PeB5uCBM2qTVN70/N6TPGg=",
                "X-DocuSign-Signature-2": "hdN+J6QCsedO1riWzKsw8PeB5uCBM2qTVN70/N6TPGg=",
            },
        ),
    ),
    "the body, hex in the query (PandaDoc)": (
        signs({"query": "signature"}),
        ["panda-key"],
        delivery(
            b'[{"event":"document_state_changed"}]',
            url=HOOK + "pandadoc?signature=a881d2a4af20776f6863d751bf540c652f68d3238f136bd82fd4f84b6153ae4f",
        ),
    ),
    "time and body in one header (Calendly)": (
        signs(
            {"header": "Calendly-Webhook-Signature", "among": ",", "after": ["v1="]},
            signed="{timestamp}.{body}",
            timestamp={"header": "Calendly-Webhook-Signature", "among": ",", "after": ["t="]},
        ),
        ["cal-key"],
        delivery(
            b'{"event":"invitee.created"}',
            {"Calendly-Webhook-Signature": "t=1795680000,v1=cba966106988972fae52704ab99e709f9840cac5190f675073613bded9622c4e"},
        ),
    ),
    "time and body with a decoded key (Zocdoc)": (
        signs(
            {"header": "webhook-signature", "among": ";", "after": ["v1:", "v2:"]},
            signed="{timestamp}.{body}",
            timestamp={"header": "webhook-timestamp"},
            encoding="base64",
            decode="base64",
        ),
        ["em9jZG9jLXNoYXJlZC1rZXk="],
        delivery(
            b'{"event_type":"appointment_updated"}',
            {
                "webhook-signature": "v1:AAAAe8YtEyJqT6PlHZFQKmpQ7/5cRIjB3+oj/C4Zuw=;"
                "v2:/7cnde8YtEyJqT6PlHZFQKmpQ7/5cRIjB3+oj/C4Zuw=",
                "webhook-timestamp": "1795680000",
            },
        ),
    ),
    "time and body without anything between (Zendesk)": (
        signs(
            {"header": "X-Zendesk-Webhook-Signature"},
            signed="{timestamp}{body}",
            timestamp={"header": "X-Zendesk-Webhook-Signature-Timestamp"},
            encoding="base64",
            tolerance="24h",
        ),
        ["zen-secret"],
        delivery(
            b'{"ticket":7}',
            {
                "X-Zendesk-Webhook-Signature": "xIfFCZq1xO/PyMfO1OcOsfURh+IoaYKOri/nzsaR0ew=",
                "X-Zendesk-Webhook-Signature-Timestamp": "2026-11-25T16:00:00Z",
            },
        ),
    ),
    "method, URL, body and milliseconds (HubSpot v3)": (
        signs(
            {"header": "X-HubSpot-Signature-v3"},
            signed="{method}{url}{body}{timestamp}",
            timestamp={"header": "X-HubSpot-Request-Timestamp"},
            timestamp_unit="ms",
            encoding="base64",
        ),
        ["hub-secret"],
        delivery(
            b'[{"eventId":1}]',
            {
                "X-HubSpot-Signature-v3": "g9dXJUHm4lZya13Pdc+s2fN2nBXUwn6XHW/qr/wa/sU=",
                "X-HubSpot-Request-Timestamp": "1795680000000",
            },
            url=HOOK + "hubspot",
        ),
    ),
    "a plain hash of key and body (HubSpot v1)": (
        {"how": "prefixed_hash", "signature": {"header": "X-HubSpot-Signature"}},
        ["hub-secret"],
        delivery(
            b'[{"eventId":1}]',
            {"X-HubSpot-Signature": "389c54c26bbb25fd6ea867814ffe67861c8c2c026d08e7eaf4a4732bd1c82c7f"},
        ),
    ),
    "a plain hash of key, method, URL and body (HubSpot v2)": (
        {"how": "prefixed_hash", "signed": "{method}{url}{body}", "signature": {"header": "X-HubSpot-Signature"}},
        ["hub-secret"],
        delivery(
            b'[{"eventId":1}]',
            {"X-HubSpot-Signature": "d9919cd8053e4bbf091612564c529e1d145f43f0d9837d774f52c53de3216189"},
            url=HOOK + "hubspot",
        ),
    ),
    # Twilio's documentation ("Webhooks security") has this vector.
    "URL and form, SHA-1 (Twilio)": (
        signs({"header": "X-Twilio-Signature"}, signed="{url}{form}", hash="sha1", encoding="base64"),
        ["12345"],
        delivery(
            CALL.encode(),
            {"X-Twilio-Signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "Content-Type": FORM},
            url="https://mycompany.com/myapp.php?foo=1&bar=2",
        ),
    ),
    "URL and form with the hash that the request names (Twilio)": (
        signs(
            {"header": "X-Twilio-Signature"},
            signed="{url}{form}",
            hash="sha1",
            hash_name={"header": "X-Twilio-Webhooks-Signature-Settings", "among": ",", "after": ["algorithm="]},
            encoding="base64",
        ),
        ["12345"],
        delivery(
            CALL.encode(),
            {
                "X-Twilio-Signature": "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=",
                "X-Twilio-Webhooks-Signature-Settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
                "Content-Type": FORM,
            },
            url="https://mycompany.com/myapp.php?foo=1&bar=2",
        ),
    ),
    "URL with the hash of a body that is no form (Twilio)": (
        signs(
            {"header": "X-Twilio-Signature"},
            signed="{url}{form}",
            hash="sha1",
            encoding="base64",
            body_hash={"query": "bodySHA256"},
        ),
        ["12345"],
        delivery(
            b'{"a":1}',
            {"X-Twilio-Signature": "+kSuX/0ZJYA1+JmgZwzpaeDUJPg=", "Content-Type": "application/json"},
            url="https://mycompany.com/myapp.php?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
        ),
    ),
    "URL, form and files (Phaxio)": (
        signs({"header": "X-Phaxio-Signature"}, signed="{url}{form}{files}", hash="sha1"),
        ["phaxio-token"],
        delivery(
            FILED,
            {"X-Phaxio-Signature": "a60bed62d169af202a2012b055ca1368aeac9bbe", "Content-Type": FILED_TYPE},
            url=HOOK + "phaxio",
        ),
    ),
    # standardwebhooks.com has this vector.
    "id, time and body (Standard Webhooks, Stedi)": (
        signs(
            {"header": "webhook-signature", "among": " ", "after": ["v1,"]},
            signed="{id}.{timestamp}.{body}",
            parts={"id": {"header": "webhook-id"}},
            timestamp={"header": "webhook-timestamp"},
            encoding="base64",
            decode="whsec",
            tolerance="10y",
        ),
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        delivery(
            b'{"test": 2432232314}',
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
        ),
    ),
    "parts of the body, inside the body (Dropbox Sign)": (
        signs(
            {"field": "json.event.event_hash"},
            signed="{timestamp}{type}",
            timestamp={"field": "json.event.event_time"},
            parts={"type": {"field": "json.event.event_type"}},
        ),
        ["dropbox-api-key"],
        delivery(
            urlencode(
                {
                    "json": json.dumps(
                        {
                            "event": {
                                "event_time": "1795680000",
                                "event_type": "signature_request_sent",
                                "event_hash": "00fba4b5bc6ed09d7fe21f3ce37fd8f4c8a7abd9e48fdfbc3f294c13544b461f",
                            }
                        }
                    )
                }
            ).encode(),
            {"Content-Type": FORM},
        ),
    ),
    "a token in a header (RingCentral, Freshdesk, ServiceNow)": (
        {"how": "token", "signature": {"header": "Validation-Token"}},
        ["t0ken"],
        delivery(b"{}", {"Validation-Token": "t0ken"}),
    ),
    "a known id in a header (Adobe Sign)": (
        {"how": "token", "signature": {"header": "X-AdobeSign-ClientId"}},
        ["CBJCHBCAABAAbc"],
        delivery(b"{}", {"X-AdobeSign-ClientId": "CBJCHBCAABAAbc"}),
    ),
    "a token in each event of the body (Microsoft Graph)": (
        {"how": "token", "signature": {"field": "value[*].clientState"}},
        ["st4te"],
        delivery(b'{"value": [{"clientState": "st4te"}, {"clientState": "st4te"}]}'),
    ),
    "a token in the path (SRFax, WestFax)": (
        {"how": "token", "signature": {"segment": 1}},
        ["unguessable"],
        delivery(b"x=1", rest="/unguessable"),
    ),
    # RFC 7617, section 2, has this vector.
    "user and password (Sinch, Documo)": (
        {"how": "basic", "user": "Aladdin"},
        ["open sesame"],
        delivery(b"{}", {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}),
    ),
}


def way(name: str, secrets: list[str] | None = None, **more: Any) -> Verify:
    how, good, _ = WAYS[name]
    return Verify.model_validate({**how, "secrets": secrets if secrets is not None else good, **more})


SIGNING = [name for name, (how, _, _) in WAYS.items() if how["how"] in ("hmac", "prefixed_hash")]


@pytest.mark.parametrize("name", WAYS)
def test_a_good_one_is_good(name: str) -> None:
    assert verify(way(name), WAYS[name][2], NOW) == (True, "")


@pytest.mark.parametrize("name", WAYS)
def test_with_another_secret_it_is_not(name: str) -> None:
    how, good, sent = WAYS[name]
    decoded = how.get("decode")
    other = base64.b64encode(b"another").decode() if decoded else "another"
    assert verify(way(name, [other]), sent, NOW) == (False, "wrong_signature")
    assert verify(way(name, [other, *good]), sent, NOW).good, "while a key is changed both are good"
    assert verify(way(name, [*good, other]), sent, NOW).good


@pytest.mark.parametrize("name", WAYS)
def test_without_a_signature_it_is_not(name: str) -> None:
    sent = WAYS[name][2]
    bare = delivery(b'{"value": [], "json": {}}', {"Content-Type": sent.content_type or "application/json"}, url=HOOK)
    verdict = verify(way(name), bare, NOW)
    assert not verdict.good
    assert verdict.reason in ("no_signature", "unreadable")


def _flipped(sent: Delivery) -> Delivery:
    """The same with one byte of its body changed, in a value."""
    at = len(sent.body) - 3 if sent.body[-1:] in b"}]!" else len(sent.body) // 2
    body = sent.body[:at] + bytes([sent.body[at] ^ 1]) + sent.body[at + 1 :]
    return replace(sent, body=body, read=reader(body, sent.content_type))


@pytest.mark.parametrize("name", [name for name in SIGNING if "Dropbox" not in name])
def test_a_changed_body_is_not(name: str) -> None:
    assert not verify(way(name), _flipped(WAYS[name][2]), NOW).good


def test_a_signature_of_parts_speaks_for_those_alone() -> None:
    """vendors.md 16.5: what is not signed is a hint, and the resource is read again."""
    name = "parts of the body, inside the body (Dropbox Sign)"
    sent = WAYS[name][2]
    for old, new, good in ((b"event_hash", b"event_hash", True), (b"request_sent", b"request_lost", False)):
        body = sent.body.replace(old, new)
        assert verify(way(name), replace(sent, body=body, read=reader(body, FORM)), NOW).good == good


@pytest.mark.parametrize(
    "name", [name for name in SIGNING if "timestamp" in WAYS[name][0] and "tolerance" not in WAYS[name][0]]
)
def test_an_old_one_and_one_from_the_future_are_not(name: str) -> None:
    how, sent = way(name), WAYS[name][2]
    for late, good in ((-301, False), (-299, True), (0, True), (299, True), (301, False)):
        assert verify(how, sent, NOW + late) == ((True, "") if good else (False, "stale"))


@pytest.mark.parametrize(
    "text", ["", "soon", "-1795680000", "1795680000.5", "١٧٩٥٦٨٠٠٠٠", "9" * 40, "2026-11-26T08:00:00", "0x6b"]
)
def test_a_time_that_is_none_is_not(text: str) -> None:
    name = "method, URL, body and milliseconds (HubSpot v3)"
    sent = WAYS[name][2]
    headers = [(n, text if n == "x-hubspot-request-timestamp" else v) for n, v in sent.headers]
    assert verify(way(name), replace(sent, headers=headers), NOW) == (False, "no_timestamp")


@pytest.mark.parametrize("name", ["URL and form, SHA-1 (Twilio)", "method, URL, body and milliseconds (HubSpot v3)"])
def test_the_url_is_part_of_it(name: str) -> None:
    sent = WAYS[name][2]
    assert not verify(way(name), replace(sent, url=sent.url.replace("https", "http")), NOW).good
    assert not verify(way(name), replace(sent, url=sent.url + "x"), NOW).good


def test_a_body_that_no_signature_covers_is_refused() -> None:
    """A form is signed by its values; JSON beside a signed URL is signed by nothing unless the URL has its hash."""
    name = "URL and form, SHA-1 (Twilio)"
    how = way(name)
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    signature = RequestValidator("12345").compute_signature(url, {})
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/json"}
    assert verify(how, delivery(b"", headers, url=url), NOW).good
    assert verify(how, delivery(b'{"anything": 1}', headers, url=url), NOW) == (False, "unsigned_body")


def test_files_that_no_signature_covers_are_refused() -> None:
    url = HOOK + "x"
    signature = RequestValidator("12345").compute_signature(url, {"fax[id]": "77", "direction": "sent"})
    sent = delivery(FILED, {"X-Twilio-Signature": signature, "Content-Type": FILED_TYPE}, url=url)
    assert verify(way("URL and form, SHA-1 (Twilio)"), sent, NOW) == (False, "unsigned_body")


def test_a_hash_nobody_knows_is_refused() -> None:
    name = "URL and form with the hash that the request names (Twilio)"
    sent = WAYS[name][2]
    for named in ("HMAC_MD5", "none", "HMAC_"):
        headers = [(n, f"algorithm={named}" if n.endswith("-settings") else v) for n, v in sent.headers]
        assert verify(way(name), replace(sent, headers=headers), NOW) == (False, "unknown_hash")


def test_a_part_that_is_there_twice_is_no_part() -> None:
    name = "id, time and body (Standard Webhooks, Stedi)"
    sent = WAYS[name][2]
    twice = replace(sent, headers=[*sent.headers, ("webhook-id", "msg_other")])
    assert verify(way(name), twice, NOW) == (False, "no_signature")


@pytest.mark.parametrize(
    "body",
    [
        b'{"value": [{"clientState": "st4te"}, {"clientState": "other"}]}',
        b'{"value": [{"clientState": "st4te "}]}',
        b'{"value": []}',
        b'{"value": {"clientState": "st4te"}}',
        b"not json",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:40].decode(),
)
def test_every_event_has_to_have_the_token(body: bytes) -> None:
    assert not verify(way("a token in each event of the body (Microsoft Graph)"), delivery(body), NOW).good


@pytest.mark.parametrize(
    "given",
    [
        "Basic",
        "Basic !!",
        "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        "Basic Aladdin:open sesame",
    ],
)
def test_other_credentials_are_not(given: str) -> None:
    name = "user and password (Sinch, Documo)"
    assert verify(way(name), delivery(b"{}", {"Authorization": given}), NOW) == (False, "wrong_signature")


def test_hex_may_be_written_large_and_base64_may_not() -> None:
    for name, good in (
        ("the body, hex in the query (PandaDoc)", True),
        ("the body, Base64 in numbered headers (DocuSign)", False),
    ):
        sent = WAYS[name][2]
        headers = [(n, v.upper()) for n, v in sent.headers]
        large = replace(sent, headers=headers, url=sent.url.replace("a881d2a4af20", "A881D2A4AF20"))
        assert verify(way(name), large, NOW).good == good


def test_two_sets_of_credentials_are_none() -> None:
    name = "user and password (Sinch, Documo)"
    sent = WAYS[name][2]
    assert not verify(way(name), replace(sent, headers=[*sent.headers, ("authorization", "Basic eDp5")]), NOW).good


def test_of_a_thousand_signatures_few_are_looked_at() -> None:
    name = "id, time and body (Standard Webhooks, Stedi)"
    sent = WAYS[name][2]

    def after(count: int) -> Delivery:
        many = [(n, "v1,AAAA " * count + v if n == "webhook-signature" else v) for n, v in sent.headers]
        return replace(sent, headers=many)

    assert verify(way(name), after(10), NOW).good
    assert verify(way(name), after(1000), NOW) == (False, "wrong_signature")


def test_what_is_not_signed_is_taken_with_a_reason_only() -> None:
    how = Verify.model_validate({"how": "unsigned", "reason": "this vendor signs nothing"})
    assert verify(how, delivery(b"anything"), NOW).good


def test_the_signature_makes_a_delivery_recognisable() -> None:
    name = "the body, hex in the query (PandaDoc)"
    assert signature_of(way(name), WAYS[name][2]) == "a881d2a4af20776f6863d751bf540c652f68d3238f136bd82fd4f84b6153ae4f"
    name = "a token in a header (RingCentral, Freshdesk, ServiceNow)"
    assert signature_of(way(name), WAYS[name][2]) == "", "a token is the same each time"


WRONG: dict[str, dict[str, Any]] = {
    "no secrets": {"how": "hmac", "signature": {"header": "X"}},
    "an empty secret": {"how": "token", "signature": {"header": "X"}, "secrets": [""]},
    "a blank secret": {"how": "token", "signature": {"header": "X"}, "secrets": ["good", "  "]},
    "a secret that is no Base64": {"how": "hmac", "signature": {"header": "X"}, "secrets": ["no!base64"], "decode": "base64"},
    "a secret of nothing but its prefix": {
        "how": "hmac",
        "signature": {"header": "X"},
        "secrets": ["whsec_"],
        "decode": "whsec",
    },
    "no signature": {"how": "hmac", "secrets": ["s"]},
    "no user": {"how": "basic", "secrets": ["s"]},
    "no reason": {"how": "unsigned"},
    "an unknown part": {"how": "hmac", "signature": {"header": "X"}, "secrets": ["s"], "signed": "{bodi}"},
    "an idle part": {"how": "hmac", "signature": {"header": "X"}, "secrets": ["s"], "parts": {"id": {"header": "I"}}},
    "a time that is not signed": {"how": "hmac", "signature": {"header": "X"}, "secrets": ["s"], "timestamp": {"header": "T"}},
    "a signed time that stands nowhere": {
        "how": "hmac",
        "signature": {"header": "X"},
        "secrets": ["s"],
        "signed": "{timestamp}",
    },
    "a brace alone": {"how": "hmac", "signature": {"header": "X"}, "secrets": ["s"], "signed": "{body"},
    "two places": {"how": "token", "signature": {"header": "X", "query": "x"}, "secrets": ["s"]},
    "no place": {"how": "token", "signature": {"after": ["v1="]}, "secrets": ["s"]},
    "no header": {"how": "token", "signature": {"header": "X: y"}, "secrets": ["s"]},
    "an unknown way": {"how": "hope", "secrets": ["s"]},
}


@pytest.mark.parametrize("name", WRONG)
def test_half_of_a_way_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Verify.model_validate(WRONG[name])
    assert "no!base64" not in str(caught.value)


# The vendors' own code decides, on anything.

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
HOSTS = st.sampled_from(
    ["https://a.example", "https://a.example:443", "http://a.example:8080", "http://a.example", "https://a.example:8443"]
)
HEADERS = st.sampled_from(["authorization", "x-hub-signature", "content-type", "webhook-signature", "webhook-timestamp"])
BODY_HASH = way("URL with the hash of a body that is no form (Twilio)", ["12345"])
NAMED = way("URL and form with the hash that the request names (Twilio)", ["12345"])


class Values(dict[str, list[str]]):
    """Fields with all their values, as web frameworks give them to the SDK."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


@settings(max_examples=150, deadline=None)
@given(
    HOSTS,
    st.lists(st.tuples(TEXT, TEXT), max_size=6),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "HMAC_SHA256", "HMAC_MD5"]),
)
def test_twilios_validator_says_the_same_of_forms(
    host: str, fields: list[tuple[str, str]], meddled: bool, with_port: bool, algorithm: str | None
) -> None:
    url, values = f"{host}/hooks?a=1", Values()
    for name, value in fields:
        values.setdefault(name, []).append(value)
    theirs = RequestValidator("12345")
    port = "" if ":" in host[6:] or not with_port else ":443" if host.startswith("https") else ":80"
    signature = theirs.compute_signature(url.replace(host, host + port), values, algorithm if algorithm != "HMAC_MD5" else None)
    if meddled:
        values.setdefault("extra", []).append("1")
        fields = [*fields, ("extra", "1")]
    headers = {"X-Twilio-Signature": signature, "Content-Type": FORM}
    if algorithm:
        headers["X-Twilio-Webhooks-Signature-Settings"] = f"key=k,algorithm={algorithm}"
    ours = verify(NAMED, delivery(urlencode(fields).encode(), headers, url=url), NOW).good
    assert ours == theirs.validate(url, values, signature, algorithm)
    assert ours != (meddled or algorithm == "HMAC_MD5")


@settings(max_examples=100, deadline=None)
@given(HOSTS, TEXT, st.booleans())
def test_twilios_validator_says_the_same_of_json(host: str, text: str, meddled: bool) -> None:
    theirs, body = RequestValidator("12345"), json.dumps({"text": text})
    url = f"{host}/hooks?bodySHA256={theirs.compute_hash(body)}"
    signature = theirs.compute_signature(url, {})
    body += " " if meddled else ""
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/json"}
    ours = verify(BODY_HASH, delivery(body.encode(), headers, url=url), NOW).good
    assert ours == theirs.validate(url, body, signature) == (not meddled)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1795679900, 1795680100).map(str), st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.booleans()
)
def test_dropbox_signs_helper_says_the_same(moment: str, kind: str, meddled: bool) -> None:
    how = way("parts of the body, inside the body (Dropbox Sign)", ["api-key"])
    hashed = hmac.new(b"api-key", (moment + kind).encode(), hashlib.sha256).hexdigest()
    told = {"event_time": moment, "event_type": kind + ("x" if meddled else ""), "event_hash": hashed}
    body = urlencode({"json": json.dumps({"event": told})}).encode()
    event = SimpleNamespace(event=SimpleNamespace(**told))
    ours = verify(how, delivery(body, {"Content-Type": FORM}), NOW).good
    assert ours == EventCallbackHelper.is_valid("api-key", event) == (not meddled)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WAYS)), st.binary(max_size=60), st.dictionaries(HEADERS, TEXT), TEXT)
def test_anything_gets_a_verdict_and_nothing_gets_in(name: str, body: bytes, headers: dict[str, str], rest: str) -> None:
    sent = delivery(body, headers, url=HOOK + "?" + rest, rest=rest)
    assert not verify(way(name), sent, NOW).good

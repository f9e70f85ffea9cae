"""Signing services that are proven: each runs the whole contract; one that exists only here shows that no Python is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from pydantic import ValidationError

from connectors.esign import Esign
from connectors.esign.settings import EsignConfig
from connectors.simulators.signer import DocuSign, DropboxSign, SigningService
from hub.errors import ConnectionDown
from hub.message import Message
from hub.records_signing import EnvelopeOrder
from hub.testing import ConnectorContract
from tests.connectors.signing import JANE, SigningContract
from tests.hub.net.test_auth import RSA, pem, public_pem
from tests.support import free_port


class TestDocuSign(SigningContract):
    vendor = "docusign"
    facade = "docusign"
    speaks_certificate = True

    def settings(self, service: SigningService, folder: Path) -> str:
        (folder / "key.pem").write_text(pem(RSA))
        return (
            f"url: {service.base}/restapi\n"
            "values: {account: acc-1}\n"
            f"auth: {{client_id: clinic-17, token_url: {service.token_url}, private_key: {{$file: key.pem}},\n"
            "  claims: {aud: account.signer.example, sub: user-1, scope: signature impersonation}}\n"
            f"discover: {{url: '{service.base}'}}"
        )

    def set_up(self, service: SigningService) -> None:
        service.facade(DocuSign).public_key = public_pem(RSA)

    async def test_the_address_of_the_account_is_asked_for_and_may_move(self, tmp_path: Path) -> None:
        async with SigningService(pace=0) as new, self.both(tmp_path) as (service, connection):
            await self.ask(connection, self.order())
            service.facade(DocuSign).base_uri = new.base
            new.tokens = service.tokens
            service.faults.script("410", to="look")
            with pytest.raises(Exception, match="410"):
                await self.ask(connection, self.order("look", partner_id="x"))
            await self.ask(connection, self.order(id="sig-2"))
            assert [e.reference for e in new.table.by_id.values()] == ["sig-2"]
            assert [e.reference for e in service.table.by_id.values()] == ["sig-1"]

    @pytest.mark.parametrize("where", ["https://evil.example", "https://docusign.net.evil.example", "not an address", ""])
    async def test_documents_go_to_no_host_that_is_not_allowed(self, where: str, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            service.facade(DocuSign).base_uri = where or "http://"
            with pytest.raises(ConnectionDown) as caught:
                await self.ask(connection, self.order())
            assert caught.value.code == "NET-021"
            assert not service.table.by_id

    async def test_an_assertion_of_another_key_gets_no_token(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            service.facade(DocuSign).public_key = public_pem(generate_private_key(public_exponent=65537, key_size=2048))
            with pytest.raises(ConnectionDown) as caught:
                await self.ask(connection, self.order())
            assert caught.value.code == "NET-020"
            assert not service.table.by_id

    async def test_a_token_that_ended_is_fetched_again_with_a_new_assertion(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            sent = await self.ask(connection, self.order())
            before = service.facade(DocuSign).assertions
            service.tokens.withdraw()
            assert (await self.later(connection, sent)).state == "sent"
            assert service.facade(DocuSign).assertions > before


class TestDropboxSign(SigningContract):
    vendor = "dropbox_sign"
    facade = "dropbox_sign"

    def settings(self, service: SigningService, folder: Path) -> str:
        (folder / "key.txt").write_text("sign-api-key")
        return f"url: {service.base}/v3\nauth: {{api_key: {{$file: key.txt}}}}"

    async def test_nothing_is_signed_for_real_until_the_clinic_says_so(self, tmp_path: Path) -> None:
        async with self.both(tmp_path) as (service, connection):
            await self.ask(connection, self.order())
            assert service.facade(DropboxSign).test_modes == ["1"]


class TestMadeUp(SigningContract):
    """A vendor that no Python was written for: it speaks as one façade does, in other words."""

    vendor = "made_up"
    facade = "dropbox_sign"
    finds = False
    test_what_passes_costs_nothing_but_time = None  # type: ignore[assignment]  # the same with every profile
    test_a_look_that_went_wrong_is_a_connection_that_is_down = None  # type: ignore[assignment]

    def settings(self, service: SigningService, folder: Path) -> str:
        (folder / "key.txt").write_text("Basic c2lnbi1hcGkta2V5Og==")
        return f"url: {service.base}\nauth: {{api_key: {{$file: key.txt}}}}"

    def profile(self) -> str:
        return """
vendor: made_up
title: A vendor of the tests
proven: none
notes: Only here.
kinds:
  esign:
    send:
      path: /v3/signature_request/send
      as: multipart
      body:
        title: "{title}"
        metadata: {reference: "{reference}"}
        signers: {each: signers, as: {email_address: "{email}", name: "{name}", order: "{rank}"}}
        files: {each: documents, as: "{file}"}
      answer: {partner_id: signature_request.signature_request_id}
    send_template:
      path: /v3/signature_request/send_with_template
      as: multipart
      body:
        template_ids: ["{template}"]
        title: "{title}"
        metadata: {reference: "{reference}"}
        signers: {each: signers, as: {email_address: "{email}", name: "{name}", role: "{role}"}}
      answer: {partner_id: signature_request.signature_request_id}
    look:
      method: GET
      path: /v3/signature_request/{partner_id}
      answer: {detail: "signature_request.signatures[*].decline_reason", partner_id: signature_request.signature_request_id}
      nothing: [404]
    states:
      - {state: completed, if: {signature_request.is_complete: ["true"]}}
      - {state: declined, if: {signature_request.is_declined: ["true"]}}
      - {state: expired, if: {"signature_request.signatures[*].status_code": [expired]}}
      - {state: voided, if: {"signature_request.signatures[*].status_code": [canceled]}}
      - {state: bounced, if: {"signature_request.signatures[*].error": ["*"]}}
      - {state: partially_signed, if: {"signature_request.signatures[*].status_code": [signed]}}
      - {state: viewed, if: {"signature_request.signatures[*].last_viewed_at": ["*"]}}
      - {state: sent, if: {signature_request.title: ["*"]}}
    remind: {path: "/v3/signature_request/remind/{partner_id}", body: {email_address: "{email}"}}
    void: {path: "/v3/signature_request/cancel/{partner_id}", nothing: [404]}
    fetch: {method: GET, path: "/v3/signature_request/files/{partner_id}", not_yet: [409]}
"""


class TestEsign(ConnectorContract):
    connector = Esign
    config: ClassVar[dict[str, Any]] = {
        "url": "http://127.0.0.1:9/v3",
        "auth": {"api_key": "sign-api-key", "key_as": "basic_user"},
        "send_template": {
            "path": "/signature_request/send_with_template",
            "as": "multipart",
            "body": {
                "template_ids": ["{template}"],
                "title": "{text}",
                "signers": {"each": "signers", "as": {"email_address": "{email}", "name": "{name}"}},
            },
            "answer": {"partner_id": "signature_request.signature_request_id"},
        },
        "look": {"method": "GET", "path": "/signature_request/{partner_id}"},
        "states": [{"state": "sent", "if": {"signature_request.title": ["*"]}}],
        "void": {"path": "/signature_request/cancel/{partner_id}"},
        "fetch": {"method": "GET", "path": "/signature_request/files/{partner_id}"},
    }

    async def far_side(self, config: dict[str, Any]) -> SigningService:
        """Its port is known once it is open."""
        self.service = SigningService(pace=0, port=free_port())
        config["url"] = f"{self.service.base}/v3"
        return self.service

    def outgoing(self) -> Message:
        order = EnvelopeOrder(id="sig-1", action="send", template="t-1", signers=[JANE])
        return Message(order.model_copy(update={"text": self.sample.decode("latin-1")}), "envelope_order")

    def arrived(self, connection: Esign, tmp_path: Path) -> bytes | None:
        [envelope] = self.service.table.by_id.values()
        return envelope.title.encode("latin-1")

    def without_partner(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {**settings, "url": f"http://127.0.0.1:{free_port()}/v3"}


# Settings that cannot be.

LEAST = {
    "kind": "esign",
    "url": "https://signer.example",
    "send": {"path": "/send", "answer": {"partner_id": "id"}},
    "look": {"method": "GET", "path": "/{partner_id}"},
    "states": [{"state": "completed", "if": {"done": ["true"]}}],
    "void": {"path": "/{partner_id}/void"},
    "fetch": {"method": "GET", "path": "/{partner_id}/pdf"},
}


def test_the_least_that_a_profile_says() -> None:
    assert EsignConfig.model_validate(LEAST).send is not None


@pytest.mark.parametrize(
    ("more", "where", "says"),
    [
        ({"send": {"path": "/{acount}", "answer": {"partner_id": "id"}}}, "send", "acount"),
        ({"send": {"path": "/send"}}, "send", "partner_id"),
        ({"send": None}, "send", "send_template"),
        ({"upload": {"path": "/u"}}, "upload", "uploaded"),
        ({"find": {"path": "/f", "answer": {"reference": "r"}}}, "find", "partner_id"),
        ({"start": {"path": "/s"}}, "start", "start_if"),
        ({"states": [{"state": "done", "if": {"x": ["1"]}}]}, "states", "completed"),
        ({"states": [{"state": "sent", "if": {"a[b]": ["1"]}}]}, "states", "no path"),
        ({"states": []}, "states", "1 item"),
        ({"discover": {"url": "http://x.example", "hosts": ["x"], "call": {"answer": {"url": "u"}}}}, "", "https"),
        ({"discover": {"url": "https://x.example", "hosts": ["x"], "call": {}}}, "discover", "url"),
        ({"discover": {"url": "https://x.example", "hosts": [], "call": {"answer": {"url": "u"}}}}, "discover", "1 item"),
    ],
)
def test_mistakes_of_a_profile_are_told_with_their_place(more: dict[str, object], where: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EsignConfig.model_validate({**LEAST, **more})
    [mistake, *_] = caught.value.errors()
    assert says in str(mistake)
    assert not where or mistake["loc"][0] == where

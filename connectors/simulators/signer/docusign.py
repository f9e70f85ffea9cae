"""Façade: eSignature REST v2.1.  Tokens for a signed assertion, the address of the account by userinfo, Connect webhooks.

    service.facade(DocuSign).public_key = "-----BEGIN PUBLIC KEY-----..."    checks assertions with it; None: any assertion
    service.facade(DocuSign).hook_keys = ["old", "new"]                      each webhook carries a signature by each

An envelope is looked at no more often than `looks_allowed`; 0: as often as anybody likes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from joserfc import jwk, jwt
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.hooks import Hook
from connectors.simulators.signer.envelopes import Envelope, Happened, Person
from connectors.simulators.signer.facade import SigningFacade
from connectors.simulators.signer.pdf import page

if TYPE_CHECKING:
    from connectors.simulators.signer.server import SigningService

BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EVENTS: dict[str, str] = {
    "sent": "envelope-sent",
    "viewed": "envelope-delivered",
    "signed": "recipient-completed",
    "completed": "envelope-completed",
    "declined": "envelope-declined",
    "voided": "envelope-voided",
    "expired": "envelope-voided",
    "bounced": "recipient-autoresponded",
}
PERSON = {"sent": "sent", "viewed": "delivered", "signed": "completed", "declined": "declined", "bounced": "autoresponded"}


class DocuSign(SigningFacade):
    """`/oauth/userinfo`, `/restapi/v2.1/accounts/{account}/envelopes`."""

    name: ClassVar[str] = "docusign"

    def __init__(self, house: SigningService) -> None:
        super().__init__(house)
        self.account = "acc-1"
        self.audience = "account.signer.example"
        self.public_key: str | None = None
        self.hook_keys = ["connect-key-1", "connect-key-2"]
        self.base_uri = ""
        """Where userinfo says that the account lives; this server when empty."""
        self.assertions = 0

    def routes(self) -> list[BaseRoute]:
        envelopes = "/restapi/v2.1/accounts/{account}/envelopes"
        one = envelopes + "/{id}"
        return [
            self.route("GET", "/oauth/userinfo", "userinfo", self._userinfo),
            self.route("POST", envelopes, "send", self._make),
            self.route("GET", envelopes, "find", self._find),
            self.route("GET", one, "look", self._look),
            self.route("PUT", one, "change", self._change),
            self.route("GET", one + "/documents/{document}", "fetch", self._fetch),
        ]

    # Who asks.

    def allows(self, request: Request, form: dict[str, str]) -> bool:
        if form.get("grant_type") != BEARER:
            return False
        if self.public_key is None:
            return bool(form.get("assertion"))
        try:
            key = jwk.RSAKey.import_key(self.public_key)
            said = jwt.decode(form.get("assertion", ""), key, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return False
        self.assertions += 1
        has_scope = {"signature", "impersonation"} <= set(str(said.get("scope", "")).split())
        return bool(said.get("aud") == self.audience and has_scope and said.get("sub") and said.get("exp", 0) > time.time())

    async def _userinfo(self, request: Request, body: bytes) -> Response:
        other = {"account_id": "acc-0", "is_default": True, "account_name": "Another", "base_uri": "https://elsewhere.example"}
        own = {"account_id": self.account, "is_default": False, "account_name": "Clinic"}
        own["base_uri"] = self.base_uri or self.house.base
        return JSONResponse({"sub": "user-1", "accounts": [other, own]})

    # Envelopes.

    async def _make(self, request: Request, body: bytes) -> Response:
        try:
            said = json.loads(body)
            people, files = _people(said), _files(said)
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error("INVALID_REQUEST_BODY", "The request body is missing or improperly formatted.")
        if request.path_params["account"] != self.account:
            return _error("USER_AUTHENTICATION_FAILED", "This account is not yours.", 401)
        if not said.get("emailSubject") and not said.get("templateId"):
            return _error("ENVELOPE_IS_INCOMPLETE", "The envelope is not complete: no email subject.")
        if not people or any(not person.name or "@" not in person.email for person in people):
            return _error("INVALID_EMAIL_ADDRESS_FOR_RECIPIENT", "The email address for the recipient is invalid.")
        if not files and not said.get("templateId"):
            return _error("ENVELOPE_HAS_NO_DOCUMENTS", "The envelope has no documents.")
        draft = said.get("status") != "sent"
        table, template = self.house.table, str(said.get("templateId", ""))
        envelope = table.made(
            self.name, said.get("transactionId", ""), said.get("emailSubject", ""), people, files, template, draft=draft
        )
        self.house.begin(envelope)
        told = {"envelopeId": envelope.id, "uri": f"/envelopes/{envelope.id}", "status": said.get("status", "created")}
        return JSONResponse(told | {"statusDateTime": _now(self.house.clock())}, status_code=201)

    async def _find(self, request: Request, body: bytes) -> Response:
        wanted = request.query_params.get("transaction_ids", "").split(",")
        found = [self._shown(e) for reference in wanted for e in self.house.table.under(reference) if e.facade == self.name]
        return JSONResponse({"resultSetSize": str(len(found)), "totalSetSize": str(len(found)), "envelopes": found})

    async def _look(self, request: Request, body: bytes) -> Response:
        envelope = self.known(request.path_params["id"])
        if envelope is None:
            return _error("ENVELOPE_DOES_NOT_EXIST", "The envelope ID you have entered does not exist.", 404)
        envelope.looks += 1
        shown = self._shown(envelope)
        if "recipients" in request.query_params.get("include", ""):
            signers = [
                {
                    "recipientId": str(number),
                    "name": person.name,
                    "email": person.email,
                    "routingOrder": str(person.order),
                    "status": PERSON[person.state],
                    "declinedReason": envelope.reason if person.state == "declined" else None,
                }
                for number, person in enumerate(envelope.people, 1)
            ]
            shown["recipients"] = {"signers": signers, "recipientCount": str(len(signers))}
        return JSONResponse(shown)

    def _shown(self, envelope: Envelope) -> dict[str, Any]:
        end = "voided" if envelope.end == "expired" else envelope.end
        open_state = (
            "created"
            if envelope.draft
            else "delivered"
            if all(p.state in ("viewed", "signed") for p in envelope.people)
            else "sent"
        )
        reason = "Envelope has expired." if envelope.end == "expired" else envelope.reason
        return {
            "envelopeId": envelope.id,
            "status": end or open_state,
            "emailSubject": envelope.title,
            "transactionId": envelope.reference,
            "voidedReason": reason if end == "voided" else None,
        }

    async def _change(self, request: Request, body: bytes) -> Response:
        envelope = self.known(request.path_params["id"])
        if envelope is None:
            return _error("ENVELOPE_DOES_NOT_EXIST", "The envelope ID you have entered does not exist.", 404)
        if request.query_params.get("resend_envelope") == "true":
            envelope.reminders += 1
            self.house.table.note("remind", envelope)
            return JSONResponse({"envelopeId": envelope.id})
        said = json.loads(body or b"{}")
        if said.get("status") != "voided" or not said.get("voidedReason"):
            return _error("INVALID_REQUEST_PARAMETER", "The request contained at least one invalid parameter.")
        if envelope.end == "voided":
            return JSONResponse({"envelopeId": envelope.id})
        if not self.house.table.void(envelope, said["voidedReason"]):
            return _error(
                "ENVELOPE_CANNOT_VOID_INVALID_STATE", "Only envelopes in the 'Sent' or 'Delivered' states may be voided."
            )
        self.house.tell(envelope, "voided")
        return JSONResponse({"envelopeId": envelope.id})

    async def _fetch(self, request: Request, body: bytes) -> Response:
        envelope = self.known(request.path_params["id"])
        if envelope is None:
            return _error("ENVELOPE_DOES_NOT_EXIST", "The envelope ID you have entered does not exist.", 404)
        envelope.downloads += 1
        if request.path_params["document"] == "certificate":
            content = page(["Certificate of completion", envelope.id, *self.lines(envelope)])
        else:
            content = self.signed(envelope)
        return Response(content, media_type="application/pdf")

    # Webhooks.

    def hook(self, envelope: Envelope, what: Happened) -> Hook | None:
        if what not in EVENTS:
            return None
        said = {
            "event": EVENTS[what],
            "apiVersion": "v2.1",
            "uri": f"/restapi/v2.1/accounts/{self.account}/envelopes/{envelope.id}",
            "retryCount": 0,
            "configurationId": 1,
            "generatedDateTime": f"{_now(self.house.clock())}#{len(envelope.happened)}{what}",
            "data": {"accountId": self.account, "userId": "user-1", "envelopeId": envelope.id},
        }
        body = json.dumps(said).encode()
        headers = {"Content-Type": "application/json"}
        for number, key in enumerate(self.hook_keys, 1):
            digest = hmac.new(key.encode(), body, hashlib.sha256).digest()
            headers[f"X-DocuSign-Signature-{number}"] = base64.b64encode(digest).decode()
        return Hook(body, headers)


def _people(said: dict[str, Any]) -> list[Person]:
    if said.get("templateId"):
        return [Person(r["name"], r["email"], r.get("roleName", "")) for r in said.get("templateRoles", [])]
    signers = said["recipients"]["signers"]
    return [Person(s["name"], s["email"], s.get("roleName", ""), int(s.get("routingOrder", 1))) for s in signers]


def _files(said: dict[str, Any]) -> list[tuple[str, bytes]]:
    files = []
    for document in said.get("documents", []):
        try:
            content = base64.b64decode(document["documentBase64"], validate=True)
        except binascii.Error:
            raise ValueError("a document is no Base64") from None
        if not content.startswith(b"%PDF-") or not document.get("documentId"):
            raise ValueError("a document is no PDF, or has no number")
        files.append((str(document.get("name", "")), content))
    return files


def _now(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _error(code: str, message: str, status: int = 400) -> Response:
    return JSONResponse({"errorCode": code, "message": message}, status_code=status)

"""Façade: API v3.  Forms with files, an API key as the user of basic authentication, callbacks that sign time and type only.

sign = service.facade(DropboxSign)
sign.not_ready = 2        so many downloads of each finished document are answered 409
sign.lies = True          callbacks say that everything is signed: only a look tells the truth
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from connectors.simulators.facade import basic
from connectors.simulators.hooks import Hook
from connectors.simulators.signer.envelopes import Envelope, Happened, Person
from connectors.simulators.signer.facade import SigningFacade
from hub.net.multipart import MultipartUnusable, Part, read_parts

if TYPE_CHECKING:
    from connectors.simulators.signer.server import SigningService

EVENTS: dict[str, str] = {
    "sent": "signature_request_sent",
    "viewed": "signature_request_viewed",
    "signed": "signature_request_signed",
    "completed": "signature_request_all_signed",
    "downloadable": "signature_request_downloadable",
    "declined": "signature_request_declined",
    "voided": "signature_request_canceled",
    "expired": "signature_request_expired",
    "bounced": "signature_request_email_bounce",
}
BOUNDARY = "----callback"
PAGE_SIZE = 20


class DropboxSign(SigningFacade):
    """`/v3/signature_request/...`."""

    name: ClassVar[str] = "dropbox_sign"

    def __init__(self, house: SigningService) -> None:
        super().__init__(house)
        self.api_key = "sign-api-key"
        self.not_ready = 1
        self.lies = False
        self.test_modes: list[str] = []
        """What `test_mode` was in each request."""

    def authorized(self, request: Request, body: bytes) -> bool:
        return basic(request) == f"{self.api_key}:"

    def unauthorized(self) -> Response:
        return _error("unauthorized", "Unauthorized api key", 401)

    def routes(self) -> list[BaseRoute]:
        base = "/v3/signature_request"
        return [
            self.route("POST", f"{base}/send", "send", self._make),
            self.route("POST", f"{base}/send_with_template", "send", self._make),
            self.route("GET", f"{base}/list", "find", self._list),
            self.route("GET", base + "/files/{id}", "fetch", self._fetch),
            self.route("POST", base + "/remind/{id}", "change", self._remind),
            self.route("POST", base + "/cancel/{id}", "change", self._cancel),
            self.route("GET", base + "/{id}", "look", self._look),
        ]

    async def _make(self, request: Request, body: bytes) -> Response:
        try:
            parts = read_parts(body, request.headers.get("content-type", ""))
        except MultipartUnusable:
            return _error("bad_request", "The form cannot be read")
        form = {part.name: part.body.decode("utf-8", "replace") for part in parts if not _is_file(part)}
        files = [(part.name, part.body) for part in parts if _is_file(part) and part.name.startswith("files[")]
        template = form.get("template_ids[0]", "")
        people = list(_people(form))
        if not people or any("@" not in person.email for person in people):
            return _error("bad_request", "signers must have valid email addresses")
        if not template and not files:
            return _error("bad_request", "files is required")
        if any(not content.startswith(b"%PDF-") for _, content in files):
            return _error("invalid_file", "A file is of no type that can be signed")
        self.test_modes.append(form.get("test_mode", ""))
        reference, title = form.get("metadata[reference]", ""), form.get("title", "")
        envelope = self.house.table.made(self.name, reference, title, people, files, template)
        envelope.not_ready = self.not_ready
        self.house.begin(envelope)
        return JSONResponse({"signature_request": self.shown(envelope)})

    async def _list(self, request: Request, body: bytes) -> Response:
        """The newest first; `query=metadata:REFERENCE` finds that of a reference, and anything else finds all."""
        reference = request.query_params.get("query", "").removeprefix("metadata:")
        found = [e for e in self.house.table.by_id.values() if e.facade == self.name][::-1]
        found = [e for e in found if e.reference == reference] or found
        number, size = int(request.query_params.get("page", "1")), int(request.query_params.get("page_size", PAGE_SIZE))
        pages = max(1, -(-len(found) // size))
        shown = [self.shown(e) for e in found[(number - 1) * size : number * size]]
        info = {"page": number, "num_pages": pages, "num_results": len(found), "page_size": size}
        return JSONResponse({"list_info": info, "signature_requests": shown})

    async def _look(self, request: Request, body: bytes) -> Response:
        envelope = self.known(request.path_params["id"])
        if envelope is None:
            return _error("not_found", "Not found", 404)
        envelope.looks += 1
        return JSONResponse({"signature_request": self.shown(envelope)})

    async def _remind(self, request: Request, body: bytes) -> Response:
        envelope = self.known(request.path_params["id"])
        if envelope is None or envelope.end:
            return _error("bad_request", "It cannot be reminded of")
        if json.loads(body).get("email_address") not in [person.email for person in envelope.people]:
            return _error("bad_request", "There is no such signer")
        envelope.reminders += 1
        self.house.table.note("remind", envelope)
        return JSONResponse({"signature_request": self.shown(envelope)})

    async def _cancel(self, request: Request, body: bytes) -> Response:
        envelope = self.known(request.path_params["id"])
        if envelope is None:
            return _error("not_found", "Not found", 404)
        if envelope.end == "voided":
            return Response(status_code=200)
        if not self.house.table.void(envelope, ""):
            return _error("bad_request", "It is over")
        self.house.tell(envelope, "voided")
        return Response(status_code=200)

    async def _fetch(self, request: Request, body: bytes) -> Response:
        envelope = self.known(request.path_params["id"])
        if envelope is None:
            return _error("not_found", "Not found", 404)
        if envelope.end != "completed" or envelope.not_ready > 0:
            envelope.not_ready -= 1
            return _error("conflict", "Files are still being processed", 409)
        envelope.downloads += 1
        return Response(self.signed(envelope), media_type="application/pdf")

    def shown(self, envelope: Envelope) -> dict[str, Any]:
        words = {"sent": "awaiting_signature", "viewed": "awaiting_signature", "bounced": "awaiting_signature"}
        seconds = int(self.house.clock())
        signatures = []
        for number, person in enumerate(envelope.people):
            code = "expired" if envelope.end == "expired" else words.get(person.state, person.state)
            signatures.append(
                {
                    "signature_id": f"{envelope.id}-{number}",
                    "signer_email_address": person.email,
                    "signer_name": person.name,
                    "order": person.order,
                    "status_code": "canceled" if envelope.end == "voided" else code,
                    "last_viewed_at": seconds if person.state in ("viewed", "signed", "declined") else None,
                    "signed_at": seconds if person.state == "signed" else None,
                    "decline_reason": envelope.reason if person.state == "declined" else None,
                    "error": "email bounced" if person.state == "bounced" else None,
                }
            )
        return {
            "signature_request_id": envelope.id,
            "title": envelope.title,
            "metadata": {"reference": envelope.reference},
            "test_mode": True,
            "is_complete": envelope.end == "completed",
            "is_declined": envelope.end == "declined",
            "has_error": False,
            "signatures": signatures,
        }

    # Callbacks.

    def hook(self, envelope: Envelope, what: Happened) -> Hook | None:
        shown = self.shown(envelope)
        if self.lies:
            shown |= {"is_complete": True, "is_declined": False}
        return self.callback(EVENTS[what], str(int(self.house.clock())), shown)

    def callback(self, type: str, time: str, shown: dict[str, Any], *, key: str | None = None) -> Hook:
        """A callback; with another `key` it is a forged one."""
        digest = hmac.new((key or self.api_key).encode(), f"{time}{type}".encode(), hashlib.sha256).hexdigest()
        event = {"event_time": time, "event_type": type, "event_hash": digest, "event_metadata": {}}
        text = json.dumps({"event": event, "signature_request": shown})
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="json"\r\n\r\n'
        body = f"{head}{text}\r\n--{BOUNDARY}--\r\n".encode()
        kind = "multipart/form-data; boundary="
        return Hook(body, {"Content-Type": f"{kind}{BOUNDARY}"}, forged={"Content-Type": f"{kind}{BOUNDARY}x"})


def _is_file(part: Part) -> bool:
    return "filename=" in part.headers.get("content-disposition", "")


def _people(form: dict[str, str]) -> list[Person]:
    numbers = sorted({int(found[1]) for name in form if (found := re.match(r"signers\[(\d+)\]\[", name))})
    return [
        Person(
            form.get(f"signers[{number}][name]", ""),
            form.get(f"signers[{number}][email_address]", ""),
            form.get(f"signers[{number}][role]", ""),
            int(form.get(f"signers[{number}][order]") or 0) + 1,
        )
        for number in numbers
    ]


def _error(name: str, text: str, status: int = 400) -> Response:
    return JSONResponse({"error": {"error_name": name, "error_msg": text}}, status_code=status)

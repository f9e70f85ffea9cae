"""Façades: X12 in envelopes of CAQH CORE connectivity rule vC2.2.0, as SOAP 1.2 and as multipart/form-data; also in batches.

Written without the connector's code.  A batch is taken with BatchSubmit, its acknowledgement is given once, its results are
offered until they are acknowledged.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import xml.etree.ElementTree as ET
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, ClassVar, Literal

from starlette.requests import Request
from starlette.responses import Response

from connectors.simulators.clearinghouse import batch
from connectors.simulators.clearinghouse.facade import Facade
from connectors.simulators.clearinghouse.faults import Fault
from connectors.simulators.clearinghouse.inquiry import Inquiry, read_270
from connectors.simulators.clearinghouse.members import Verdict
from connectors.simulators.clearinghouse.x12 import PAGE

if TYPE_CHECKING:
    from connectors.simulators.clearinghouse.server import Clearinghouse

SOAP = "http://www.w3.org/2003/05/soap-envelope"
CORE = "http://www.caqh.org/SOAP/WSDL/CORERule2.2.0.xsd"
REQUIRED = ("PayloadType", "ProcessingMode", "PayloadID", "TimeStamp", "SenderID", "ReceiverID", "CORERuleVersion")
NOTHING = {"Ack": "X12_005010_Response_NoBatchAckFile", "Results": "X12_005010_Response_NoBatchResultsFile"}
Style = Literal["cdata", "escaped", "base64", "mtom"]


@dataclass(slots=True)
class Asked:
    """A request that was understood, as far as it could be."""

    element: str = ""
    """COREEnvelopeRealTimeRequest ...; of a form what its PayloadType and ProcessingMode amount to."""
    fields: dict[str, str] = field(default_factory=dict)
    payload: bytes = b""


class Core(Facade):
    """What both forms have in common."""

    def __init__(self, house: Clearinghouse) -> None:
        super().__init__(house)
        self.requests: list[Asked] = []
        """Everything that came, in order."""
        self.damaged = False
        """Payloads of batches get a checksum that is not theirs."""
        self.acknowledgements: deque[str] = deque()
        self.results: deque[str] = deque()
        self._waiting: list[batch.Batch] = []
        self._numbers = itertools.count(1)

    @abstractmethod
    def understand(self, body: bytes) -> Asked:
        """What a request says."""

    @abstractmethod
    def envelope(
        self, element: str, payload_type: str, payload: bytes = b"", *, code: str = "Success", status: int = 200
    ) -> Response:
        """An answer in this form."""

    def read(self, body: bytes) -> Inquiry:
        return read_270(self.understand(body).payload.decode("utf-8", "replace"))

    def authorized(self, request: Request, body: bytes) -> bool:
        asked = self.understand(body)
        return (asked.fields.get("UserName"), asked.fields.get("Password")) == self.house.credentials

    def unauthorized(self) -> Response:
        return self.envelope("COREEnvelopeRealTimeResponse", "CoreEnvelopeError", code="UnAuthorized")

    def refuse(self, fault: Fault) -> Response:
        if fault.kind == "core":
            return self.envelope("COREEnvelopeRealTimeResponse", "CoreEnvelopeError", code=fault.code, status=fault.status)
        return self.unauthorized()

    def write(self, verdict: Verdict, copies: int = 1) -> Response:
        if verdict.kind == "html":
            return Response(PAGE, media_type="text/html")
        kinds = {"271": "X12_271_Response_005010X279A1", "999": "X12_999_Response_005010X231A1"}
        payload = (self.house.table.write(verdict) * copies).encode()
        kind = kinds.get(verdict.kind, "X12_TA1_Response_00501X231A1")
        return self.envelope("COREEnvelopeRealTimeResponse", kind, payload)

    async def asked(self, request: Request) -> Response:
        asked = self.understand(await request.body())
        self.requests.append(asked)
        wrong = self._wrong(asked)
        if wrong and not self.house.behaviour.down:
            self.house.requests += 1
            return self.envelope("COREEnvelopeRealTimeResponse", "CoreEnvelopeError", code=wrong)
        if asked.fields.get("ProcessingMode") != "Batch":
            return await super().asked(request)
        return await self._batch(request, asked)

    def _wrong(self, asked: Asked) -> str:
        """The ErrorCode of an envelope that is not as the rule has it."""
        missing = [name for name in REQUIRED if not asked.fields.get(name)]
        if missing:
            return f"{missing[0]}Required"
        if asked.fields["CORERuleVersion"] != "2.2.0":
            return "VersionMismatch"
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", asked.fields["TimeStamp"]):
            return "TimeStampIllegal"
        checksum = asked.fields.get("CheckSum", "")
        if checksum and checksum != hashlib.sha1(asked.payload).hexdigest():  # noqa: S324 - as the rule has it
            return "ChecksumMismatched"
        if checksum and asked.fields.get("PayloadLength") != str(len(asked.payload)):
            return "PayloadLengthIllegal"
        return ""

    async def _batch(self, request: Request, asked: Asked) -> Response:
        self.house.requests += 1
        refused = await self.as_it_behaves(request, await request.body())
        if refused is not None:
            return refused
        kind = asked.element
        if kind == "COREEnvelopeBatchSubmission":
            taken = batch.take(self.house, asked.payload.decode("utf-8", "replace"), self.name)
            if taken.acknowledgement:
                self.acknowledgements.append(taken.acknowledgement)
            self._waiting.append(taken)
            return self.envelope("COREEnvelopeBatchSubmissionResponse", "X12_BatchReceiptConfirmation")
        if kind == "COREEnvelopeBatchResultsAckSubmission":
            if self.results:
                self.results.popleft()
            return self.envelope("COREEnvelopeBatchResultsAckSubmissionResponse", "X12_Response_ConfirmReceiptReceived")
        return self._offer(kind, asked.fields["PayloadType"])

    def _offer(self, kind: str, payload_type: str) -> Response:
        answer = kind.removesuffix("Request") + "Response"
        if kind == "COREEnvelopeBatchSubmissionAckRetrievalRequest":
            wanted = "TA1*" if "TA1" in payload_type else "ST*999"
            found = next((text for text in self.acknowledgements if wanted in text), None)
            if found is None:
                return self.envelope(answer, NOTHING["Ack"])
            self.acknowledgements.remove(found)
            return self.envelope(answer, payload_type.replace("RetrievalRequest", "Response"), found.encode())
        for taken in [one for one in self._waiting if one.ready_at <= self.house.clock()]:
            self._waiting.remove(taken)
            self.results += taken.answers
        if not self.results:
            return self.envelope(answer, NOTHING["Results"])
        return self.envelope(answer, "X12_005010_Response_Batch_Results_271", self.results[0].encode())

    def _fields(self, payload_type: str, payload: bytes, code: str, *, batched: bool) -> list[tuple[str, str]]:
        digest = hashlib.sha1(payload + (b"?" if self.damaged else b"")).hexdigest()  # noqa: S324 - as the rule has it
        return [
            ("PayloadType", payload_type),
            ("ProcessingMode", "Batch" if batched else "RealTime"),
            ("PayloadID", f"00000000-0000-4000-8000-{next(self._numbers):012d}"),
            *([("PayloadLength", str(len(payload)))] if batched else []),
            ("TimeStamp", "2026-11-25T12:00:00Z"),
            ("SenderID", "CLEARINGHOUSE"),
            ("ReceiverID", "CLINIC"),
            ("CORERuleVersion", "2.2.0"),
            *([("CheckSum", digest)] if batched and payload else []),
            ("ErrorCode", code),
            ("ErrorMessage", "None" if code == "Success" else f"The partner's own words about {code}"),
        ]


class CoreSoap(Core):
    """`POST /core/soap`."""

    name: ClassVar[str] = "core soap"
    path: ClassVar[str] = "/core/soap"
    style: Style = "cdata"
    """How payloads stand in answers; those of batches are attachments."""

    def understand(self, body: bytes) -> Asked:
        attached = b""
        if body.startswith(b"--"):
            root, attached = _parts(body)[:2]
            body = root.partition(b"\r\n\r\n")[2]
            attached = attached.partition(b"\r\n\r\n")[2]
        try:
            tree = ET.fromstring(body)  # noqa: S314 - a simulator, and what comes is our own
        except ET.ParseError:
            return Asked()
        names = {element.tag.rpartition("}")[2]: element for element in tree.iter()}
        asked = Asked(fields={name: element.text or "" for name, element in names.items() if not len(element)})
        asked.fields["UserName"] = asked.fields.get("Username", "")
        asked.element = next((name for name in names if name.startswith("COREEnvelope")), "")
        payload = names.get("Payload")
        if payload is not None:
            text = (payload.text or "").strip()
            asked.payload = attached if len(payload) else _plain(text)
        return asked

    def refuse(self, fault: Fault) -> Response:
        if fault.kind != "fault":
            return super().refuse(fault)
        text = (
            f'<s:Envelope xmlns:s="{SOAP}"><s:Body><s:Fault><s:Code><s:Value>s:{fault.code}</s:Value></s:Code>'
            '<s:Reason><s:Text xml:lang="en">something is wrong</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>'
        )
        return Response(text, fault.status, media_type="application/soap+xml")

    def envelope(
        self, element: str, payload_type: str, payload: bytes = b"", *, code: str = "Success", status: int = 200
    ) -> Response:
        batched = "Batch" in element
        fields = self._fields(payload_type, payload, code, batched=batched)
        mtom = bool(payload) and (batched or self.style == "mtom")
        inside = (
            '<x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:p%40sim"/>' if mtom else self._inside(payload)
        )
        lines = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields[:-2])
        errors = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields[-2:])
        text = (
            f'<s:Envelope xmlns:s="{SOAP}"><s:Body><c:{element} xmlns:c="{CORE}">{lines}<Payload>{inside}</Payload>{errors}'
            f"</c:{element}></s:Body></s:Envelope>"
        ).encode()
        if not mtom:
            return Response(text, status, media_type="application/soap+xml")
        head = b"--sim\r\nContent-Type: application/xop+xml\r\nContent-ID: <root@sim>\r\n\r\n"
        part = b"\r\n--sim\r\nContent-Type: application/octet-stream\r\nContent-ID: <p@sim>\r\n\r\n"
        kind = 'multipart/related; type="application/xop+xml"; boundary=sim'
        return Response(head + text + part + payload + b"\r\n--sim--\r\n", status, headers={"content-type": kind})

    def _inside(self, payload: bytes) -> str:
        match self.style:
            case "base64":
                return base64.b64encode(payload).decode()
            case "escaped":
                return escape(payload.decode())
            case _:
                return f"<![CDATA[{payload.decode()}]]>" if payload else ""


class CoreForm(Core):
    """`POST /core/mime`."""

    name: ClassVar[str] = "core mime"
    path: ClassVar[str] = "/core/mime"

    def understand(self, body: bytes) -> Asked:
        asked = Asked()
        for part in _parts(body):
            head, _, value = part.partition(b"\r\n\r\n")
            found = re.search(rb'name="(\w+)"', head)
            if found and found[1] == b"Payload":
                asked.payload = value
            elif found:
                asked.fields[found[1].decode()] = value.decode("utf-8", "replace")
        asked.element = _element(asked.fields.get("PayloadType", ""), asked.fields.get("ProcessingMode", ""))
        return asked

    def envelope(
        self, element: str, payload_type: str, payload: bytes = b"", *, code: str = "Success", status: int = 200
    ) -> Response:
        fields = [(n, v.encode()) for n, v in self._fields(payload_type, payload, code, batched="Batch" in element)]
        pairs = [*fields, *([("Payload", payload)] if payload else [])]
        parts = [f'--sim\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n'.encode() + v + b"\r\n" for n, v in pairs]
        kind = "multipart/form-data; boundary=sim"
        return Response(b"".join(parts) + b"--sim--\r\n", status, headers={"content-type": kind})


def _element(payload_type: str, mode: str) -> str:
    """What a form asks for, which has no name for it: by its PayloadType."""
    if mode != "Batch":
        return "COREEnvelopeRealTimeRequest"
    if "RetrievalRequest" in payload_type:
        return "COREEnvelopeBatchSubmissionAckRetrievalRequest"
    if "Request_Batch_Results" in payload_type:
        return "COREEnvelopeBatchResultsRetrievalRequest"
    return "COREEnvelopeBatchResultsAckSubmission" if "SubmissionRequest" in payload_type else "COREEnvelopeBatchSubmission"


def _parts(body: bytes) -> list[bytes]:
    boundary = body.partition(b"\r\n")[0]
    return [piece.removeprefix(b"\r\n") for piece in (b"\r\n" + body).split(b"\r\n" + boundary)[1:-1]]


def _plain(text: str) -> bytes:
    return base64.b64decode(text) if text.startswith("SVNB") else text.encode()

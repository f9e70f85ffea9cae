"""An envelope as SOAP 1.2: the payload within it, or as an attachment (MTOM, XOP), as batches want it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from html import escape
from typing import Literal
from urllib.parse import unquote

from connectors.caqh_core.envelope import Envelope, Exchange, NotCore, fields, from_fields
from hub.errors import MessageUnusable
from hub.net.multipart import MultipartUnusable, Part, media_type, read_parts, write_parts
from hub.net.xml import Element, XmlUnusable, local_name, parse_xml

Encoding = Literal["cdata", "escaped", "base64"]
SOAP = "http://www.w3.org/2003/05/soap-envelope"
CORE = "http://www.caqh.org/SOAP/WSDL/CORERule2.2.0.xsd"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
PLAIN = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"
XOP = "http://www.w3.org/2004/08/xop/include"
ATTACHED = "payload@clinic-hub"
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters XML has no way to carry."""
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")


class SoapFault(Exception):
    """The partner's SOAP layer refuses; `code` and `subcodes` are local names, the reason may hold anything."""

    def __init__(self, codes: list[str], reason: str) -> None:
        super().__init__("SOAP fault")
        self.codes, self.reason = codes, reason


@dataclass(frozen=True, slots=True)
class Login:
    """User and password for WS-Security (UsernameToken); forms carry them as fields."""

    user: str
    password: str


def write(exchange: Exchange, envelope: Envelope, login: Login | None, encoding: Encoding) -> tuple[bytes, str]:
    """The body of a request and its Content-Type.

    Raises MessageUnusable when the payload has characters that XML cannot carry.
    """
    attached = exchange.batch and bool(envelope.payload)
    inside = f'<xop:Include xmlns:xop="{XOP}" href="cid:{ATTACHED}"/>' if attached else _payload(envelope.payload, encoding)
    lines = [
        f"<{name}>{escape(value, quote=False)}</{name}>" for name, value in fields(exchange, envelope, with_length=attached)
    ]
    lines += [f"<Payload>{inside}</Payload>"] if inside else []
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{SOAP}"><soap:Header>{_security(login)}'
        f'</soap:Header><soap:Body><core:{exchange.element} xmlns:core="{CORE}">\n' + "\n".join(lines) + "\n"
        f"</core:{exchange.element}></soap:Body></soap:Envelope>"
    ).encode()
    if not attached:
        return text, f'application/soap+xml; charset=utf-8; action="{exchange.action}"'
    root = {
        "content-type": f'application/xop+xml; charset=utf-8; type="application/soap+xml"; action="{exchange.action}"',
        "content-transfer-encoding": "binary",
        "content-id": "<envelope@clinic-hub>",
    }
    headers = {
        "content-type": "application/octet-stream",
        "content-transfer-encoding": "binary",
        "content-id": f"<{ATTACHED}>",
    }
    body, boundary = write_parts([Part(text, root), Part(envelope.payload, headers)])
    return body, (
        'multipart/related; type="application/xop+xml"; start="<envelope@clinic-hub>"; start-info="application/soap+xml"; '
        f'action="{exchange.action}"; boundary="{boundary}"'
    )


def _security(login: Login | None) -> str:
    if login is None:
        return ""
    user, password = escape(login.user, quote=False), escape(login.password, quote=False)
    return (
        f'<wsse:Security xmlns:wsse="{WSSE}"><wsse:UsernameToken><wsse:Username>{user}</wsse:Username>'
        f'<wsse:Password Type="{PLAIN}">{password}</wsse:Password></wsse:UsernameToken></wsse:Security>'
    )


def _payload(payload: bytes, encoding: Encoding) -> str:
    if encoding == "base64":
        return base64.b64encode(payload).decode()
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        text = payload.decode("latin-1")
    if _NO_XML.search(text):
        raise MessageUnusable(
            "the message holds control characters that XML cannot carry (separators such as 0x1C); set `payload: base64`, if"
            " the partner takes it",
            code="COR-003",
        )
    if encoding == "escaped":
        return escape(text, quote=False)
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def read(body: bytes, content_type: str) -> Envelope:
    """The envelope of an answer, with its payload as bytes.  Raises NotCore or SoapFault."""
    attachments: dict[str, bytes] = {}
    if media_type(content_type).startswith("multipart/"):
        try:
            contents = [(part.content_id, part.content) for part in read_parts(body, content_type)]
        except MultipartUnusable as error:
            raise NotCore(str(error)) from None
        if not contents:
            raise NotCore("it has no parts")
        (_, body), *others = contents
        attachments = dict(others)
    try:
        root = parse_xml(body)
    except XmlUnusable as error:
        raise NotCore(str(error)) from None
    return _from_body(_body(root), attachments)


def _body(root: Element) -> Element:
    """What stands first in the body of the SOAP envelope."""
    found = next((child for child in root if local_name(child) == "Body"), None)
    if local_name(root) != "Envelope" or found is None or not len(found):
        raise NotCore("it is no SOAP envelope with something in its body")
    return found[0]


def _from_body(element: Element, attachments: dict[str, bytes]) -> Envelope:
    if local_name(element) == "Fault":
        raise _fault(element)
    found: dict[str, str] = {}
    payload = b""
    for child in element:
        if local_name(child) == "Payload":
            payload = _read_payload(child, attachments)
        else:
            found[local_name(child)] = child.text or ""
    return from_fields(found, payload)


def _fault(element: Element) -> SoapFault:
    """Of SOAP 1.2 (Code, Subcode, Reason) and of 1.1 (faultcode, faultstring), which some servers fall back to."""
    codes = [
        (part.text or "").rpartition(":")[2].strip() for part in element.iter() if local_name(part) in ("Value", "faultcode")
    ]
    reason = next((part.text or "" for part in element.iter() if local_name(part) in ("Text", "faultstring")), "")
    return SoapFault(codes, reason)


def _read_payload(element: Element, attachments: dict[str, bytes]) -> bytes:
    included = next((part for part in element if local_name(part) == "Include"), None)
    if included is not None:
        wanted = unquote(included.get("href", "").removeprefix("cid:"))
        if wanted not in attachments:
            raise NotCore("its payload is in an attachment that is not there")
        return attachments[wanted]
    return decoded((element.text or "").strip())


def decoded(text: str) -> bytes:
    """A payload that stands in the envelope: as text, or as Base64, in which X12 begins with SVNB."""
    if not text.startswith("ISA") and _BASE64.fullmatch(text):
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except binascii.Error:
            pass  # then it is text
    return text.encode()

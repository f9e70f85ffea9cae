"""A clearinghouse: takes 270s over HTTP and answers 271, 999 or TA1 from a member table; slow, down or wrong as told.

Deliberately written without the hub's own X12 code, so that a mistake there does not cancel itself out here.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hub.console.server import Server

ReplyKind = Literal["271", "999", "TA1", "html"]


@dataclass(slots=True)
class Member:
    """One line of the member table: what the payer knows and says."""

    payer: str
    """NM109 of the payer."""
    member_id: str
    family: str
    given: str
    birth_date: str
    """YYYYMMDD."""
    sex: str = "U"
    plan: str = "PLAN"
    active: bool = True
    co_payment: str | None = None
    deductible_remaining: str | None = None
    group: str | None = None
    benefits: Sequence[str] = ()
    """Further segments, as they shall stand after the plan's own."""
    dependents: Sequence[tuple[str, str, str]] = ()
    """Given name, family name and birth date of those covered with the member."""
    unavailable: int = 0
    """So many inquiries are answered with AAA 42 first."""
    wrong_count: bool = False
    """The 271 has a wrong SE01."""
    reply: ReplyKind = "271"


@dataclass(slots=True)
class Inquiry:
    """What the simulator understood of a 270."""

    control_number: str = ""
    reference: str = ""
    payer: str = ""
    payer_name: str = ""
    provider: str = ""
    trace: list[str] = field(default_factory=list)
    subscriber: list[str] = field(default_factory=list)
    dependent: list[str] = field(default_factory=list)
    birth_dates: list[str] = field(default_factory=list)
    service_date: str = ""
    service_types: list[str] = field(default_factory=list)
    sender: str = ""
    receiver: str = ""

    @property
    def member_id(self) -> str:
        return self.subscriber[9] if len(self.subscriber) > 9 else ""


def read_270(text: str) -> Inquiry:
    found = Inquiry()
    level = ""
    for raw in text.split("~"):
        s = raw.strip().split("*")
        match s[0]:
            case "ISA":
                found.sender, found.receiver, found.control_number = s[6], s[8], s[13]
            case "BHT":
                found.reference = s[3]
            case "HL":
                level = s[3]
            case "NM1" if s[1] == "PR":
                found.payer, found.payer_name = s[9], s[3]
            case "NM1" if s[1] == "1P":
                found.provider = raw.strip()
            case "NM1" if s[1] == "IL":
                found.subscriber = s
            case "NM1" if s[1] == "03":
                found.dependent = s
            case "TRN":
                found.trace = s
            case "DMG":
                found.birth_dates.append(f"{level}:{s[2]}")
            case "DTP" if s[1] == "291":
                found.service_date = s[3]
            case "EQ":
                found.service_types.append(s[1])
    return found


def _isa(inquiry: Inquiry, now: str, number: str) -> str:
    blank = " " * 10
    addresses = f"ZZ*{inquiry.receiver:<15}*ZZ*{inquiry.sender:<15}"
    return f"ISA*00*{blank}*00*{blank}*{addresses}*{now}*^*00501*{number}*0*T*:"


def _interchange(inquiry: Inquiry, code: str, version: str, transaction: list[str], *, wrong_count: bool = False) -> str:
    """An interchange around one transaction set; counts are right unless told otherwise."""
    now = time.strftime("%y%m%d*%H%M")
    number = f"{secrets.randbelow(10**9):09d}"
    count = len(transaction) + 1 + (3 if wrong_count else 0)
    isa = _isa(inquiry, now, number)
    group = f"GS*{code}*{inquiry.receiver.strip()}*{inquiry.sender.strip()}*20{now}*1*X*{version}"
    segments = [isa, group, *transaction, f"SE*{count}*0001", "GE*1*1", f"IEA*1*{number}"]
    return "~".join(segments) + "~"


def _aaa(code: str, follow_up: str = "C") -> str:
    return f"AAA*N**{code}*{follow_up}"


class MemberTable:
    """Decides the answers."""

    def __init__(self, members: Sequence[Member] = ()) -> None:
        self.members = {(m.payer, m.member_id): m for m in members}
        self.asked: list[Inquiry] = []
        self._unavailable: Counter[tuple[str, str]] = Counter()

    def answer(self, text: str) -> str:
        inquiry = read_270(text)
        self.asked.append(inquiry)
        key = (inquiry.payer, inquiry.member_id)
        member = self.members.get(key)
        if member is not None and member.reply != "271":
            return self._other(inquiry, member.reply)
        if member is None:
            return self._rejected(inquiry, _aaa("72"))
        if self._unavailable[key] < member.unavailable:
            self._unavailable[key] += 1
            return self._rejected(inquiry, _aaa("42", "R"))
        return self._about(inquiry, member)

    def _about(self, inquiry: Inquiry, member: Member) -> str:
        if inquiry.dependent:
            given, family = inquiry.dependent[4], inquiry.dependent[3]
            known = next((d for d in member.dependents if (d[0].upper(), d[1].upper()) == (given, family)), None)
            if known is None:
                return self._rejected(inquiry, _aaa("77"))
            if f"23:{known[2]}" not in inquiry.birth_dates:
                return self._rejected(inquiry, _aaa("71"))
        elif inquiry.subscriber[3] and inquiry.subscriber[3] != member.family.upper():
            return self._rejected(inquiry, _aaa("73"))
        elif f"22:{member.birth_date}" not in inquiry.birth_dates:
            return self._rejected(inquiry, _aaa("71"))
        return _interchange(inquiry, "HB", "005010X279A1", self._benefits(inquiry, member), wrong_count=member.wrong_count)

    def _head(self, inquiry: Inquiry) -> list[str]:
        today = time.strftime("%Y%m%d*%H%M")
        return [
            "ST*271*0001*005010X279A1",
            f"BHT*0022*11*{inquiry.reference}*{today}",
            "HL*1**20*1",
            f"NM1*PR*2*{inquiry.payer_name}*****PI*{inquiry.payer}",
            "HL*2*1*21*1",
            inquiry.provider,
        ]

    def _trace(self, inquiry: Inquiry) -> str:
        return f"TRN*2*{inquiry.trace[2]}*{inquiry.trace[3]}" if len(inquiry.trace) > 3 else "TRN*2*0*9000000000"

    def _rejected(self, inquiry: Inquiry, aaa: str) -> str:
        name = "*".join(inquiry.subscriber) or "NM1*IL*1"
        if not inquiry.dependent:
            body = ["HL*3*2*22*0", self._trace(inquiry), name, aaa]
        else:
            body = ["HL*3*2*22*1", name, "HL*4*3*23*0", self._trace(inquiry), "*".join(inquiry.dependent), aaa]
        return _interchange(inquiry, "HB", "005010X279A1", [*self._head(inquiry), *body])

    def _benefits(self, inquiry: Inquiry, member: Member) -> list[str]:
        subscriber = f"NM1*IL*1*{member.family.upper()}*{member.given.upper()}****MI*{member.member_id}"
        group = [f"REF*6P*{member.group}"] if member.group else []
        if inquiry.dependent:
            people = [
                "HL*3*2*22*1",
                subscriber,
                *group,
                "HL*4*3*23*0",
                self._trace(inquiry),
                "*".join(inquiry.dependent),
                "INS*N*19",
            ]
        else:
            birth = f"DMG*D8*{member.birth_date}*{member.sex}"
            people = ["HL*3*2*22*0", self._trace(inquiry), subscriber, *group, birth]
        plan_begins = f"DTP*346*D8*{inquiry.service_date[:4]}0101"
        status = f"EB*{'1' if member.active else '6'}**30**{member.plan}"
        money = []
        if member.active and member.co_payment is not None:
            money.append(f"EB*B**98***27*{member.co_payment}*****Y")
            money.append(f"EB*B**98***27*{member.co_payment}5*****N")
        if member.active and member.deductible_remaining is not None:
            money.append("EB*C*IND*30***23*1500*****Y")
            money.append(f"EB*C*IND*30***29*{member.deductible_remaining}*****Y")
        return [*self._head(inquiry), *people, plan_begins, status, *money, *member.benefits]

    def _other(self, inquiry: Inquiry, kind: ReplyKind) -> str:
        if kind == "999":
            body = [
                "ST*999*0001*005010X231A1",
                "AK1*HS*1*005010X279A1",
                "AK2*270*0001*005010X279A1",
                "IK3*NM1*8**8",
                "IK4*9**1",
                "IK5*R*5",
                "AK9*R*1*1*0",
            ]
            return _interchange(inquiry, "FA", "005010X231A1", body)
        if kind == "TA1":
            now = time.strftime("%y%m%d*%H%M")
            isa = _isa(inquiry, now, "000000001")
            return f"{isa}~TA1*{inquiry.control_number}*{now}*R*006~IEA*0*000000001~"
        return "<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(slots=True)
class Behaviour:
    """How the clearinghouse behaves, whatever it is asked; may be changed while it runs."""

    delay: float = 0.0
    """Seconds before each answer."""
    status: int = 200
    """Answers with this HTTP status when it is not 200."""
    down: bool = False
    """Closes every connection without an answer."""
    token_lives: float = 300.0
    """Seconds a token is good for."""
    refuse_token_once: bool = False
    """Answers 401 to the next inquiry, whatever the token."""


class Clearinghouse:
    """The HTTP server: `POST /token` (OAuth2 client credentials) and `POST /x12/270`."""

    def __init__(
        self, members: Sequence[Member] = (), *, client_id: str = "demo", client_secret: str = "demo-secret", port: int = 0
    ) -> None:
        self.table = MemberTable(members)
        self.behaviour = Behaviour()
        self.port = port
        self.requests = 0
        self._credentials = (client_id, client_secret)
        self._tokens: dict[str, float] = {}
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/x12/270"

    @property
    def token_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    async def __aenter__(self) -> Self:
        routes = [Route("/token", self._token, methods=["POST"]), Route("/x12/270", self._inquiry, methods=["POST"])]
        listening = socket.create_server(("127.0.0.1", self.port))  # here, because uvicorn ends the process when it cannot
        self.port = listening.getsockname()[1]
        self._server = Server(routes)
        await self._server.open(listening, "clearinghouse")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.close()

    async def _token(self, request: Request) -> Response:
        form = dict(part.split("=", 1) for part in (await request.body()).decode().split("&") if "=" in part)
        if form.get("grant_type") != "client_credentials" or not self._knows(request):
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        token = secrets.token_urlsafe(16)
        self._tokens[token] = time.monotonic() + self.behaviour.token_lives
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": self.behaviour.token_lives})

    def _knows(self, request: Request) -> bool:
        import base64

        way, _, text = request.headers.get("authorization", "").partition(" ")
        with contextlib.suppress(ValueError):
            return way.lower() == "basic" and base64.b64decode(text).decode() == ":".join(self._credentials)
        return False

    async def _inquiry(self, request: Request) -> Response:
        self.requests += 1
        behaviour: Any = self.behaviour
        if behaviour.down:
            return _Hangup()
        inquiry = (await request.body()).decode()
        await asyncio.sleep(behaviour.delay)
        if behaviour.status != 200:
            return PlainTextResponse("not now", status_code=behaviour.status, headers={"Retry-After": "1"})
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if behaviour.refuse_token_once or self._tokens.get(token, 0) < time.monotonic():
            behaviour.refuse_token_once = False
            return PlainTextResponse("token expired", status_code=401)
        answer = self.table.answer(inquiry)
        return PlainTextResponse(answer, media_type="text/html" if answer.startswith("<html") else "application/edi-x12")


class _Hangup(Response):
    """Closes the connection in the middle of the answer, as a server that dies does."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"ISA", "more_body": True})
        raise ConnectionResetError

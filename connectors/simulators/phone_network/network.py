"""What is sent over the network and what becomes of it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from starlette.requests import Request

from connectors.simulators.facade import basic
from connectors.simulators.hooks import Hooks
from connectors.simulators.server import Simulator

ASSERTION = "an-assertion-of-the-service"
STOP = ("stop", "stopall", "unsubscribe", "cancel", "end", "quit")
CODES = {"landline": "30006", "unreachable": "30003", "blocked": "30007"}
"""Codes of texts that were taken and then not delivered."""


@dataclass
class Person:
    """Who is at a number, and how they answer."""

    text: Literal["delivered", "landline", "unreachable", "blocked", "invalid"] = "delivered"
    """What becomes of texts; `invalid`: the service takes none for this number."""
    call: Literal["completed", "busy", "no-answer", "failed"] = "completed"
    """What becomes of calls."""
    replies: list[str] = field(default_factory=list)
    """What they answer to texts, one after another; nothing when there is none left."""
    digit: str = ""
    """What they press in a call."""
    opted_out: bool = False
    """They once said STOP: the service takes no texts to them."""


@dataclass
class Thing:
    """One text or call that the service took."""

    id: str
    """The service's id of it."""
    kind: Literal["text", "call"]
    to: str
    words: str = field(repr=False)
    at: float
    state: str = "queued"
    code: str = ""
    callback: str = ""
    """Where its states are told."""
    action: str = ""
    """Where what is pressed in a call is told."""
    reference: str = ""
    """What the sender knows it by, as far as its address for webhooks says so."""


class PhoneNetwork(Simulator):
    """The network, its people, and everything that was received."""

    name: ClassVar[str] = "phone network"

    def __init__(
        self, *, account: str = "AC00000000000000000000000000000001", token: str = "sim-token", **settings: Any
    ) -> None:
        super().__init__(client_id=account, client_secret=token, **settings)
        from connectors.simulators.phone_network.ringcentral import RingCentral
        from connectors.simulators.phone_network.twilio import Twilio

        self.people: dict[str, Person] = {}
        self.things: list[Thing] = []
        self.received: list[bytes] = []
        """The body of every request, refused ones too: what the service got to know."""
        self.hooks = Hooks()
        self.reply_url = ""
        """Where texts of people are brought."""
        self.answers_after = 0.0
        """Seconds until people answer."""
        self.twilio = Twilio(self)
        self.facades = (self.twilio, RingCentral(self))
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def gives_token(self, request: Request, form: dict[str, str]) -> bool:
        """Also for an assertion that was handed out (RFC 7523)."""
        handed_out = form.get("assertion") == ASSERTION and ":".join(self.credentials) == basic(request)
        return handed_out or super().gives_token(request, form)

    def person(self, number: str) -> Person:
        return self.people.setdefault(number, Person())

    def take(self, kind: Literal["text", "call"], **what: str) -> Thing:
        """One more, and what becomes of it begins."""
        prefix = "SM" if kind == "text" else "CA"
        thing = Thing(f"{prefix}{next(self._numbers):032x}", kind, at=self.clock(), **what)
        self.things.append(thing)
        task = asyncio.create_task(self._live(thing), name="a text or call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return thing

    async def _live(self, thing: Thing) -> None:
        person = self.person(thing.to)
        await asyncio.sleep(0.005)  # the answer to the order leaves first
        if thing.kind == "text":
            self._now(thing, "sent")
            code = CODES.get(person.text, "")
            self._now(thing, "undelivered" if code else "delivered", code)
            if not code and person.replies:
                await asyncio.sleep(self.answers_after)
                self.says(thing.to, person.replies.pop(0))
            return
        if person.call == "completed" and person.digit:
            self.twilio.pressed(thing, person.digit)
        self._now(thing, person.call)

    def _now(self, thing: Thing, state: str, code: str = "") -> None:
        thing.state, thing.code = state, code
        self.twilio.tell(thing)

    def says(self, number: str, text: str) -> None:
        """A person texts; the service keeps its own list of who said STOP."""
        word = text.strip().lower()
        if word in STOP:
            self.person(number).opted_out = True
        elif word in ("start", "unstop"):
            self.person(number).opted_out = False
        self.twilio.brings(number, text)

    async def quiet(self) -> None:
        """Nothing is on its way any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.hooks.told()

    async def __aexit__(self, *details: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self.hooks.close()
        await super().__aexit__(*details)

    # The judge.

    def to(self, number: str) -> list[Thing]:
        return [thing for thing in self.things if thing.to == number]

    def doubled(self) -> list[Thing]:
        """What was taken although it had been taken before, by the sender's own reference, else by number and words."""
        seen: set[tuple[str, ...]] = set()
        found = []
        for thing in self.things:
            key = ("r", thing.reference) if thing.reference else (thing.kind, thing.to, thing.words)
            if key in seen:
                found.append(thing)
            seen.add(key)
        return found

"""An order is sent once; a look asks how it is.  Both answer with a report in our words.

An order whose time is over before it can leave is not sent: the report says `late`.  One that was not answered may have been
done: it is looked for under our id where the service keeps it, else nobody knows, and a person is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from connectors.phone.settings import PhoneConfig, SmsConfig, VoiceConfig
from hub.calls import Answer, Api
from hub.connector import Destination
from hub.errors import DoubtfulSend, MessageRejected, MessageUnusable
from hub.formats.dotted import DottedFields
from hub.formats.loose_json import Unreadable, read_json
from hub.message import Message
from hub.moments import now
from hub.records_reminders import CallOrder, Channel, Report, TextOrder, Trouble

ConfigT = TypeVar("ConfigT", bound=PhoneConfig)
SHORTEST, LONGEST = 60, 14_400
"""Seconds for which a service is told that an order is of use."""


class Phone(Destination[ConfigT]):
    """A telephone service."""

    repeat = "ask"
    channel: ClassVar[Channel]
    order: ClassVar[type[TextOrder]]

    def __init__(self, name: str, config: ConfigT) -> None:
        super().__init__(name, config)
        self._api: Api | None = None

    async def open_destination(self) -> None:
        if self._api is None:
            self._api = Api(self.name, self.config)

    @property
    def api(self) -> Api:
        assert self._api is not None  # noqa: S101 - opened before anything is sent
        return self._api

    async def send(self, message: Message) -> Message | None:
        await self.open_destination()
        report = await (self._looked(message) if message.format == "look" else self._ordered(self._read(message)))
        return Message(report, f"{self.channel}_report", report.state)

    def _read(self, message: Message) -> TextOrder:
        if message.format != f"{self.channel}_order":
            text = f"{self.name} takes a {self.channel}_order or a look, but this is {message.format}"
            raise MessageUnusable(text, code="REM-009")
        try:
            return self.order.model_validate_json(message.body)
        except ValidationError:
            raise MessageUnusable(f"{self.name}: the {self.channel}_order cannot be read", code="REM-009") from None

    # Orders.

    async def _ordered(self, order: TextOrder) -> Report:
        left = (order.until - now()).total_seconds() if order.until is not None else float(LONGEST)
        if left <= 0:
            return Report(id=order.id, state="failed", trouble="late")
        seconds = str(int(min(max(left, SHORTEST), LONGEST)))
        values = {**self._values(order.id), "to": order.to, "text": order.text, "seconds": seconds}
        if isinstance(order, CallOrder):
            values["language"] = order.language
        try:
            answer = await self.api.order(self.config.send, values, find=self.config.find)
        except MessageRejected as error:
            return self._refused(order.id, error)
        if answer is None or answer.text("partner_id") is None:
            raise DoubtfulSend(f"{self.name}: the answer says no id of the {self.channel}; it may have been sent")
        return self._report(order.id, answer)

    def _values(self, id: str) -> dict[str, Any]:
        config = self.config
        urls = {"status_url": config.status_url, "reply_url": config.reply_url}
        callbacks = {name: f"{url}?thing={id}" if url is not None else None for name, url in urls.items()}
        return {**config.values, **callbacks, "from": config.sender, "id": id}

    def _refused(self, id: str, error: MessageRejected) -> Report:
        """A refusal whose code the profile knows is about the number, and the patient may be reached otherwise."""
        code = _code_in(error.reply, self.config.trouble_at) or error.answer
        if code not in self.config.troubles:
            raise error
        return Report(id=id, state="failed", trouble=self.config.troubles[code], detail=code)

    # Looks.

    async def _looked(self, message: Message) -> Report:
        id, partner_id = message.headers.get("thing", ""), message.headers.get("partner_id", "")
        if self.config.look is None or not partner_id:
            return Report(id=id, partner_id=partner_id or None, state=self._first, detail="cannot be asked")
        answer = await self.api.ask(self.config.look, {**self._values(id), "partner_id": partner_id})
        if answer is None:
            return Report(id=id, partner_id=partner_id, state=self._first, detail="not there")
        return self._report(id, answer, partner_id)

    @property
    def _first(self) -> str:
        """What is said when nothing is known: the service has it."""
        return self.config.progress.steps[2]

    def _report(self, id: str, answer: Answer, partner_id: str | None = None) -> Report:
        word, code = answer.text("state") or "", answer.text("trouble") or ""
        meant = self.config.states.get(word)
        state, _, trouble = (meant or self._first).partition(" ")
        found: Trouble = self.config.troubles.get(code, trouble or ("other" if state == "failed" else ""))  # type: ignore[arg-type]
        detail = code if state == "failed" else "" if meant is not None or not word else f"unknown word {word[:40]}"
        return Report(
            id=id, partner_id=answer.text("partner_id") or partner_id, state=state,
            trouble=found if state == "failed" else "", detail=detail,
        )  # fmt: skip

    async def check(self) -> str:
        await self.open_destination()
        return await self.api.check()

    async def close(self) -> None:
        if self._api is not None:
            api, self._api = self._api, None
            await api.close()


def _code_in(reply: bytes, path: str) -> str | None:
    try:
        said: Mapping[str, Any] = read_json(reply)
    except Unreadable:
        return None
    return DottedFields(said).get(path)


class Sms(Phone[SmsConfig]):
    """Texts."""

    kind = "sms"
    channel = "text"
    order = TextOrder


class Voice(Phone[VoiceConfig]):
    """Calls that speak a text and take a digit."""

    kind = "voice"
    channel = "call"
    order = CallOrder

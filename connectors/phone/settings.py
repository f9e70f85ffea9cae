"""The settings of a connection to a telephone service."""

from __future__ import annotations

from typing import Any, ClassVar, Self, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hub.calls import ApiSettings, Call
from hub.connector import DestinationConfig
from hub.formats.dotted import path_error
from hub.progress import Progress
from hub.records_reminders import CALL, TEXT, Trouble

KNOWN = frozenset({"id", "to", "from", "text", "language", "status_url", "reply_url", "seconds", "partner_id"})
"""What calls may be filled with, besides `values`; `seconds` is how long the order is of use."""


class PhoneConfig(DestinationConfig, ApiSettings):
    """Sends orders to a telephone service, each once."""

    progress: ClassVar[Progress]

    sender: str | None = None
    """The number or sender's id that patients see: +13125550100. Calls name it `{from}`."""
    status_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    """Public address where the service tells how a text or call is, which calls name `{status_url}`, with `?thing=` and our id
    of it. Without one it is looked after from time to time."""
    reply_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    """Public address where the service brings what was answered during a call, which calls name `{reply_url}`; `?thing=` and
    our id of the call follow."""
    values: dict[str, str] = {}
    """Further blanks of the calls, by name: the number of our account, for instance."""
    send: Call
    """Sends a text or makes a call; its answer says `partner_id`, and `state` and `trouble` where the service tells them at
    once."""
    look: Call | None = None
    """Asks how a text or call is, by `{partner_id}`; its answer says `state`, and `trouble`."""
    find: Call | None = None
    """Lists what the service has under our `{id}`, to settle a send that was not answered. Only for services that keep our id:
    what looks the same may have been sent to somebody else at the same number."""
    states: dict[str, str]
    """The service's words for how far it is: ours, and behind `failed` why: `undelivered: failed`, `busy: failed busy`."""
    troubles: dict[str, Trouble] = {}
    """The service's codes for why something failed: bad_number, landline, opted_out, busy, no_answer, blocked or other."""
    trouble_at: str = "code"
    """Path of that code where the service refuses an order."""

    @model_validator(mode="after")
    def _words_are_ours(self) -> Self:
        mistakes: list[Any] = []
        for word, meant in self.states.items():
            state, _, trouble = meant.partition(" ")
            known = [*self.progress.steps, *self.progress.ends]
            if state not in known or state in ("ordered", "unknown"):
                mistakes.append((("states", word), f"{state!r} is no state of it; there are {', '.join(known[2:])}"))
            elif trouble and (state != "failed" or trouble not in get_args(Trouble)):
                troubles = ", ".join(filter(None, get_args(Trouble)))
                mistakes.append(
                    (("states", word), f"{trouble!r} is no trouble that goes behind `failed`; there are {troubles}")
                )
        mistakes += self._wrong_calls()
        if wrong := path_error(self.trouble_at):
            mistakes.append((("trouble_at",), wrong))
        if mistakes:
            lines: list[Any] = [
                {
                    "type": PydanticCustomError("value_error", "{text}", {"text": text}) if text else "missing",
                    "loc": place,
                    "input": None,
                }
                for place, text in mistakes
            ]
            raise ValidationError.from_exception_data(type(self).__name__, lines, hide_input=True)
        return self

    def _wrong_calls(self) -> list[Any]:
        """Places and words; without words something is missing that a clinic file has to say."""
        known = KNOWN | set(self.values)
        found: list[Any] = []
        for name, call, wanted in (
            ("send", self.send, "partner_id"),
            ("look", self.look, "state"),
            ("find", self.find, "partner_id"),
        ):
            if call is None:
                continue
            if unknown := sorted(blank for blank in call.blanks - known if not blank.startswith("secret.")):
                text = f"nothing fills {{{unknown[0]}}}; there are {', '.join(sorted(known))}, and what `values` has"
                found.append(((name,), text))
            if wanted not in call.answer:
                found.append(((name, "answer"), f"it has to say where `{wanted}` stands"))
        for field, blank in (("reply_url", "reply_url"), ("sender", "from")):
            if getattr(self, field) is None and blank in self.send.blanks:
                found.append(((field,), ""))
        return found


class SmsConfig(PhoneConfig):
    """Sends texts by a telephone service, each once."""

    progress: ClassVar[Progress] = TEXT


class VoiceConfig(PhoneConfig):
    """Makes calls by a telephone service, each once: a text is spoken, and a digit answers it."""

    progress: ClassVar[Progress] = CALL

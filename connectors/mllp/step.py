"""The step `acknowledge`: the application acknowledgement of enhanced mode, sent on a connection of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from connectors.mllp.modes import is_acknowledgement, mode_of
from hub.errors import MessageUnusable
from hub.formats.hl7v2 import Hl7, acknowledge
from hub.formats.hl7v2.ack import Fault
from hub.message import Message
from hub.step import Context, Misreference, References, Step, StepConfig, StepResult
from hub.steps import Send


class AcknowledgeConfig(StepConfig):
    """Settings of `acknowledge`."""

    to: str
    """The connection the acknowledgement is sent on."""


class Acknowledge(Step[AcknowledgeConfig]):
    """Sends the application acknowledgement when the message asks for one, and goes on.

    It says AA; in a flow `from: {failed: FLOW}` AE.  It is committed together with what the steps around it do, so AA is only
    sent when all of them went well.  The listener needs `application_ack: by_flow`.
    """

    kind = "acknowledge"
    main = "to"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        return Send.misreferences(config, names)

    async def run(self, message: Message, context: Context) -> StepResult:
        failed = message.format == "failure"
        request = _request_of(message)
        if request is not None and not is_acknowledgement(request) and _wanted(request, failed=failed):
            fault = Fault("207", "", "the message is safe, but its work is not done") if failed else None
            body = acknowledge(request, "AE" if failed else "AA", fault)
            context.send(self.config.to, message.derive(body, format="hl7v2", type=Hl7(body).type))
        return message


def _wanted(request: Hl7, *, failed: bool) -> bool:
    mode = mode_of(request)
    return not mode.original and mode.applies(failed=failed)


def _request_of(message: Message) -> Hl7 | None:
    """The header of the message as it came; a flow may have made something else of it meanwhile."""
    text = message.headers.get("msh")
    if text is None and message.format != "hl7v2":
        return None
    try:
        return Hl7(text.encode("latin-1") if text is not None else message.body, message.headers.get("charset"))
    except MessageUnusable:
        return None

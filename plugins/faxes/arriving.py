"""What came in, and what the carrier tells by a webhook: a hint, after which the carrier is asked."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from hub import Context, Message, MessageUnusable, Step, StepConfig, StepResult
from hub.records_fax import Fax, FaxTry
from hub.step import Misreference, References

LINES = ("fax", "hylafax")
"""Kinds of connections that are fax lines."""


def came_in(line: str, partner_id: str) -> str:
    """By what a fax that came in is known: carriers count for each account, so two lines may use the same id."""
    return f"{line}|{partner_id}"


async def received(message: Message, context: Context) -> Message | None:
    """A fax that came in, as a document for the steps that follow; None for one that is known already."""
    partner_id = message.headers.get("partner_id", "")
    if not partner_id:
        raise MessageUnusable("a fax that came in has no id of its carrier (header partner_id)", code="FAX-004")
    line = message.headers.get("line", "")
    if await context.find(Fax, "came_in", came_in(line, partner_id), limit=1):
        context.note("fax", "This fax was taken in before", plain=True)
        return None
    pages = message.headers.get("pages", "")
    fax = Fax(
        id=context.new_id("f"),
        direction="in",
        state="received",
        sender=message.headers.get("from", ""),
        pages=int(pages) if pages.isdecimal() and pages.isascii() and len(pages) < 6 else None,
        line=line,
        partner_id=partner_id,
        ordered_at=context.now,
        ended_at=context.now,
    )
    await context.put(fax)
    context.key("fax", fax.id)
    context.note("fax", "A fax came in", plain=True)
    return message.derive(message.payload, format="document", headers={"fax": fax.id, "source": "fax"})


class FaxEventConfig(StepConfig):
    """Settings of `fax_event`."""

    inbound: list[str] = ["*inbound*", "*incoming*", "*received*"]
    """Names of the events that tell of a fax that came in; `*` stands for anything."""
    line: str = ""
    """The fax line whose carrier tells, the same that is asked; it has to be said where there are several."""


class FaxEvent(Step[FaxEventConfig]):
    """Makes of a webhook the question how a fax is, or for one that came in.  What else it says is not believed."""

    kind = "fax_event"
    main = "inbound"

    @classmethod
    def misreferences(cls, config: Any, names: References) -> Iterable[Misreference]:
        lines = [name for name, kind in names.connections.items() if kind is not None and kind.kind in LINES]
        if config.line and config.line not in names.connections:
            yield Misreference("line", f"there is no connection {config.line!r}", lines)
        if not config.line and len(lines) > 1:
            yield Misreference(
                "line",
                f"there are several fax lines ({', '.join(sorted(lines))}): say whose webhooks these are",
            )

    async def run(self, message: Message, context: Context) -> StepResult:
        event, partner_id = message.headers.get("event", "").lower(), message.headers.get("resource", "")
        if not partner_id:
            raise MessageUnusable("the webhook names no fax: set `resource` of its connection", code="FAX-004")
        known = [fax for fax in await context.find(Fax, "partner", partner_id) if self._meant(fax, partner_id) is not None]
        if not known and any(fnmatchcase(event, pattern.lower()) for pattern in self.config.inbound):
            return message.derive(b"", format="fetch", headers={"partner_id": partner_id})
        if not known or known[0].direction == "in":
            return None  # a look that is due anyway finds what is told too early, or about what is known
        fax = known[0]
        one = self._meant(fax, partner_id)
        assert isinstance(one, FaxTry)  # noqa: S101 - it goes out
        headers = {"fax": fax.id, "reference": one.reference, "partner_id": partner_id}
        headers |= {"appointment": fax.appointment} if fax.appointment else {}
        return message.derive(b"", format="look", headers=headers)

    def _meant(self, fax: Fax, partner_id: str) -> Fax | FaxTry | None:
        """What of a fax has this id at our line: itself when it came in, else a try."""
        fitting: list[Fax | FaxTry] = [fax, *fax.tries]
        lines = ("", self.config.line) if self.config.line else None
        return next((one for one in fitting if one.partner_id == partner_id and (lines is None or one.line in lines)), None)

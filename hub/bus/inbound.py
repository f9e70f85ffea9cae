"""Delivery: from a source into the journal.  When this returns, the hub owns the messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hub.bus.core import Core
from hub.bus.failpoints import reached
from hub.bus.sequence import Sequences
from hub.connector import SourceConfig
from hub.format import Keys
from hub.message import Message
from hub.moments import now_micros
from hub.settings.model import ConnectionSettings
from hub.store.rows import NewMessage, NewWork, Write

TURN = 100
"""Messages of one delivery that are made ready before others have their turn."""


class Outcomes(Protocol):
    """How messages ended, by seq."""

    def __call__(self, seqs: Sequence[int], timeout: float, *, sent_on: bool = False) -> Awaitable[list[str]]: ...


@dataclass(slots=True)
class DeliveryReceipt:
    """What `deliver` returns."""

    ids: list[str]
    duplicates: list[bool]
    _rows: list[NewMessage]
    _core: Core
    _outcomes: Outcomes

    async def outcome(self, timeout: float) -> str:
        return next((state for state in await self.outcomes(timeout) if state != "delivered"), "delivered")

    async def outcomes(self, timeout: float, *, sent_on: bool = False) -> list[str]:
        return await self._outcomes([row.seq for row in self._rows], timeout, sent_on=sent_on)

    async def answered_no(self, numbers: Sequence[int]) -> None:
        rows = [self._rows[number] for number in numbers]
        seen = [(row.seen_key, row.digest) for row in rows if row.seen_key is not None]
        if seen:
            await self._core.journal.commit(Write(unseen=seen))

    def remark(self, number: int, what: str, text: str) -> None:
        note = self._core.bodies.note(self._rows[number].seq, what, text)
        self._core.journal.submit(Write(notes=[note])).add_done_callback(lambda done: done.exception())


class Inbound:
    """The deliver function of one source."""

    def __init__(
        self,
        connection: ConnectionSettings,
        core: Core,
        outcomes: Outcomes,
        *,
        answer_before_commit: bool = False,
        drop_ordering_key: bool = False,
    ) -> None:
        self.name = connection.name
        config = connection.config
        assert isinstance(config, SourceConfig)  # noqa: S101 - the registry lets only sources get here
        self._remember_for = config.remember_for
        self._headers = {
            name: value
            for name, value in (
                ("authority", config.authority),
                ("ordering_path", config.ordering_key),
                ("charset", getattr(config, "charset", None)),
            )
            if value
        }
        self._core = core
        self._sequences = Sequences(self.name, core.reader)
        self._outcomes = outcomes
        self._answer_before_commit = answer_before_commit
        self._drop_ordering_key = drop_ordering_key
        self._loop = asyncio.get_running_loop()
        self._signals = core.signals.source(self.name)
        self._spans = core.spans

    async def __call__(self, messages: Sequence[Message]) -> DeliveryReceipt:
        self._core.space.check()
        began = time.monotonic()
        size, count = sum(message.size for message in messages), len(messages)
        admission = self._core.admission
        await admission.enter(size, count)
        try:
            return await self._keep(messages, began)
        finally:
            admission.leave(size, count)

    async def _keep(self, messages: Sequence[Message], began: float) -> DeliveryReceipt:
        rows: list[NewMessage] = []
        for message in messages:
            rows.append(await self._row(message))
            if len(rows) % TURN == 0:
                await asyncio.sleep(0)
        reached("received")
        spans = self._spans.receive(self.name, rows) if self._spans is not None else []
        future = self._core.journal.submit(Write(messages=rows))
        if self._answer_before_commit:
            future.add_done_callback(lambda done: done.exception())
        else:
            try:
                await future
            except BaseException as error:
                self._not_kept(spans, error)
                raise
            self._note_resends(rows)
        self._count(rows, time.monotonic() - began)
        if self._spans is not None:
            self._spans.received(spans, rows)
        return DeliveryReceipt([row.id for row in rows], [row.duplicate for row in rows], rows, self._core, self._outcomes)

    def _count(self, rows: Sequence[NewMessage], took: float) -> None:
        signals = self._signals
        signals.last_at = time.time()
        for row in rows:
            signals.received += 1
            signals.duplicates += row.duplicate
            signals.acknowledged.add(took)

    def _not_kept(self, spans: Sequence[Any], error: BaseException) -> None:
        self._signals.failed += 1
        if self._spans is not None:
            self._spans.failed(spans, getattr(error, "code", type(error).__name__))

    def _note_resends(self, rows: Sequence[NewMessage]) -> None:
        """A resend leaves a line on the timeline of the message it repeats; nobody waits for that."""
        notes = [
            self._core.bodies.note(row.seq, "resent", "Sent again by the sender; answered, not routed.")
            for row in rows
            if row.duplicate
        ]
        if notes:
            self._core.journal.submit(Write(notes=notes)).add_done_callback(lambda done: done.exception())

    async def refuse(self, message: Message, reason: str) -> None:
        """Keeps a message that is answered negatively: found again, routed nowhere."""
        self._core.space.check()
        message, keys = self._identify(message)
        row = await self._core.bodies.row(
            message, connection=self.name, direction="in", at=now_micros(), control_id=keys.control_id
        )
        row.state, row.reason, row.keep = "refused", reason, self._core.keeping.level(self.name)
        row.keys = self._core.filing.rows(keys)
        self._core.bodies.forget(message.id)
        await self._core.journal.commit(Write(messages=[row]))
        self._signals.refused += 1

    def turned_away(self, reason: str) -> None:
        away = self._signals.turned_away
        away[reason] = away.get(reason, 0) + 1

    def threadsafe(self, messages: Sequence[Message]) -> DeliveryReceipt:
        return asyncio.run_coroutine_threadsafe(self(messages), self._loop).result()

    def _identify(self, message: Message) -> tuple[Message, Keys]:
        headers = {**self._headers, **message.headers} if self._headers else message.headers
        keys = self._core.filing.keys(message, headers)
        return message.named(message.type or keys.type, headers), keys

    async def _row(self, message: Message) -> NewMessage:
        if message.large:
            message, keys = await asyncio.to_thread(self._identify, message)
        else:
            message, keys = self._identify(message)
        at = now_micros()
        row = await self._core.bodies.row(message, connection=self.name, direction="in", at=at, control_id=keys.control_id)
        row.keys = self._core.filing.rows(keys)
        if keys.findings:
            row.flag = keys.findings[0]
        if (sequence := message.headers.get("sequence")) is not None:
            await self._sequences.note(row, sequence)
        recognise = keys.duplicate_key or message.duplicate_key
        if recognise and self._remember_for:
            row.seen_key = self._core.seal.digest(f"{self.name}\x1f{recognise}".encode())
            row.forget_before = at - int(self._remember_for * 1_000_000)
        row.works = self.works_for(f"connection {self.name}", message, keys)
        row.keep = self._core.keeping.level(self.name, [work.target.removeprefix("flow:") for work in row.works])
        if not row.works:
            row.state, row.reason = "skipped", "no flow wants it"
        return row

    def works_for(self, source: str, message: Message, keys: Keys) -> list[NewWork]:
        lanes = (message.id,) if self._drop_ordering_key else self._core.filing.lanes(keys, self.name)
        return [
            NewWork(f"flow:{flow.name}", lanes[0], lanes[1:], message.generation, config=flow.fingerprint)
            for flow in self._core.router.wanted(source, message, keys.control_id)
        ]

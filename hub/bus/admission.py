"""How much may be on its way into the journal at once: beyond that, who brings messages waits, and then is told to try later.

Only what comes in is held back.  What flows and connections write is bounded by how many works run at once, and is what
empties the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from hub.errors import Busy

MOST_BYTES = 64 * 1024 * 1024
"""Bytes of message bodies that wait for their commit, before others wait outside."""
MOST_MESSAGES = 10_000
"""Messages that do."""
PATIENCE = 5.0
"""Seconds somebody waits outside: shorter than any sender's time limit for an acknowledgement should be."""


@dataclass(slots=True)
class _Waiting:
    bytes: int
    messages: int
    turn: asyncio.Future[None]


@dataclass(slots=True)
class Admission:
    """Those who wait are let in by turns, the first first."""

    most_bytes: int = MOST_BYTES
    most_messages: int = MOST_MESSAGES
    patience: float = PATIENCE
    bytes: int = 0
    """Inside, now."""
    messages: int = 0
    highest_bytes: int = 0
    highest_messages: int = 0
    """The most there was at once."""
    slowed: int = 0
    """Deliveries that had to wait."""
    turned_away: int = 0
    """Deliveries that were told to try later."""
    _outside: deque[_Waiting] = field(default_factory=deque)

    async def enter(self, bytes: int, messages: int) -> None:
        """Returns when there is room, at once as a rule; raises Busy when there was none for too long.

        Whoever has entered has to `leave`.
        """
        if self._outside or not self._has_room(bytes, messages):
            await self._wait(bytes, messages)
            return
        self._add(bytes, messages)

    def leave(self, bytes: int, messages: int) -> None:
        self.bytes -= bytes
        self.messages -= messages
        if self._outside:
            self._let_in()

    def _has_room(self, bytes: int, messages: int) -> bool:
        """What is too large for an empty house is let in alone."""
        if not self.messages:
            return True
        return self.bytes + bytes <= self.most_bytes and self.messages + messages <= self.most_messages

    def _add(self, bytes: int, messages: int) -> None:
        self.bytes += bytes
        self.messages += messages
        self.highest_bytes = max(self.highest_bytes, self.bytes)
        self.highest_messages = max(self.highest_messages, self.messages)

    async def _wait(self, bytes: int, messages: int) -> None:
        self.slowed += 1
        waiting = _Waiting(bytes, messages, asyncio.get_running_loop().create_future())
        self._outside.append(waiting)
        try:
            async with asyncio.timeout(self.patience):
                await waiting.turn
        except BaseException as error:
            self._give_up(waiting)
            if isinstance(error, TimeoutError):
                self.turned_away += 1
                raise Busy(retry_after=self.patience) from None
            raise

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting in self._outside:
            self._outside.remove(waiting)
        elif waiting.turn.done() and not waiting.turn.cancelled():
            self.leave(waiting.bytes, waiting.messages)  # it was let in the moment it gave up
        self._let_in()

    def _let_in(self) -> None:
        while self._outside and self._has_room(self._outside[0].bytes, self._outside[0].messages):
            waiting = self._outside.popleft()
            if not waiting.turn.done():
                self._add(waiting.bytes, waiting.messages)
                waiting.turn.set_result(None)

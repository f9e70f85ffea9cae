"""Webhooks of a simulated partner: what it tells the hub by itself, doubled, late, out of order, forged or never as told.

    carrier.hooks.url = "http://127.0.0.1:8443/fax"
    carrier.hooks.script("twice", "late 0.3", "swapped", "never", "forged")     for the next events, in order
    carrier.hooks.tell(Hook(b"{...}", {"Content-Type": "application/json", "Authorization": "Basic ..."}))

    twice       the event comes twice
    late        it comes so many seconds later: `late 0.3`
    swapped     it comes after the next one
    never       it is lost
    forged      first it comes with a signature that is wrong, then as it should

What is not answered with 2xx is told again, as vendors do.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from hub.errors import ConnectionDown
from hub.net.auth import HttpAuth
from hub.net.http import HttpClient

AGAIN_AFTER = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between the tries of one event."""
_PLAIN = ("ok", "twice", "swapped", "never", "forged")


@dataclass(frozen=True, slots=True)
class Hook:
    """One event as it is told."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    """What follows the question mark of the address."""
    forged: Mapping[str, str] = field(default_factory=dict)
    """Headers that make it a forged one; without any, `forged` changes a byte of the body."""
    url: str = ""
    """Where this one goes; the address all go to when empty."""


class Hooks:
    """Tells events, each in the background."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        """Where events go; none are told while it is empty."""
        self.answers: list[int] = []
        """The HTTP status of everything that was told, forged ones too, in the order of the answers."""
        self._words: deque[str] = deque()
        self._held: list[Hook] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: HttpClient | None = None

    def script(self, *words: str) -> None:
        """Raises ValueError for a word that is none."""
        for word in words:
            if word not in _PLAIN and not re.fullmatch(r"late \d+(\.\d+)?", word):
                raise ValueError(f"there is no way {word!r} to tell an event; see connectors/simulators/hooks.py")
            self._words.append(word)

    def tell(self, hook: Hook) -> None:
        """Tells one event, as the script says."""
        if not (hook.url or self.url):
            return
        word = self._words.popleft() if self._words else "ok"
        if word == "swapped":
            self._held.append(hook)
            return
        held, self._held = self._held, []
        if word != "never":
            self._start(hook, word)
        for earlier in held:
            self._start(earlier, "late 0.1")

    async def told(self) -> None:
        """Waits until nothing is on its way; what waited for a next one goes now."""
        held, self._held = self._held, []
        for hook in held:
            self._start(hook, "ok")
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _start(self, hook: Hook, word: str) -> None:
        task = asyncio.create_task(self._tell(hook, word), name="webhook of a simulator")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, hook: Hook, word: str) -> None:
        if word.startswith("late "):
            await asyncio.sleep(float(word[5:]))
        if word == "forged":
            await self._post(hook, forged=True)
        for wait in (*AGAIN_AFTER, None):
            if 200 <= await self._post(hook) < 300:
                break
            if wait is not None:
                await asyncio.sleep(wait)
        if word == "twice":
            await self._post(hook)

    async def _post(self, hook: Hook, *, forged: bool = False) -> int:
        self._client = self._client or HttpClient("webhooks", auth=HttpAuth(), timeout=10.0, tls=None)
        headers, body = dict(hook.headers), hook.body
        if forged and hook.forged:
            headers |= hook.forged
        elif forged:
            body = body[:-1] + bytes([body[-1] ^ 1])
        url = hook.url or self.url
        url = f"{url}{'&' if '?' in url else '?'}{hook.query}" if hook.query else url
        try:
            response = await self._client.exchange("POST", url, content=body, headers=headers)
        except ConnectionDown:
            return 0
        self.answers.append(response.status_code)
        return response.status_code

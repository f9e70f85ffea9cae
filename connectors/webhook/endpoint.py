"""One connection's path: reads a request within its limits, proves it, keeps what it brings, and answers in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import structlog

from connectors.webhook.events import Judged, judge
from connectors.webhook.settings import WebhookConfig
from hub.connector import Deliver
from hub.errors import Busy, HubError
from hub.message import LARGE_BODY, Message
from hub.net.forms import URL_ENCODED
from hub.net.multipart import media_type
from hub.net.signatures import Delivery, Place, Reason, verify

log = structlog.get_logger(__name__)

MOST_UNREAD = 128 * 1024 * 1024
"""Bytes of all requests of a connection that are being read or brought to the store; more are answered 503."""
MOST_UNPROVED = 1024 * 1024
"""Bytes of a body whose content proves who sends, and of a form without files: reading it keeps everything else waiting."""
IN_TIME = 0.8
"""Part of the partner's deadline after which it is answered, whatever there is to say."""
RETRY_AFTER = 5
"""Seconds after which a partner may try again."""
TELL_EVERY = 60.0
"""Seconds between lines in the log about the same: a flood must not fill it."""
ENDING = 1.0
"""Seconds what is on its way to the store has when the connection ends."""
LONGEST_ECHO = 1024
"""Characters of what a partner wants to see again."""
DOUBTFUL: frozenset[str] = frozenset(get_args(Reason))
"""Why a request may not be from the partner."""


class Away(Exception):
    """The request is not taken; `reason` is one of a few words."""

    def __init__(self, status: int, reason: str, *, close: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.reason, self.close, self.retry_after = status, reason, close, retry_after


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered; without a status nothing is, and the connection is closed."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


HANG_UP = Reply(None)


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose body has still to be read."""

    method: str
    rest: str
    """What the path has beyond that of the connection."""
    query: str
    headers: Sequence[tuple[str, str]]
    receive: Callable[[], Awaitable[Any]]

    def header(self, name: str) -> str:
        return next((value for known, value in self.headers if known == name.lower()), "")


class Endpoint:
    """What happens to the requests of one connection."""

    def __init__(self, name: str, config: WebhookConfig, deliver: Deliver) -> None:
        self.name, self.config, self._deliver = name, config, deliver
        self._allowance = Allowance(config.rate) if config.rate is not None else None
        self._unread = 0
        """Bytes of requests that are neither kept nor turned away yet."""
        self._keeping: set[asyncio.Task[None]] = set()
        self._closing = False
        self._told: dict[str, tuple[float, int]] = {}
        """When the log last heard of a reason, and how often it came since."""

    @property
    def takes_rest(self) -> bool:
        """A path may go on behind that of the connection: a token stands there, an id, or the name of an event."""
        return any(place.segment is not None for place in places_of(self.config))

    def _longest(self, content_type: str) -> int:
        """Bytes of a body: what has to be read to find out who sends is read of strangers too.

        A form with files is taken apart in one go; the fields of any other one are many small steps.
        """
        verify = self.config.verify
        places = [verify.signature, verify.timestamp, *verify.parts.values()]
        has_proof = any(place is not None and place.field is not None for place in places)
        is_proof = "form" in verify.named and "files" not in verify.named
        is_short = has_proof or is_proof or media_type(content_type) == URL_ENCODED
        return min(self.config.max_body, MOST_UNPROVED) if is_short else self.config.max_body

    async def answer(self, request: Request) -> Reply:
        """Never raises."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            taken += size
            self._unread += size

        try:
            return await self._answer(request, take)
        except Away as away:
            self._turn_away(away.reason)
            if away.retry_after and self.config.not_kept == "hang_up":
                return HANG_UP
            headers = {"retry-after": str(max(1, round(away.retry_after)))} if away.retry_after else {}
            return Reply(away.status, headers={**headers, "connection": "close"} if away.close else headers)
        except Exception as error:  # whatever it was: the partner still has the event, and tries again
            log.error("a webhook could not be taken", connection=self.name, error=type(error).__name__, code="BUG-001")
            return Reply(500)
        finally:
            self._unread -= taken

    async def _answer(self, request: Request, take: Callable[[int], None]) -> Reply:
        if self._closing:
            raise Away(503, "closing", close=True, retry_after=RETRY_AFTER)
        if (reply := self._handshake(request)) is not None:
            return reply
        if request.method not in self.config.methods:
            return Reply(405, headers={"allow": ", ".join(self.config.methods), "connection": "close"})
        self._look_for_signature(request)
        body = await self._body(request, take)
        if (reply := self._echo_header(request, body)) is not None:
            return reply
        began = time.monotonic()
        judged = await self._judge(self._delivery(request, body))
        if not judged.verdict.good:
            raise Away(401, judged.verdict.reason)
        if self._allowance is not None and not self._allowance.take():
            raise Away(429, "too_many", retry_after=1)
        if judged.messages:
            await self._keep(judged.messages, began)
        return self._thanks(request)

    def _delivery(self, request: Request, body: bytes) -> Delivery:
        query = f"?{request.query}" if request.query else ""
        url = (self.config.public_url or self.config.path) + request.rest + query
        return Delivery(body, request.headers, request.method, url, request.rest)

    def _thanks(self, request: Request) -> Reply:
        answer, handshake = self.config.answer, self.config.handshake
        headers = {"content-type": answer.content_type, **answer.headers}
        if handshake is not None and handshake.every and handshake.echo_header is not None:
            headers[handshake.echo_header] = request.header(handshake.echo_header)
        return Reply(answer.status, answer.body.encode(), headers)

    # Handshakes.

    def _handshake(self, request: Request) -> Reply | None:
        """The answer to a partner that is trying our address out; None when it is not."""
        handshake = self.config.handshake
        if handshake is None:
            return None
        delivery = self._delivery(request, b"")
        if handshake.echo_query is not None:
            values = [value for name, value in delivery.query if name == handshake.echo_query]
            if len(values) == 1 and len(values[0]) <= LONGEST_ECHO:
                return Reply(200, values[0].encode(), {"content-type": "text/plain; charset=utf-8"})
        if handshake.every and request.method == "GET":
            verdict = verify(self.config.verify, delivery, time.time())
            if not verdict.good:
                raise Away(401, verdict.reason)
            return self._thanks(request)
        return None

    def _echo_header(self, request: Request, body: bytes) -> Reply | None:
        handshake = self.config.handshake
        if handshake is None or handshake.echo_header is None or handshake.every or body:
            return None
        value = request.header(handshake.echo_header)
        if not value or len(value) > LONGEST_ECHO or not (value.isascii() and value.isprintable()):
            return None
        return Reply(200, headers={"content-type": self.config.answer.content_type, handshake.echo_header: value})

    # Reading.

    def _look_for_signature(self, request: Request) -> None:
        """What has no signature where one must stand is not read."""
        place, handshake = self.config.verify.signature, self.config.handshake
        if place is None or place.field is not None or (handshake is not None and handshake.echo_header is not None):
            return
        if not place.values(self._delivery(request, b"")):
            raise Away(401, "no_signature", close=True)

    async def _body(self, request: Request, take: Callable[[int], None]) -> bytes:
        if request.method == "GET":
            return request.query.encode("latin-1")
        longest = self._longest(request.header("content-type"))
        if int(request.header("content-length") or 0) > longest:
            raise Away(413, "too_long", close=True)
        body = bytearray()
        try:
            async with asyncio.timeout(self.config.read_timeout):
                async for part in _parts(request.receive):
                    body += part
                    take(len(part))
                    if len(body) > longest:
                        raise Away(413, "too_long", close=True)
                    if self._unread > MOST_UNREAD:
                        raise Away(503, "too_much", close=True, retry_after=RETRY_AFTER)
        except TimeoutError:
            raise Away(408, "too_slow", close=True) from None
        return bytes(body)

    async def _judge(self, delivery: Delivery) -> Judged:
        now = time.time()
        if len(delivery.body) > LARGE_BODY:  # others have their turn meanwhile
            return await asyncio.to_thread(judge, self.config, delivery, now)
        return judge(self.config, delivery, now)

    # Keeping.

    async def _keep(self, messages: Sequence[Message], began: float) -> None:
        """Returns when the hub owns them; raises Away when it does not, or when the partner waits no longer.

        In the second case they are kept all the same, as soon as that goes: when they come again they are recognised.
        """
        task = asyncio.create_task(self._deliver_all(messages), name=f"webhook {self.name}")
        self._keeping.add(task)
        task.add_done_callback(self._kept)
        left = began + self.config.deadline * IN_TIME - time.monotonic()
        done, _ = await asyncio.wait([task], timeout=max(0.0, left))
        if not done:
            raise Away(503, "too_late", retry_after=RETRY_AFTER)
        error = task.exception()
        if error is None:
            return
        if not isinstance(error, HubError):
            raise error
        retry_after = error.retry_after if isinstance(error, Busy) else RETRY_AFTER
        raise Away(503, "not_kept", retry_after=retry_after)

    async def _deliver_all(self, messages: Sequence[Message]) -> None:
        await self._deliver(messages)

    def _kept(self, task: asyncio.Task[None]) -> None:
        self._keeping.discard(task)
        if not task.cancelled():
            task.exception()  # somebody has looked at it

    async def close(self) -> None:
        """What came is kept; what comes from now on is to come again."""
        self._closing = True
        if self._keeping:
            _, late = await asyncio.wait(list(self._keeping), timeout=ENDING)
            for task in late:
                task.cancel()

    # Telling.

    def _turn_away(self, reason: str) -> None:
        """Counted each time, told now and then; nothing of the request is."""
        self._deliver.turned_away(reason)
        now = time.monotonic()
        last, count = self._told.get(reason, (-TELL_EVERY, 0))
        if now - last < TELL_EVERY:
            self._told[reason] = last, count + 1
            return
        self._told[reason] = now, 0
        code = "WHK-001" if reason in DOUBTFUL else "WHK-003"
        log.warning("a webhook was turned away", connection=self.name, reason=reason, code=code, count=count + 1)


class Allowance:
    """So many in a second, a second's worth of them at once."""

    def __init__(self, rate: float) -> None:
        self._rate, self._most = rate, max(1.0, rate)
        self._left, self._at = self._most, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def places_of(config: WebhookConfig) -> list[Place]:
    """All places where something is read in a request."""
    verify = config.verify
    places = [verify.signature, verify.timestamp, verify.hash_name, verify.body_hash, *verify.parts.values()]
    return [place for place in (*places, config.event, config.resource, *config.dedupe) if place is not None]


async def _parts(receive: Callable[[], Awaitable[Any]]) -> Any:
    """The body as it comes.  Raises Away when the other side has gone."""
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Away(400, "gone", close=True)
        more = event.get("more_body", False)
        yield event.get("body", b"")

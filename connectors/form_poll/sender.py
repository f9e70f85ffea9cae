"""Posts a question, looks for its result until it is there, and tidies up after it.

A question whose id is known is never posted again: after a failure of the connection, or a crash, its result is looked for
first.  Only when no id came back (the connection broke between the question and its receipt) is it posted anew: an inquiry may
be repeated, it is only work for the payer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from urllib.parse import quote, urlsplit

import structlog

from connectors.form_poll.remembered import Remembered, is_id
from connectors.form_poll.settings import FormPollConfig
from hub.connector import Destination
from hub.errors import ConnectionDown, HubError, MessageRejected
from hub.formats.loose_json import Unreadable, read_object, text_of
from hub.message import Message
from hub.net.http import HttpClient, Response, is_web_page

log = structlog.get_logger(__name__)

GONE = (404, 410)
ORPHANED_AFTER = 86400.0
"""Seconds after which an id from a former run is given up: partners keep results no longer."""
TIDY_AT_MOST_EVERY = 30.0


class FormPoll(Destination[FormPollConfig]):
    """A partner that takes questions and has the answers later."""

    kind = "form_poll"
    repeat = "safe"

    def __init__(self, name: str, config: FormPollConfig) -> None:
        super().__init__(name, config)
        self._client: HttpClient | None = None
        self._remembered = Remembered(name, config.remember_in)
        self._answered: dict[str, float] = {}
        """Messages whose answer was handed over, and when; by the monotonic clock."""
        self._tidying: asyncio.Task[None] | None = None

    async def open_destination(self) -> None:
        if self._client is None:
            self._remembered.open()
            config = self.config
            self._client = HttpClient(self.name, auth=config.auth, timeout=config.timeout, tls=config.tls)
            self._tidying = asyncio.create_task(self._tidy_forever(), name=f"tidy {self.name}")

    async def send(self, message: Message) -> Message | None:
        await self.open_destination()
        id = await asyncio.to_thread(self._remembered.get, message.id)
        if id is not None:
            result = await self._result(id, at_once=True)
            if result is not None:
                return self._answer(message, result)
            await self._forget(message.id)
        receipt = await self._post(message)
        if isinstance(receipt, Message):
            return receipt
        id, at_once = receipt
        await asyncio.to_thread(self._remembered.put, message.id, id)
        result = await self._result(id, at_once=at_once)
        if result is None:
            await self._forget(message.id)
            raise MessageRejected(f"{self._host} knows nothing of the question it has just taken", answer="404")
        return self._answer(message, result)

    @property
    def _host(self) -> str:
        return urlsplit(self.config.url).netloc

    # Asking.

    async def _post(self, message: Message) -> Message | tuple[str, bool]:
        """The id a question was taken with, and whether its result may be there already; or the answer, when there is no id."""
        headers = {"Content-Type": self.config.content_type, "Idempotency-Key": message.id}
        response = await self._request("POST", self.config.url, content=message.body, headers=headers)
        if response.status_code in self.config.answers:
            return self._message(response)
        said = self._said(response)
        id = text_of(said.get(self.config.id_field)) or response.headers.get("location", "").rstrip("/").rpartition("/")[2]
        is_pending = self._is_pending(response, said)
        if is_id(id):
            return id, not is_pending
        if is_pending:
            what = f"took the question without an id in `{self.config.id_field}` or `Location`, so its result cannot be fetched"
            raise MessageRejected(f"{self._host} {what}", answer=str(response.status_code), reply=response.content)
        return self._message(response)

    async def _result(self, id: str, *, at_once: bool) -> Response | None:
        """What is there under an id, once it is finished; None when the partner knows nothing of it."""
        config, wait = self.config, self.config.poll_first
        end = time.monotonic() + config.give_up_after
        if not at_once:
            await asyncio.sleep(wait)
        while True:
            response = await self._request("GET", self._address(id))
            if response.status_code in GONE:
                return None
            if response.status_code in config.answers or not self._is_pending(response, self._said(response)):
                return response
            if time.monotonic() + wait > end:
                what = f"had no result within {config.give_up_after:g} s; the next attempt goes on looking for it"
                raise MessageRejected(f"{self._host} {what}", answer="not yet", code="NET-023")
            await asyncio.sleep(wait)
            wait = min(config.poll_most, wait * 2)

    def _address(self, id: str) -> str:
        return f"{self.config.url.rstrip('/')}/{quote(id, safe='')}"

    async def _request(
        self, method: str, url: str, *, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        """An answer that is meant for us: a good one, one of `answers`, or that a result is gone."""
        assert self._client is not None  # noqa: S101 - opened before anything is sent
        all_headers = {"Accept": "application/json", **self.config.headers, **(headers or {})}
        response = await self._client.exchange(method, url, content=content, headers=all_headers)
        is_gone = method != "POST" and response.status_code in GONE
        if not is_gone and response.status_code not in self.config.answers:
            self._client.raise_for(response)
        if not is_gone and response.content and not is_web_page(response.content):  # what is on the way says nothing of its end
            self._expect_headers(response)
        return response

    def _expect_headers(self, response: Response) -> None:
        for name, wanted in self.config.expect_headers.items():
            found = response.headers.get(name, "")
            if found.strip().lower() != wanted.strip().lower():
                is_there = f"says {name}: {found}" if found and not wanted else f"does not say {name}: {wanted}"
                raise ConnectionDown(
                    f"{self.name}: {self._host} {is_there}, so this may be another environment than it should be. Nothing more"
                    " is sent: check scope, address and `expect_headers`.",
                    code="NET-022",
                )

    def _said(self, response: Response) -> dict[str, Any]:
        if is_web_page(response.content):
            what = "a web page instead of JSON. Look at it in the attempt: it may be a page of maintenance or of a login"
            raise self._unreadable(response, what, code="MSG-007")
        if not response.content and response.status_code == 202:
            return {}
        try:
            return read_object(response.content)
        except Unreadable as error:
            raise self._unreadable(response, f"something that is no JSON object: {error}") from None

    def _unreadable(self, response: Response, what: str, code: str | None = None) -> MessageRejected:
        """Not final: what makes such answers passes, and the question is remembered."""
        status = response.status_code
        text = f"{self._host} answered {status} with {what}"
        return MessageRejected(text, answer=str(status), reply=response.content, code=code)

    def _is_pending(self, response: Response, said: dict[str, Any]) -> bool:
        return response.status_code == 202 or text_of(said.get(self.config.status_field)) in self.config.pending

    def _answer(self, message: Message, response: Response) -> Message:
        self._answered[message.id] = time.monotonic()
        return self._message(response)

    def _message(self, response: Response) -> Message:
        return Message(response.content, self.config.answer_format, headers={"answer": str(response.status_code)})

    # Tidying up.

    async def _forget(self, message: str) -> None:
        self._answered.pop(message, None)
        await asyncio.to_thread(self._remembered.forget, message)

    async def _tidy_forever(self) -> None:
        while True:
            await asyncio.sleep(min(max(self.config.keep_result, 0.05), TIDY_AT_MOST_EVERY))
            try:
                await self.tidy()
            except Exception as error:  # results that stay are no harm; the next round tries again
                log.info("results could not be tidied up", connection=self.name, error=type(error).__name__)

    async def tidy(self) -> None:
        """Deletes results that have long arrived, and what a former run has left behind."""
        now = time.monotonic()
        done = [message for message, at in self._answered.items() if now - at >= self.config.keep_result]
        done += await asyncio.to_thread(self._remembered.older_than, ORPHANED_AFTER)
        for message in done:
            id = await asyncio.to_thread(self._remembered.get, message)
            if id is not None and self.config.delete:
                with contextlib.suppress(HubError):  # it may be gone, or the partner may not allow it
                    await self._request("DELETE", self._address(id))
            await self._forget(message)

    async def check(self) -> str:
        await self.open_destination()
        assert self._client is not None  # noqa: S101 - opened above
        response = await self._client.exchange("HEAD", self.config.url)
        if response.status_code in (401, 403):
            self._client.raise_for(response)
        return f"{self._host} answers ({response.status_code})"

    async def close(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tidying
            self._tidying = None
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

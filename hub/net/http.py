"""The HTTP client of all API connectors: authentication, limits, and errors sorted into what the hub does next."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2 as httpx
from authlib.oauth2.rfc6749.wrappers import OAuth2Token

from hub.errors import ConnectionDown, MessageRejected
from hub.net.auth import Grant, HttpAuth, Tokens, TokenUnusable
from hub.net.tls import TlsClient, client_context, tls_failure
from hub.units import Duration

Response = httpx.Response
"""An answer, for connectors: httpx has its home here."""
MOST_ANSWER = 32 * 1024 * 1024
"""Bytes of an answer that are read, where documents are no part of answers."""
MOST_WITH_DOCUMENT = 96 * 1024 * 1024
"""Where they are: 64 MiB have 86 as base64."""
LATER = (408, 425, 429)
"""Answers of the 400s that are about the connection: try again later."""
NOT_DONE = (501, 503)
"""Errors of a server after which nothing was done (RFC 9110, section 15.6); after others it may have been."""
Content = bytes | AsyncIterable[bytes]
"""A body: whole, or in pieces, which can be gone through several times."""
_AT_ONCE = 256 * 1024
"""Bytes of a body that are given to the connection in one go: others have their turn in between."""


class _Pieces(AsyncIterable[bytes]):
    """A large body, cut."""

    def __init__(self, whole: bytes) -> None:
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._whole), _AT_ONCE):
            yield self._whole[start : start + _AT_ONCE]


class _Request:
    """How far one request is: whether any of it has left, which decides what is done about silence."""

    def __init__(self) -> None:
        self.left = False

    async def follow(self, event: str, _: Any) -> None:
        """Is told of every event of the connection (httpx's `trace`)."""
        if "send_request" in event:
            self.left = True


class HttpClient:
    """One partner's API.  Not following redirects: where patient data goes is for the clinic file to say."""

    def __init__(
        self, name: str, *, auth: HttpAuth, timeout: Duration, tls: TlsClient | None, most_answer: int = MOST_ANSWER
    ) -> None:
        self.name = name
        self._most_answer = most_answer
        self._auth = auth
        self._timeout = timeout
        verify: ssl.SSLContext | bool = client_context(tls) if tls is not None else True
        self._client = httpx.AsyncClient(
            auth=self._basic(), timeout=httpx.Timeout(timeout), verify=verify, follow_redirects=False, trust_env=False
        )
        self._tokens = Tokens(self._fetch_token) if auth.way == "oauth2" else None

    def _basic(self) -> httpx.BasicAuth | None:
        if self._auth.way != "basic" or self._auth.user is None:
            return None
        return httpx.BasicAuth(self._auth.user, self._auth.password.get_secret_value() if self._auth.password else "")

    async def request(
        self, method: str, url: str, *, content: Content | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer to a request, when it is a good one.

        Raises ConnectionDown (cannot reach, time-out, 401, 403, 408, 425, 429, 5xx, redirects) or MessageRejected (other 4xx).
        """
        response = await self.exchange(method, url, content=content, headers=headers)
        self.raise_for(response)
        return response

    async def exchange(
        self, method: str, url: str, *, content: Content | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer to a request, whatever its status: for protocols that have the outcome in the body.

        Raises ConnectionDown when there is none.
        """
        request = _Request()
        try:
            async with asyncio.timeout(self._timeout):  # httpx limits each read, this limits the whole
                return await self._authenticated(method, url, content, headers or {}, request)
        except TimeoutError:
            raise self._too_late(url, request) from None

    async def check(self, url: str) -> str:
        """What a partner answers when nothing is sent; its methods and its troubles are its own, credentials are ours.

        Raises ConnectionDown when nothing answers, refuses our credentials, or has moved.
        """
        response = await self.exchange("HEAD", url)
        status, place = response.status_code, httpx.URL(url).netloc.decode("ascii")
        if status in (401, 403) or 300 <= status < 400:
            self.raise_for(response)
        return f"{place} answers, but with an error ({status})" if status >= 500 else f"{place} answers ({status})"

    async def token(self) -> str:
        """The OAuth2 token, for a protocol that is not HTTP.  Raises ConnectionDown when there is none."""
        assert self._tokens is not None  # noqa: S101 - whoever asks has set OAuth2 up
        return await self._tokens.get()

    def token_refused(self, token: str) -> None:
        """That protocol did not take it: the next one is fetched anew."""
        if self._tokens is not None:
            self._tokens.refused(token)

    async def _authenticated(
        self, method: str, url: str, content: Content | None, headers: dict[str, str], request: _Request
    ) -> httpx.Response:
        if self._tokens is None:
            return await self._once(method, url, content, {**headers, **self._key()}, request)
        token = await self._tokens.get()
        response = await self._once(method, url, content, {**headers, "Authorization": f"Bearer {token}"}, request)
        if response.status_code != 401:
            return response
        request.left = False  # it was answered, and with a no
        self._tokens.refused(token)  # it may have been withdrawn early: ask for another, once
        token = await self._tokens.get()
        return await self._once(method, url, content, {**headers, "Authorization": f"Bearer {token}"}, request)

    def _key(self) -> dict[str, str]:
        if self._auth.way != "api_key" or self._auth.api_key is None:
            return {}
        return {self._auth.header: self._auth.key_text}

    async def _fetch_token(self) -> OAuth2Token:
        grant = Grant(self._auth)
        headers, body = grant.request()
        try:
            response = await self._once("POST", grant.url, body, headers, _Request())
        except ConnectionDown as error:
            error.maybe_done = False  # what was to be asked has not left yet
            raise
        host = httpx.URL(grant.url).host
        if 400 <= response.status_code < 500 and response.status_code not in LATER:
            why = grant.refusal(response.content) or str(response.status_code)
            raise ConnectionDown(
                f"{self.name}: {host} gave no access token ({why}). Check client id, secret and scope.", code="NET-020"
            )
        self.raise_for(response, "auth.token_url")
        try:
            return grant.read(response.content)
        except TokenUnusable as error:
            raise ConnectionDown(f"{self.name}: {host} gave no usable access token: {error}", code="NET-020") from None

    async def _once(
        self, method: str, url: str, content: Content | None, headers: dict[str, str], request: _Request
    ) -> httpx.Response:
        if isinstance(content, bytes) and len(content) > _AT_ONCE:
            headers, content = {**headers, "Content-Length": str(len(content))}, _Pieces(content)
        follow = {"trace": request.follow}
        try:
            async with self._client.stream(method, url, content=content, headers=headers, extensions=follow) as response:
                return await self._read(response)
        except httpx.TimeoutException:
            raise self._too_late(url, request) from None
        except httpx.HTTPError as error:
            raise self._unreachable(url, error, request) from None

    def _too_late(self, url: str, request: _Request) -> ConnectionDown:
        text = f"{self.name}: {httpx.URL(url).host} did not answer in time"
        return ConnectionDown(text, unanswered=request.left, maybe_done=request.left)

    def _unreachable(self, url: str, error: httpx.HTTPError, request: _Request) -> ConnectionDown:
        host, words = httpx.URL(url).host, tls_failure(error)
        if words:
            return ConnectionDown(f"{self.name}: TLS with {host} failed: {words}", code="TLS-003")
        return ConnectionDown(f"{self.name}: cannot reach {host}: {type(error).__name__}", maybe_done=request.left)

    async def _read(self, response: httpx.Response) -> httpx.Response:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._most_answer:
                raise ConnectionDown(f"{self.name}: the answer is longer than {self._most_answer} bytes", maybe_done=True)
        return httpx.Response(
            response.status_code, headers=_plain(response.headers.raw), content=bytes(body), request=response.request
        )

    def raise_for(self, response: httpx.Response, setting: str = "url") -> None:
        """Sorts what is no good answer by its status; the setting is the one that says where the request went.

        Raises ConnectionDown or MessageRejected, as `request` says.
        """
        status, host = response.status_code, response.request.url.host
        if 200 <= status < 300:
            return
        if status in (401, 403):
            raise ConnectionDown(
                f"{self.name}: {host} refuses our credentials ({status}). Check them with the vendor.", code="NET-020"
            )
        if status in LATER or status >= 500:
            maybe_done = status >= 500 and status not in NOT_DONE
            wait = _retry_after(response)
            raise ConnectionDown(f"{self.name}: {host} answers {status}", retry_after=wait, maybe_done=maybe_done)
        if 300 <= status < 400:
            raise ConnectionDown(
                f"{self.name}: {host} answers {status}; redirects are not followed, write the new address into `{setting}`",
                code="NET-021",
            )
        raise MessageRejected(f"{host} answered {status}", answer=str(status), final=True, reply=response.content)

    async def close(self) -> None:
        await self._client.aclose()


def is_web_page(body: bytes) -> bool:
    """True for what a person would see in a browser: an error or login page, whatever the status says."""
    head = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html"))


def _plain(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers without those that speak of an encoding which has been undone; as bytes, for they may be anything."""
    undone = (b"content-encoding", b"content-length", b"transfer-encoding")
    return [(name, value) for name, value in headers if name.lower() not in undone]


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header, given as a number or a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time()) if text else None
    except (ValueError, TypeError):
        return None

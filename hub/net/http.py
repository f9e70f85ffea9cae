"""The HTTP client of all API connectors: authentication, limits, and errors sorted into what the hub does next."""

from __future__ import annotations

import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx2 as httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from pydantic import BaseModel, ConfigDict, SecretStr

from hub.errors import ConnectionDown, MessageRejected
from hub.net.tls import TlsClient, client_context
from hub.units import Duration

MOST_ANSWER = 32 * 1024 * 1024
"""Bytes of an answer that are read."""


class HttpAuth(BaseModel):
    """How to prove who we are.  What is filled in decides: OAuth2, basic, or a key in a header."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, hide_input_in_errors=True)

    token_url: str | None = None
    """OAuth2 client credentials: where to fetch the token."""
    client_id: str | None = None
    """OAuth2 client id."""
    client_secret: SecretStr | None = None
    """OAuth2 client secret."""
    scope: str | None = None
    """OAuth2 scope; with some vendors it decides between test and production."""
    user: str | None = None
    """Basic authentication: user name."""
    password: SecretStr | None = None
    """Basic authentication: password."""
    header: str = "Authorization"
    """API key: the header it goes into."""
    api_key: SecretStr | None = None
    """API key, as the vendor wants it in the header."""

    @property
    def way(self) -> Literal["oauth2", "basic", "api_key", "none"]:
        if self.token_url or self.client_id:
            return "oauth2"
        if self.user:
            return "basic"
        return "api_key" if self.api_key else "none"


class HttpClient:
    """One partner's API.  Not following redirects: where patient data goes is for the clinic file to say."""

    def __init__(self, name: str, *, auth: HttpAuth, timeout: Duration, tls: TlsClient | None) -> None:
        self.name = name
        self._auth = auth
        verify: ssl.SSLContext | bool = client_context(tls) if tls is not None else True
        options: dict[str, Any] = {
            "timeout": httpx.Timeout(timeout),
            "verify": verify,
            "follow_redirects": False,
            "trust_env": False,
        }
        self._client: Any
        if auth.way == "oauth2":
            secret = auth.client_secret.get_secret_value() if auth.client_secret else None
            self._client = AsyncOAuth2Client(
                auth.client_id,
                secret,
                scope=auth.scope,
                token_endpoint=auth.token_url,
                grant_type="client_credentials",
                leeway=10,
                **options,
            )
        else:
            self._client = httpx.AsyncClient(auth=self._basic(), **options)

    def _basic(self) -> httpx.BasicAuth | None:
        if self._auth.way != "basic" or self._auth.user is None:
            return None
        return httpx.BasicAuth(self._auth.user, self._auth.password.get_secret_value() if self._auth.password else "")

    async def request(
        self, method: str, url: str, *, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer to a request, when it is a good one.

        Raises ConnectionDown (cannot reach, time-out, 401, 403, 408, 425, 429, 5xx, redirects) or MessageRejected (other 4xx).
        """
        headers = dict(headers or {})
        if self._auth.way == "api_key" and self._auth.api_key is not None:
            headers[self._auth.header] = self._auth.api_key.get_secret_value()
        response = await self._once(method, url, content, headers)
        if response.status_code == 401 and self._auth.way == "oauth2":
            self._client.token = None  # the token may have been withdrawn early: ask for another, once
            response = await self._once(method, url, content, headers)
        self._raise_for(response)
        return response

    async def _once(self, method: str, url: str, content: bytes | None, headers: dict[str, str]) -> httpx.Response:
        host = httpx.URL(url).host
        try:
            if self._auth.way == "oauth2" and not self._client.token:
                await self._client.fetch_token(self._auth.token_url, grant_type="client_credentials")
            async with self._client.stream(method, url, content=content, headers=headers) as response:
                return await self._read(response)
        except httpx.TimeoutException:
            raise ConnectionDown(f"{self.name}: {host} did not answer in time") from None
        except httpx.HTTPError as error:
            raise ConnectionDown(f"{self.name}: cannot reach {host}: {type(error).__name__}") from None
        except OAuthError as error:
            raise ConnectionDown(
                f"{self.name}: {host} gave no access token: {error.error}. Check client id, secret and scope.", code="NET-020"
            ) from None
        except (KeyError, ValueError) as error:
            raise ConnectionDown(
                f"{self.name}: {host} gave no usable access token: {type(error).__name__}", code="NET-020"
            ) from None

    async def _read(self, response: httpx.Response) -> httpx.Response:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MOST_ANSWER:
                raise ConnectionDown(f"{self.name}: the answer is longer than {MOST_ANSWER} bytes")
        return httpx.Response(
            response.status_code, headers=_plain(response.headers), content=bytes(body), request=response.request
        )

    def _raise_for(self, response: httpx.Response) -> None:
        status, host = response.status_code, response.request.url.host
        if 200 <= status < 300:
            return
        if status in (401, 403):
            raise ConnectionDown(
                f"{self.name}: {host} refuses our credentials ({status}). Check them with the vendor.", code="NET-020"
            )
        if status in (408, 425, 429) or status >= 500:
            raise ConnectionDown(f"{self.name}: {host} answers {status}", retry_after=_retry_after(response))
        if 300 <= status < 400:
            raise ConnectionDown(
                f"{self.name}: {host} answers {status}; redirects are not followed, write the new address into `url`",
                code="NET-021",
            )
        raise MessageRejected(f"{host} answered {status}", answer=str(status), final=True, reply=response.content)

    async def close(self) -> None:
        await self._client.aclose()


def _plain(headers: httpx.Headers) -> list[tuple[str, str]]:
    """Headers without those that speak of an encoding which has been undone."""
    return [
        (name, value)
        for name, value in headers.items()
        if name not in ("content-encoding", "content-length", "transfer-encoding")
    ]


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header, given as a number or a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time()) if text else None
    except (ValueError, TypeError):
        return None

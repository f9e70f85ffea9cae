"""Where the API of our account is, and asking it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from connectors.esign.settings import EsignConfig
from hub.calls import Api
from hub.errors import ConnectionDown, MessageRejected
from hub.net.hosts import check_url


class Service:
    """The API of a signing service, at an address that may have to be asked for first."""

    def __init__(self, name: str, config: EsignConfig) -> None:
        self._name, self._config = name, config
        self._api: Api | None = None
        self._url = "" if config.discover is not None else config.url
        self._is_sure = config.discover is None
        self._former: list[Api] = []
        """Of addresses that were left; others may still be asking there."""
        self._asking = asyncio.Lock()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Api]:
        """The API.  After any failure its address is asked for again: accounts move.  Raises ConnectionDown."""
        async with self._asking:
            api = await self._there()
        try:
            yield api
        except (ConnectionDown, MessageRejected):
            self._is_sure = self._config.discover is None
            raise

    async def _there(self) -> Api:
        if not self._is_sure:
            url = await self._told_url()
            if url != self._url and self._api is not None:
                self._former.append(self._api)
                self._api = None
            self._url, self._is_sure = url, True
        if self._api is None:
            self._api = Api(self._name, self._config.model_copy(update={"url": self._url}))
        return self._api

    async def _told_url(self) -> str:
        """The host that the vendor names, with the path of the settings."""
        discover = self._config.discover
        assert discover is not None  # noqa: S101 - there is an address without it
        vendor = urlsplit(discover.url).netloc
        asked = Api(self._name, self._config.model_copy(update={"url": discover.url}))
        try:
            found = await asked.find(discover.call, self._config.values)
        except MessageRejected as error:
            raise self._lost(f"{vendor} does not tell the address of our account: {error}") from None
        finally:
            await asked.close()
        told = found.text("url") if found is not None else None
        if told is None:
            raise self._lost(f"{vendor} names no address of our account. Check `values` and the user")
        try:
            parts = urlsplit(told)
            url = f"{parts.scheme}://{parts.netloc}{urlsplit(self._config.url).path}"
            check_url(url, allow_plaintext=self._config.allow_plaintext)
        except ValueError as error:
            raise self._lost(f"the address of our account cannot be used: {error}") from None
        if not _is_allowed(parts.hostname or "", discover.hosts):
            why = (
                "`discover.hosts` does not allow; documents go nowhere else. Ask the vendor, and add the host when it is right"
            )
            raise self._lost(f"{vendor} names an address that {why}")
        return url

    def _lost(self, why: str) -> ConnectionDown:
        return ConnectionDown(f"{self._name}: {why}", code="NET-021")

    async def check(self) -> str:
        async with self.opened() as api:
            return await api.check()

    async def close(self) -> None:
        apis, self._api, self._former = [*self._former, self._api], None, []
        self._is_sure = self._config.discover is None
        for api in apis:
            if api is not None:
                await api.close()


def _is_allowed(host: str, allowed: list[str]) -> bool:
    return any(host == one or (one.startswith(".") and host.endswith(one)) for one in allowed)

"""How a connection gets into its mail server: with a password, or with a token that is fetched as needed."""

from __future__ import annotations

import time

from connectors.mail.settings import MailboxConfig, MailSenderConfig
from hub.errors import ConnectionDown
from hub.net.http import HttpClient
from hub.net.mail import LOGIN_PAUSE, MailServer

TOKEN_WITHIN = 30.0
"""Seconds an answer of the token address may take."""
LONGEST_PAUSE = 3600.0
"""Seconds between two logins at most, while they are refused."""


class Access:
    """Gives the server as it is to be used now, and keeps count of refused logins: more often would lock our account."""

    def __init__(self, name: str, config: MailSenderConfig | MailboxConfig) -> None:
        self._name, self._config = name, config
        self._client: HttpClient | None = None
        self._token = ""
        self._refused = 0
        self._not_before = 0.0
        """By the monotonic clock."""

    async def server(self) -> MailServer:
        """Raises ConnectionDown when there is no token, or it is too early to try again."""
        config = self._config
        if time.monotonic() < self._not_before:
            wait = self._not_before - time.monotonic()
            text = f"{self._name}: the mail server has refused our login; it is tried again later"
            raise ConnectionDown(text, retry_after=wait, code="NET-020")
        if config.oauth is not None:
            self._client = self._client or HttpClient(self._name, auth=config.oauth.auth(), timeout=TOKEN_WITHIN, tls=None)
            self._token = await self._client.token()
        password = config.password.get_secret_value() if config.password is not None else ""
        return MailServer(
            config.host, config.port, config.encryption, config.user, password, self._token, config.tls, config.timeout
        )

    def failed(self, error: ConnectionDown) -> None:
        """Something went wrong with the connection; after a refused login the next has to wait."""
        if error.code != "NET-020":
            return
        if self._client is not None and self._token:
            self._client.token_refused(self._token)
        self._refused += 1
        error.retry_after = min(LOGIN_PAUSE * 2 ** (self._refused - 1), LONGEST_PAUSE)
        self._not_before = time.monotonic() + error.retry_after

    def worked(self) -> None:
        self._refused = 0

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

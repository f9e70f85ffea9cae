"""One exchange with a partner: an envelope goes out, an envelope or an error comes back."""

from __future__ import annotations

from urllib.parse import urlsplit

from connectors.caqh_core import form, soap
from connectors.caqh_core.envelope import Envelope, Exchange, NotCore
from connectors.caqh_core.errors import error_of, error_of_fault, is_success
from connectors.caqh_core.settings import CoreSettings
from connectors.caqh_core.soap import SoapFault
from hub.errors import MessageRejected
from hub.net.auth import HttpAuth
from hub.net.http import HttpClient, is_web_page


class CoreClient:
    """A partner's CORE endpoint."""

    def __init__(self, name: str, config: CoreSettings) -> None:
        self._name, self._config = name, config
        self._host = urlsplit(config.url).netloc
        self._http = HttpClient(name, auth=HttpAuth(), timeout=config.timeout, tls=config.tls)

    async def exchange(self, exchange: Exchange, envelope: Envelope) -> Envelope:
        """The answer, when its ErrorCode is Success.

        Raises ConnectionDown (no answer, our credentials or settings refused), MessageRejected (this envelope refused, or no
        envelope came), MessageUnusable (the payload cannot be written).
        """
        config = self._config
        if config.form == "soap":
            content, kind = soap.write(exchange, envelope, config.login, config.payload)
        else:
            content, kind = form.write(exchange, envelope, config.login)
        response = await self._http.exchange("POST", config.url, content=content, headers={"Content-Type": kind})
        read = soap.read if config.form == "soap" else form.read
        try:
            answer = read(response.content, response.headers.get("content-type", ""))
        except SoapFault as fault:
            raise error_of_fault(self._name, self._host, fault) from None
        except NotCore as error:
            self._http.raise_for(response)  # without an envelope the status is all there is
            raise self._no_envelope(response.status_code, response.content, str(error)) from None
        if not is_success(answer.error_code):
            raise error_of(self._name, self._host, answer, config.error_codes)
        if not answer.error_code:
            self._http.raise_for(response)
        return answer

    def _no_envelope(self, status: int, body: bytes, why: str) -> MessageRejected:
        what = "nothing" if not body else "a web page" if is_web_page(body) else f"no CORE envelope ({why})"
        return MessageRejected(
            f"{self._host} answered {status} with {what}. Look at it in the attempt; check `url` and `form`, then replay.",
            answer="no envelope",
            reply=body,
            code="MSG-007",
        )

    async def check(self) -> str:
        """Reaches the partner without sending an envelope."""
        return await self._http.check(self._config.url)

    async def close(self) -> None:
        await self._http.close()

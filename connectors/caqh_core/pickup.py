"""The connection that fetches what became of batches: 999s, TA1s and 271s, each acknowledged once the hub owns it."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime

import structlog

from connectors.caqh_core.client import CoreClient
from connectors.caqh_core.envelope import (
    ACKNOWLEDGEMENT_RETRIEVAL,
    RESULTS_ACKNOWLEDGEMENT,
    RESULTS_RETRIEVAL,
    Envelope,
    Exchange,
)
from connectors.caqh_core.settings import CaqhCorePickupConfig
from hub.connector import Deliver, Poller
from hub.errors import ConnectionDown, MessageRejected
from hub.formats.x12.replies import build_replies
from hub.message import Message

log = structlog.get_logger(__name__)


class CaqhCorePickup(Poller[CaqhCorePickupConfig]):
    """A partner's acknowledgements and results of batches, fetched in envelopes of CAQH CORE connectivity rule vC2.2.0."""

    kind = "caqh_core_pickup"

    def __init__(self, name: str, config: CaqhCorePickupConfig) -> None:
        super().__init__(name, config)
        self._client: CoreClient | None = None

    async def poll(self, deliver: Deliver) -> None:
        for kind in self.config.acknowledgements:
            await self._fetch_all(ACKNOWLEDGEMENT_RETRIEVAL, kind, deliver)
        for kind in self.config.results:
            await self._fetch_all(RESULTS_RETRIEVAL, kind, deliver)

    async def _fetch_all(self, exchange: Exchange, kind: str, deliver: Deliver) -> None:
        """One file after another, until there is none, or one comes again."""
        seen: set[str] = set()
        for _ in range(self.config.most):
            answer = await self._fetch(exchange, kind)
            if answer is None:
                return
            digest = hashlib.sha256(answer.payload).hexdigest()
            if digest in seen:
                return  # this partner offers a file until it is acknowledged, or for good
            seen.add(digest)
            await deliver([Message(answer.payload, "x12", headers={"payload_type": answer.payload_type}, duplicate_key=digest)])
            if exchange is RESULTS_RETRIEVAL and self.config.acknowledge:
                await self._acknowledge(answer)

    async def _fetch(self, exchange: Exchange, kind: str) -> Envelope | None:
        """The next file; None when there is none."""
        wanted = self._envelope(kind, self.config.payload_id or str(uuid.uuid4()))
        try:
            answer = await self._core().exchange(exchange, wanted)
        except MessageRejected as error:
            if self._means_nothing(error.answer):
                return None
            raise ConnectionDown(f"{self.name}: {error}", code=error.code) from None
        if not answer.payload or self._means_nothing(answer.payload_type):
            return None
        if not answer.checksum_fits:
            raise ConnectionDown(
                f"{self.name}: a file is not what its CheckSum says; it was not taken, and is fetched again", code="COR-004"
            )
        return answer

    def _means_nothing(self, text: str) -> bool:
        return any(word.lower() in text.lower() for word in self.config.nothing if word)

    async def _acknowledge(self, results: Envelope) -> None:
        """A 999 or TA1 for results; when the partner does not take it, the file comes again and is known."""
        number = int.from_bytes(hashlib.sha256(results.payload).digest()[:8], "big") % 999_999_999 + 1
        reply = build_replies(results.payload, control_number=number, now=datetime.now(UTC))
        if reply is None:
            return
        kind = "X12_TA1_SubmissionRequest_00501X231A1" if b"ST*999" not in reply else "X12_999_SubmissionRequest_005010X231A1"
        envelope = self._envelope(kind, results.payload_id or str(uuid.uuid4()), reply)
        try:
            await self._core().exchange(RESULTS_ACKNOWLEDGEMENT, envelope)
        except MessageRejected as error:
            log.warning("an acknowledgement of results was refused", connection=self.name, code=error.code, reason=str(error))

    def _envelope(self, payload_type: str, payload_id: str, payload: bytes = b"") -> Envelope:
        return Envelope(payload_type, payload, payload_id, sender=self.config.sender_id, receiver=self.config.receiver_id)

    def _core(self) -> CoreClient:
        if self._client is None:
            self._client = CoreClient(self.name, self.config)
        return self._client

    async def check(self) -> str:
        return await self._core().check()

    async def close(self) -> None:
        await super().close()
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

"""The connection that sends X12 in CORE envelopes: a question in real time, or a file of many."""

from __future__ import annotations

from connectors.caqh_core.client import CoreClient
from connectors.caqh_core.envelope import REAL_TIME, SUBMISSION, Envelope, payload_id
from connectors.caqh_core.settings import CaqhCoreConfig
from hub.connector import Destination
from hub.errors import MessageRejected, MessageUnusable
from hub.message import Message


class CaqhCore(Destination[CaqhCoreConfig]):
    """A partner that takes X12 in envelopes of CAQH CORE connectivity rule vC2.2.0."""

    kind = "caqh_core"
    repeat = "safe"

    def __init__(self, name: str, config: CaqhCoreConfig) -> None:
        super().__init__(name, config)
        self._client: CoreClient | None = None

    async def open_destination(self) -> None:
        if self._client is None:
            self._client = CoreClient(self.name, self.config)

    async def send(self, message: Message) -> Message | None:
        await self.open_destination()
        assert self._client is not None  # noqa: S101 - opened above
        envelope = Envelope(
            payload_type=self._payload_type(message),
            payload=message.body,
            payload_id=payload_id(message.id),
            sender=self.config.sender_id,
            receiver=self.config.receiver_id,
        )
        if self.config.mode == "batch":
            await self._client.exchange(SUBMISSION, envelope)
            return None
        answer = await self._client.exchange(REAL_TIME, envelope)
        if not answer.payload:
            raise MessageRejected(
                f"{self.name}: the partner answered Success without a payload; ask it what became of the question",
                answer="no payload",
                code="MSG-007",
            )
        return Message(answer.payload, "x12", headers={"answer": answer.error_code or "Success"})

    def _payload_type(self, message: Message) -> str:
        found = self.config.payload_types.get(message.type)
        if found is None:
            known = ", ".join(self.config.payload_types) or "none"
            raise MessageUnusable(
                f"{self.name}: there is no PayloadType for messages of this type; those there are: {known}. Add it to"
                " `payload_types`.",
                code="COR-003",
            )
        return found

    async def check(self) -> str:
        await self.open_destination()
        assert self._client is not None  # noqa: S101 - opened above
        return await self._client.check()

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

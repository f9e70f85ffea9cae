"""The listener: receives, hands over, and answers when the message is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from typing import Literal

from pydantic import Field, model_validator

from connectors.mllp.peer import Peer
from connectors.mllp.received import Accepts, Rules
from connectors.mllp.unkept import Unkept
from hub.connector import Deliver, Source, SourceConfig
from hub.errors import ConnectionDown
from hub.formats.hl7v2.conformance import Conformance
from hub.net.hosts import HostName, is_loopback
from hub.net.tls import ServerTls, TlsServer
from hub.units import Duration, Size


class ListenerConfig(SourceConfig):
    """Receives HL7 v2 over MLLP."""

    host: HostName = "127.0.0.1"
    """Address to listen on; only this machine unless you say otherwise."""
    port: int = Field(ge=0, le=65535)
    """TCP port; 0 takes a free one."""
    tls: TlsServer | None = None
    """TLS, with `client_ca` for mutual TLS."""
    allow_plaintext: str | None = None
    """Why this listener may do without TLS although it is not on this machine alone, in a few words."""
    allow_from: list[str] = []
    """Addresses or networks that may connect, such as 10.20.0.0/16; all when empty."""
    charset: str | None = None
    """Charset of the sender, over what MSH-18 says."""
    max_frame: Size = Field(default=20 * 1024 * 1024, ge=1024)
    """Longest message; a longer one is answered AR and thrown away."""
    max_connections: int = Field(default=1000, ge=1)
    """Connections at once; more are closed at once."""
    frame_timeout: Duration = Field(default=30.0, gt=0)
    """How long one message may take to arrive, and how long the sender may take to accept an answer."""
    idle_timeout: Duration = Field(default=0.0, ge=0)
    """Closes a connection on which nothing came for so long; 0s leaves it open, as many senders are silent for hours."""
    lenient_start: bool = False
    """Accept messages without the 0B before them, as some old senders write them."""
    commit_bytes: bool = False
    """MLLP release 2: each frame is answered with the byte 06 once it is on disk, or 15 when it cannot be kept."""
    accept: Accepts = Accepts()
    """Which message types, processing ids and versions are taken."""
    missing_control_id: Literal["reject", "accept"] = "reject"
    """Messages without MSH-10 are answered AE; or taken, for senders that would send them again for ever."""
    reply: Literal["on_receipt", "after_flow", "after_delivery", "never"] = "on_receipt"
    """When to answer: once the message is on disk, once its flows are done, once what they sent on is delivered too, or not at
    all. An accept acknowledgement (enhanced mode) never waits for flows."""
    reply_timeout: Duration = Field(default=20.0, gt=0)
    """With `after_flow` and `after_delivery`: how long to wait before answering AE."""
    batch_reply: Literal["each", "together"] = "each"
    """Messages that came in a batch (BHS) are answered each in a frame of its own, or together in one batch of acknowledgements
    (BHS, acknowledgements, BTS)."""
    application_ack: Literal["same_connection", "by_flow"] = "same_connection"
    """Where application acknowledgements of enhanced mode go: back on the connection, or to another one by a flow with the
    step `acknowledge`."""

    conformance: Literal["off", "sample", "all"] = "off"
    """Looks after the answer whether messages are as the standard says (`sample`: one of a hundred), with hl7apy in a process
    of its own. Warnings stand on the message's timeline; nothing is refused for them."""

    @model_validator(mode="after")
    def _plain_text_needs_a_reason(self) -> ListenerConfig:
        if self.tls is None and not is_loopback(self.host) and not self.allow_plaintext:
            raise ValueError("listening beyond this machine needs `tls`, or `allow_plaintext` with the reason why not")
        for network in self.allow_from:
            ipaddress.ip_network(network, strict=False)
        return self


class MllpListener(Source[ListenerConfig]):
    """Receives HL7 v2 messages and acknowledges them."""

    kind = "mllp_listener"

    def __init__(self, name: str, config: ListenerConfig) -> None:
        super().__init__(name, config)
        self._server: asyncio.Server | None = None
        self._networks = [ipaddress.ip_network(network, strict=False) for network in config.allow_from]
        self.rules = Rules(
            name,
            config.charset,
            config.accept if config.accept != Accepts() else None,
            without_control_id=config.missing_control_id == "accept",
            carries_header=config.application_ack == "by_flow",
            answers_together=config.batch_reply == "together",
        )
        self.conformance = Conformance(config.conformance) if config.conformance != "off" else None
        self.peers: set[Peer] = set()
        self.unkept = Unkept(name)
        self.deliver: Deliver

    @property
    def port(self) -> int:
        """The port it listens on; tells which one was free when the setting is 0."""
        return self._server.sockets[0].getsockname()[1] if self._server and self._server.sockets else self.config.port

    async def open(self, deliver: Deliver) -> None:
        self.deliver = deliver
        context = ServerTls(self.config.tls).context if self.config.tls else None
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Peer(self), self.config.host, self.config.port, ssl=context, backlog=512
            )
        except OSError as error:
            raise ConnectionDown(
                f"{self.name}: cannot listen on {self.config.host}:{self.config.port}: {error.strerror}",
                code="NET-010",
            ) from None

    def welcomes(self, address: str) -> bool:
        if len(self.peers) >= self.config.max_connections:
            return False
        if not self._networks:
            return True
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self._networks)

    async def close(self) -> None:
        self.unkept.close()
        if self.conformance is not None:
            await self.conformance.close()
        if self._server is None:
            return
        self._server.close()
        await asyncio.gather(*(peer.finish() for peer in list(self.peers)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await self._server.wait_closed()
        self._server = None

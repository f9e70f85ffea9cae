"""HL7 v2 over TCP: the minimal lower layer protocol (HL7 v2 implementation guide, appendix C: `0B` message `1C 0D`).

The listener answers when the message is on disk, not before; the sender takes an acknowledgement only for the message it
belongs to (MSA-2 = MSH-10), and never uses a connection again on which an answer was missing.
"""

from connectors.mllp.framing import Frame, Framer, framed
from connectors.mllp.listener import ListenerConfig, MllpListener
from connectors.mllp.sender import MllpSender, SenderConfig
from connectors.mllp.step import Acknowledge
from hub.connector import AnyConnector
from hub.hookspecs import hookimpl
from hub.step import AnyStep

__all__ = ["Frame", "Framer", "ListenerConfig", "MllpListener", "MllpSender", "SenderConfig", "framed"]


@hookimpl
def register_connectors() -> list[type[AnyConnector]]:
    return [MllpListener, MllpSender]


@hookimpl
def register_steps() -> list[type[AnyStep]]:
    return [Acknowledge]

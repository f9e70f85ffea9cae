"""Application acknowledgements that come back on a connection of their own, and the senders that wait for them.

Nothing here is kept on disk: a message whose acknowledgement has not come is still to be sent, so that after a restart it goes
again under its control id.
"""

from __future__ import annotations

from typing import Protocol

from hub.formats.hl7v2 import Acknowledgement


class Waiter(Protocol):
    """A message that was accepted and waits for its application acknowledgement."""

    def acknowledged(self, acknowledgement: Acknowledgement, frame: bytes) -> None: ...


_waiting: dict[tuple[str, str], Waiter] = {}
"""By the name of the listener the acknowledgement comes in by, and the control id it is about."""


def wait(listener: str, control_id: str, waiter: Waiter) -> None:
    _waiting[listener, control_id] = waiter


def forget(listener: str, control_id: str, waiter: Waiter) -> None:
    if _waiting.get((listener, control_id)) is waiter:
        del _waiting[listener, control_id]


def came(listener: str, acknowledgement: Acknowledgement, frame: bytes) -> None:
    """Tells whoever waits for it."""
    waiter = _waiting.pop((listener, acknowledgement.control_id), None)
    if waiter is not None:
        waiter.acknowledged(acknowledgement, frame)

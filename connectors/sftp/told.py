"""What a server tells: its files, that it does not let us do something, and a host key nobody has pinned."""

from __future__ import annotations

from dataclasses import dataclass

from hub.errors import ConnectionDown


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the server lists it."""

    name: bytes
    size: int
    changed: int
    """Seconds since 1970, by the server's clock."""
    plain: bool
    """False for folders, links and the like."""


class NotAllowed(ConnectionDown):
    """The server does not let us do that."""

    code = "SFT-005"


def wrong_key(name: str, where: str, shown: str, *, pinned: bool) -> ConnectionDown:
    """The server is not, or not yet, known; says what to do."""
    if pinned:
        text = (
            f"{name}: {where} shows another host key than the pinned one: {shown}. Nothing was sent. It is never accepted by "
            "itself: ask the partner by another way whether the key is new, then change `host_key`"
        )
        return ConnectionDown(text, code="SFT-002")
    text = (
        f"{name}: no `host_key` is pinned, and nothing was sent; {where} shows {shown}. Compare it with what the partner gave "
        "you by another way, then set `host_key` to it"
    )
    return ConnectionDown(text, code="SFT-001")

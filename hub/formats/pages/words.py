"""What the two sides of the door agree on: the states of a document, and how much one may cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal[
    "whole", "encrypted", "broken", "too_many_pages", "too_large", "not_a_document", "took_too_long", "no_such_page"
]
"""What came of reading a document; everything but `whole` is why it cannot be used."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the reading of one document may cost; beyond that it ends with a state that says what was too much."""

    document: int = 64 * MIB
    """Bytes of all documents that are given."""
    result: int = 128 * MIB
    """Bytes of what is made of them."""
    pages: int = 1000
    """Pages of one document."""
    read: int = 100
    """Pages, from the first on, whose text is read."""
    scanned: int = 20
    """Pages, from the first on, on which bar codes are looked for; where one is found, on the others too as long as there is
    time."""
    text: int = 20_000
    """Characters of one page."""
    pixels: int = 40_000_000
    """Of one page of a scan or fax: A4 at 600 dpi has 35 million."""
    seconds: int = 20
    """Of the processor."""
    wall: float = 30.0
    """Seconds by the clock on the wall."""
    memory: int = 1024 * MIB
    """Address space of the process that reads, besides the documents themselves."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class CannotRead(Exception):
    """Inside the process: the document ends in this state."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state: State = state

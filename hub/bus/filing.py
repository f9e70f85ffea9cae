"""What a message is filed under: search keys, and the lane that keeps it in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from hub.catalogue import Catalogue
from hub.format import Keys
from hub.message import Message
from hub.security.seal import Seal
from hub.texts import whole_characters

SECRET_KINDS = frozenset({"patient", "member"})
"""Kinds of ids that are patient data and are kept as keyed digests."""


class Filing:
    """Knows how ids are written into the store and looked up again."""

    def __init__(self, catalogue: Catalogue, seal: Seal) -> None:
        self._formats = catalogue.formats
        self._seal = seal

    async def keys_of(self, message: Message) -> Keys:
        """What a message is filed under by its own headers; a large body is looked through beside the event loop."""
        if message.large and message.format in self._formats:
            return await asyncio.to_thread(self.keys, message, message.headers)
        return self.keys(message, message.headers)

    def keys(self, message: Message, headers: Mapping[str, str]) -> Keys:
        """Never fails: a codec that does is a codec that found nothing."""
        format = self._formats.get(message.format)
        if format is None:
            return Keys()
        try:
            return _writable(format.keys(message.body, headers))
        except Exception:
            return Keys(findings=(f"the codec {message.format} failed",))

    def value(self, kind: str, value: str) -> str:
        """An id as the store keeps it."""
        value = value.strip()
        return self._seal.mac(kind, value) if kind in SECRET_KINDS else value[:200]

    def rows(self, keys: Keys, more: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """Kind and value of everything a message is found under."""
        found: dict[tuple[str, str], None] = {}
        if keys.control_id.strip():
            found["control", self.value("control", keys.control_id)] = None
        for kind, values in (("patient", keys.patient), ("appointment", keys.appointment), ("member", keys.member)):
            for value in values:
                found[kind, self.value(kind, value)] = None
        for kind, value in keys.other:
            found[kind, self.value(kind, value)] = None
        for pair in more:
            found[pair] = None
        return list(found)

    def lanes(self, keys: Keys, connection: str) -> tuple[str, ...]:
        """The lanes of a message: its patients', else its connection's."""
        ordering = [value for value in keys.ordering if value.strip()]
        return tuple(self._seal.mac("lane", f"{connection}|{value}") for value in ordering) or (f"={connection}",)

    def due_lane(self, job: str, key: str) -> str:
        return self._seal.mac("lane", f"due|{job}|{key}")


def _writable(keys: Keys) -> Keys:
    """Charsets can make half characters, and senders NULs, which not every store takes."""
    lists = (keys.patient, keys.appointment, keys.member, keys.ordering, keys.findings)
    others = [value for _, value in keys.other]
    everything = "".join([keys.type, keys.control_id, keys.duplicate_key, *others, *chain.from_iterable(lists)])
    if everything.isascii() and "\0" not in everything:
        return keys

    def whole(values: Sequence[str]) -> Sequence[str]:
        good = all(value.isascii() and "\0" not in value for value in values)
        return values if good else [whole_characters(value) for value in values]

    return Keys(
        whole_characters(keys.type),
        whole_characters(keys.control_id),
        whole_characters(keys.duplicate_key),
        whole(keys.patient),
        whole(keys.appointment),
        whole(keys.member),
        whole(keys.ordering),
        [(kind, whole_characters(value)) for kind, value in keys.other],
        whole(keys.findings),
    )

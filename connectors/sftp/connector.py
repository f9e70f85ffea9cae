"""The connection: what is fetched from the folder on the server, and what is brought there.

A file is delivered first and deleted after.  One that was delivered when the hub died is delivered again and recognised by its
name, size, time and content.  Of two hubs on one folder, the one that could give a file its name has it.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import structlog

from connectors.sftp import names
from connectors.sftp.settings import SftpConfig
from connectors.sftp.told import Entry, NotAllowed, wrong_key
from hub.connector import Deliver, Destination, Poller
from hub.errors import ConnectionDown, MessageRejected
from hub.formats.hl7v2 import split
from hub.message import Message
from hub.net.files import file_name
from hub.net.worker import Worker

if TYPE_CHECKING:
    from connectors.sftp.session import Session

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
"""Seconds between two logins, doubling, while the partner refuses them: more often would lock our account."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A file that was claimed and read."""

    entry: Entry
    """Under the name it has now."""
    messages: list[Message]


@dataclass(slots=True)
class _Look:
    """What one look into the folder found."""

    ready: list[Entry] = field(default_factory=list)
    too_long: int = 0
    no_name: int = 0
    too_old: int = 0
    too_many: bool = False

    def problems(self, limit: int) -> str:
        """What a person must see to; counts and no names."""
        said = {
            f"{self.too_long} file(s) are longer than max_size ({limit} bytes)": self.too_long,
            f"{self.no_name} file(s) have names that lead elsewhere": self.no_name,
            "it holds more files than are looked at": self.too_many,
        }
        return "; ".join(text for text, so in said.items() if so)


class Sftp(Poller[SftpConfig], Destination[SftpConfig]):
    """Files on a partner's SFTP server, coming or going."""

    kind = "sftp"
    repeat = "safe"

    def __init__(self, name: str, config: SftpConfig) -> None:
        super().__init__(name, config)
        self._worker = Worker(f"sftp {name}")
        self._session: Session | None = None
        self._closed = False
        self._owner = secrets.token_hex(6)
        """Whose the claims are; another after each start, and older ones are taken over in time."""
        self._sizes: dict[bytes, tuple[int, int, float]] = {}
        """Size, time of change, and since when they are so, of files that may still grow."""
        self._owned: dict[bytes, tuple[int, int]] = {}
        """Size and time of files that the hub owns and that are still there."""
        self._too_old = 0
        self._refused = 0
        self._not_before = 0.0
        """How often logins were refused, and when the next may be tried, by the monotonic clock."""

    async def open(self, deliver: Deliver) -> None:
        self._closed = False
        await super().open(deliver)

    async def open_destination(self) -> None:
        self._closed = False

    # In.

    async def poll(self, deliver: Deliver) -> None:
        look = await self._work(self._look)
        failures = []
        for entry in look.ready:
            try:
                await self._fetch(entry, deliver)
            except ConnectionDown as error:
                if self._session is None or not self._session.alive:
                    raise
                failures.append(error)  # about this file; the others go on
        if failures:
            raise failures[0]
        if problems := look.problems(self.config.max_size):
            raise ConnectionDown(f"{self.name}: the folder needs a person: {problems}", code="SFT-006")

    async def _fetch(self, entry: Entry, deliver: Deliver) -> None:
        """One file, from its claim to its end."""
        if entry.name not in self._owned:
            taken = await self._work(lambda session: self._take(session, entry))
            if taken is None:
                return
            await deliver(taken.messages)
            entry = taken.entry
            self._owned[entry.name] = (entry.size, entry.changed)
        if self.config.after != "keep":
            await self._work(lambda session: self._finish(session, entry.name))

    def _look(self, session: Session) -> _Look:
        """What is ours to take now, in the order of names; what was claimed or delivered before comes first."""
        entries, too_many = session.list(self._folder)
        look, here = _Look(too_many=too_many), {entry.name for entry in entries}
        self._sizes = {name: seen for name, seen in self._sizes.items() if name in here}
        self._owned = {name: seen for name, seen in self._owned.items() if name in here}
        found = [entry for entry in entries if self._is_ours(entry, look) and self._is_new(entry)]
        ready = [entry for entry in found if self._is_whole(entry, here) and self._may_be_taken(entry, look)]
        look.ready = sorted(ready, key=lambda entry: (names.claim_of(entry.name) is None, entry.name))
        if look.too_old != self._too_old:
            self._too_old = look.too_old
            log.warning("files are older than remember_for and left alone", connection=self.name, count=look.too_old)
        return look

    def _is_ours(self, entry: Entry, look: _Look) -> bool:
        if not entry.plain:
            return False
        if not names.is_plain(entry.name):
            look.no_name += 1
            return False
        claim, marker = names.claim_of(entry.name), self.config.done_marker
        if marker is not None and entry.name.endswith(marker.encode()):
            return False
        return names.is_wanted(claim.name if claim is not None else entry.name, self.config.pattern)

    def _is_new(self, entry: Entry) -> bool:
        """What was delivered is finished first, and with `after: keep` not looked at again."""
        if self._owned.get(entry.name) != (entry.size, entry.changed):
            self._owned.pop(entry.name, None)
            return True
        return self.config.after != "keep"

    def _is_whole(self, entry: Entry, here: set[bytes]) -> bool:
        """It has not changed for a while and has its marker; a claim of another hub has been left alone for long."""
        if entry.name in self._owned:
            return True
        claim = names.claim_of(entry.name)
        foreign = claim is not None and claim.owner != self._owner
        quiet = self._is_quiet(entry, self.config.claim_for if foreign else self.config.stable_for)
        return quiet and (claim is not None or self._is_marked(entry.name, here))

    def _is_quiet(self, entry: Entry, wanted: float) -> bool:
        """Size and time have been the same for so many seconds."""
        now = time.monotonic()
        size, changed, since = self._sizes.get(entry.name, (-1, 0, now))
        if (entry.size, entry.changed) != (size, changed):
            self._sizes[entry.name], since = (entry.size, entry.changed, now), now
        return now - since >= wanted

    def _is_marked(self, name: bytes, here: set[bytes]) -> bool:
        return self.config.done_marker is None or bool(self._markers(name) & here)

    def _markers(self, name: bytes) -> set[bytes]:
        """The files of which one says that this one is whole."""
        if self.config.done_marker is None:
            return set()
        ending = self.config.done_marker.encode()
        stem, dot, _ = name.rpartition(b".")
        return {name + ending, (stem if dot and stem else name) + ending}

    def _may_be_taken(self, entry: Entry, look: _Look) -> bool:
        if entry.size > self.config.max_size:
            look.too_long += 1
            return False
        if self.config.after == "keep" and entry.changed < time.time() - self.config.remember_for:
            look.too_old += 1
            return False
        return True

    def _take(self, session: Session, entry: Entry) -> _Taken | None:
        """Claims a file and reads it; None when another hub was first, or it is not whole after all."""
        claim = names.claim_of(entry.name)
        name = claim.name if claim is not None else names.short(entry.name)
        digest = claim.digest if claim is not None else names.digest_of(entry.name)
        path = self._claim(session, entry.name)
        before = session.look(self._at(path)) if path is not None else None
        if path is None or before is None or not before.plain or before.size > self.config.max_size:
            return None
        body = session.read(self._at(path), before.size)
        after = session.look(self._at(path))
        if after != before or len(body) != before.size:
            log.info("a file has changed while it was read; it is read again", connection=self.name)
            return None
        known = f"{digest}|{before.size}|{before.changed}|{hashlib.sha256(body).hexdigest()}"
        return _Taken(replace(before, name=path), self._messages(name, body, known))

    def _claim(self, session: Session, name: bytes) -> bytes | None:
        """Renaming is what makes it ours.  Returns its name from then on."""
        if self.config.after == "keep" or not self.config.claim:
            return name
        claim = names.claim_of(name)
        if claim is not None and claim.owner == self._owner:
            return name
        if claim is not None:
            ours = name.replace(claim.owner.encode(), self._owner.encode(), 1)
        else:
            ours = names.claimed_as(name, self._owner)
        return ours if session.rename(self._at(name), self._at(ours)) else None

    def _messages(self, name: bytes, body: bytes, known: str) -> list[Message]:
        parts = [part.body for part in split(body)[0]] if self.config.format == "hl7v2" else []
        return [
            Message(part, self.config.format, headers={"file": names.as_text(name)}, duplicate_key=f"{known}|{index}")
            for index, part in enumerate(parts or [body])
        ]

    def _finish(self, session: Session, name: bytes) -> None:
        """The hub owns it: it goes from the folder, and its marker with it."""
        claim = names.claim_of(name)
        original = claim.name if claim is not None else name
        if self.config.after == "move":
            self._move(session, name, original)
        else:
            session.remove(self._at(name))
        for marker in self._markers(original):
            session.remove(self._at(marker))
        self._owned.pop(name, None)

    def _move(self, session: Session, name: bytes, original: bytes) -> None:
        box = posixpath.join(self._folder, self.config.moved_to.encode())
        if session.look(box) is None:
            session.make_folder(box)
        target = posixpath.join(box, names.short(original))
        if session.look(target) is not None:
            target = posixpath.join(box, names.another(original, time.time_ns()))
        session.rename(self._at(name), target)

    # Out.

    async def send(self, message: Message) -> Message | None:
        name = file_name(self.config.name, message).encode()
        body = await message.read()
        await self._work(lambda session: self._write(session, name, body))
        return None

    def _write(self, session: Session, name: bytes, body: bytes) -> None:
        """Under another name first; the partner sees the whole file or none."""
        draft, final = self._at(b".%s.part" % name), self._at(name)
        if self._is_there(session, final, body):
            return
        try:
            session.write(draft, body)
            if not session.rename(draft, final, replace=True):
                raise ConnectionDown(
                    f"{self.name}: a file was gone before it had its name; it is written again", code="SFT-005"
                )
        except ConnectionDown:
            self._sweep(session, draft)
            raise

    def _is_there(self, session: Session, final: bytes, body: bytes) -> bool:
        """True when an earlier attempt has brought it.  Where we may only write, nobody knows: it is brought again."""
        try:
            there = session.look(final)
            if there is None:
                return False
            if there.size == len(body) and session.read(final, there.size) == body:
                return True
        except NotAllowed:
            return False
        raise MessageRejected(
            f"{self.name}: a file with this message's id and another content is there already; nothing was replaced",
            answer="exists",
            final=True,
            code="SFT-007",
        )

    def _sweep(self, session: Session, draft: bytes) -> None:
        """What could not be made whole does not stay, when the connection still lets us."""
        if not session.alive:
            return
        try:
            session.remove(draft)
        except ConnectionDown:
            log.warning("an unfinished file is left at the partner; the next attempt replaces it", connection=self.name)

    # The connection.

    @property
    def _folder(self) -> bytes:
        return self.config.path.encode()

    def _at(self, name: bytes) -> bytes:
        return posixpath.join(self._folder, name)

    async def _work(self, job: Callable[[Session], T]) -> T:
        """Does something with the session, in the connection's thread, and not for longer than it may take."""
        if not self.config.pins:
            raise ConnectionDown(
                f"{self.name}: no `host_key` is pinned, so that anybody could be the partner; `hub check --connect` says how "
                "to get it",
                code="SFT-001",
            )
        if time.monotonic() < self._not_before:
            raise ConnectionDown(f"{self.name}: the partner has refused our login; it is tried again later", code="NET-020")
        try:
            async with asyncio.timeout(self.config.file_timeout):
                return await self._worker.run(lambda: job(self._opened()))
        except TimeoutError:
            self._let_go()
            text = f"{self.name}: {self.config.host} was not done within file_timeout ({self.config.file_timeout:g} s)"
            raise ConnectionDown(text, code="NET-001") from None

    def _opened(self) -> Session:
        """The session there is, or a new one; in the connection's thread."""
        if self._closed:
            raise ConnectionDown(f"{self.name}: closed")
        if self._session is None or not self._session.alive:
            self._let_go()
            self._session = self._new_session()
            self._log_in(self._session)
        return self._session

    def _new_session(self, *, log_in: bool = True) -> Session:
        from connectors.sftp.session import Session  # paramiko is loaded where there is a server to reach

        return Session(self.name, self.config, log_in=log_in)

    def _log_in(self, session: Session) -> None:
        try:
            session.open()
        except ConnectionDown as error:
            session.abort()
            self._session = None
            if error.code == "NET-020":
                self._not_before = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._refused, 10))
                self._refused += 1
            raise
        self._refused, self._not_before = 0, 0.0

    def _let_go(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.abort()

    async def check(self) -> str:
        config = self.config
        if not config.pins:
            seen = self._new_session(log_in=False)
            try:
                await self._worker.run(seen.open)
                raise wrong_key(self.name, f"{config.host}:{config.port}", seen.key_shown, pinned=False)
            finally:
                seen.abort()
        entries, _ = await self._work(lambda session: session.list(self._folder))
        files = sum(entry.plain and names.is_wanted(entry.name, config.pattern) for entry in entries)
        session = self._session
        shown = f" ({session.banner}, {session.key_shown})" if session is not None else ""
        return f"{config.host}:{config.port} answers{shown}; {files} file(s) of {config.pattern} are in {config.path}"

    async def close(self) -> None:
        self._closed = True
        self._let_go()
        await super().close()
        self._worker.stop()
        self._let_go()

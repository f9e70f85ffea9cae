"""A small IMAP server (RFC 3501, UIDPLUS, MOVE) in this process, on a port of its own: it does what Dovecot does, and can
misbehave.

`put` brings a mail; `folders` is what lies where; `faults` says what goes wrong from now on; `commands` is what it was asked.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Self

USER, PASSWORD = "clinic", "correct horse"
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


@dataclass
class Stored:
    """A mail in a folder."""

    uid: int
    content: bytes
    flags: set[str] = field(default_factory=set)


@dataclass
class Faults:
    """What the server does wrong."""

    refuse: set[str] = field(default_factory=set)
    """Commands it says NO to: SELECT, SEARCH, FETCH, STORE, MOVE, COPY, EXPUNGE, CREATE."""
    drop_at: str = ""
    """It breaks the connection off when asked for this command: CONNECT, LOGIN, or one of those above."""
    silent_at: str = ""
    """It says nothing any more when asked for this command."""
    says_size: int | None = None
    """The size it says of each mail, whatever it is."""
    sends: int | None = None
    """Bytes it announces for each mail, whatever was asked."""
    login: str = ""
    """What it says to a login, whoever comes."""
    chatty: bool = False
    """It tells of other mails in between."""
    uid_last: bool = False
    """It writes the number of a mail behind its bytes."""


class ImapServer:
    """`async with`; with TLS when there is a certificate."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        at_once: bool = False,
        can: tuple[str, ...] = ("MOVE", "UIDPLUS"),
        plain: bool = True,
    ) -> None:
        self.folders: dict[str, list[Stored]] = {"INBOX": []}
        self.validity = 1_000
        self.faults, self.commands = Faults(), list[str]()
        self.tokens: set[str] = set()
        self.port = 0
        self._next = 1
        self._tls, self._at_once, self._can, self._plain = tls, at_once, can, plain
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "kind": "mailbox", "host": "127.0.0.1", "port": self.port, "encryption": "none", "user": USER, "password": PASSWORD,
            "every": "20ms", "timeout": "5s", **more,
        }  # fmt: skip

    def put(self, content: bytes, folder: str = "INBOX") -> int:
        uid = self._next
        self._next += 1
        self.folders.setdefault(folder, []).append(Stored(uid, content))
        return uid

    def number_anew(self) -> None:
        """As after a folder was restored: other numbers, under another UIDVALIDITY."""
        self.validity += 1
        for mail in self.folders["INBOX"]:
            mail.uid, self._next = self._next, self._next + 1

    async def __aenter__(self) -> Self:
        context = self._tls if self._at_once else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._links):
            writer.close()

    # One client.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
            await _Talk(self, reader, writer).go()
        self._links.discard(writer)
        writer.close()


class _Talk:
    def __init__(self, server: ImapServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.folder: list[Stored] = []
        self.encrypted = server._at_once
        self.known = False

    async def go(self) -> None:
        await self.stumble("CONNECT")
        self.say("* OK ready")
        while line := await self.reader.readline():
            tag, _, rest = line.decode("utf-8").strip().partition(" ")
            words = [a.replace('\\"', '"').replace("\\\\", "\\") if a else b for a, b in _QUOTED.findall(rest)]
            name = words[0].upper()
            if name == "UID":
                name, words = words[1].upper(), words[1:]
            self.server.commands.append(name if name in ("LOGIN", "AUTHENTICATE") else " ".join(words))
            await self.stumble(name)
            if name in self.server.faults.refuse:
                self.say(f"{tag} NO not now")
                continue
            answer = await getattr(self, name.lower())(tag, words[1:], rest)
            self.say(f"{tag} {answer or 'OK done'}")
            if name == "STARTTLS":
                await self.writer.start_tls(self.server._tls)
                self.encrypted = True
            await self.writer.drain()
            if name == "LOGOUT":
                return

    def say(self, line: str) -> None:
        self.writer.write(line.encode() + b"\r\n")

    async def stumble(self, name: str) -> None:
        if self.server.faults.silent_at == name:
            await self.writer.drain()
            await asyncio.sleep(60)
        if self.server.faults.drop_at == name:
            self.writer.transport.abort()
            raise ConnectionError

    # Commands.

    async def capability(self, tag: str, words: list[str], rest: str) -> str:
        known = " ".join(self.server._can) if self.known else ""  # as Dovecot: before the login it says less
        may = "STARTTLS LOGINDISABLED" if self.server._tls is not None and not self.encrypted else ""
        self.say(f"* CAPABILITY IMAP4rev1 {'AUTH=PLAIN' if self.server._plain else ''} {may} {known}")
        return ""

    async def starttls(self, tag: str, words: list[str], rest: str) -> str:
        return ""

    async def login(self, tag: str, words: list[str], rest: str) -> str:
        return self.knows(words[0], words[1])

    async def authenticate(self, tag: str, words: list[str], rest: str) -> str:
        self.say("+ ")
        await self.writer.drain()
        given = base64.b64decode(await self.reader.readline()).decode()
        if words[0] == "XOAUTH2":
            if any(given == f"user={USER}\1auth=Bearer {token}\1\1" for token in self.server.tokens):
                self.known = True
                return ""
            self.say("+ " + base64.b64encode(b'{"status":"400"}').decode())
            assert (await self.reader.readline()).strip() == b""
            return "NO no such token"
        _, user, password = given.split("\0")
        return self.knows(user, password)

    def knows(self, user: str, password: str) -> str:
        if self.server.faults.login:
            return self.server.faults.login
        self.known = (user, password) == (USER, PASSWORD)
        return "" if self.known else "NO [AUTHENTICATIONFAILED] who are you"

    async def select(self, tag: str, words: list[str], rest: str) -> str:
        if words[0] not in self.server.folders:
            return "NO no such folder"
        self.folder = self.server.folders[words[0]]
        self.say(f"* {len(self.folder)} EXISTS")
        self.say(f"* OK [UIDVALIDITY {self.server.validity}] valid")
        return "OK [READ-WRITE] selected"

    async def search(self, tag: str, words: list[str], rest: str) -> str:
        found = [mail.uid for mail in self.folder if not mail.flags & {"\\Seen", "\\Deleted"}]
        self.say("* SEARCH " + " ".join(map(str, reversed(found))))
        return ""

    async def fetch(self, tag: str, words: list[str], rest: str) -> str:
        wanted = {int(uid) for uid in words[0].split(",")}
        for number, mail in enumerate(self.folder, 1):
            if self.server.faults.chatty and mail.uid not in wanted:
                self.say(f"* {number} FETCH (FLAGS (\\Recent) UID {mail.uid})")
            if mail.uid not in wanted:
                continue
            if "RFC822.SIZE" in rest:
                size = self.server.faults.says_size
                self.say(f"* {number} FETCH (UID {mail.uid} RFC822.SIZE {len(mail.content) if size is None else size})")
            else:
                most = re.search(r"<0\.(\d+)>", rest)
                assert most is not None
                content = mail.content[: int(most[1])]
                announced = self.server.faults.sends or len(content)
                before, behind = ("", f" UID {mail.uid}") if self.server.faults.uid_last else (f"UID {mail.uid} ", "")
                self.say(f"* {number} FETCH ({before}BODY[]<0> {{{announced}}}")
                self.writer.write(content + f"{behind})\r\n".encode())
        return ""

    async def store(self, tag: str, words: list[str], rest: str) -> str:
        flags = set(re.findall(r"\\\w+", rest))
        for mail in self.at(words[0]):
            mail.flags |= flags
        return ""

    async def expunge(self, tag: str, words: list[str], rest: str) -> str:
        for mail in self.at(words[0]):
            if "\\Deleted" in mail.flags:
                self.folder.remove(mail)
        return ""

    async def create(self, tag: str, words: list[str], rest: str) -> str:
        self.server.folders.setdefault(words[0], [])
        return ""

    async def copy(self, tag: str, words: list[str], rest: str) -> str:
        if words[1] not in self.server.folders:
            return "NO [TRYCREATE] no such folder"
        for mail in self.at(words[0]):
            self.server.put(mail.content, words[1])
        return ""

    async def move(self, tag: str, words: list[str], rest: str) -> str:
        answer = await self.copy(tag, words, rest)
        if not answer:
            for mail in self.at(words[0]):
                self.folder.remove(mail)
        return answer

    async def logout(self, tag: str, words: list[str], rest: str) -> str:
        self.say("* BYE")
        return ""

    def at(self, uid: str) -> list[Stored]:
        return [mail for mail in self.folder if mail.uid == int(uid)]

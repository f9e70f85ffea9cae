"""Fetching mail by IMAP (RFC 3501): a folder is looked at, and each mail is finished after somebody else owns it.

Blocking, so it belongs into a thread (hub/net/worker.py).  The only home of imaplib.  Whoever runs the server is trusted with
the mails but not with our memory: it gets to send no more than was asked for.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

from hub.errors import ConnectionDown
from hub.net.mail import LOGIN_PAUSE, MailServer
from hub.net.tls import tls_failure

AT_ONCE = 200
"""Mails whose sizes are asked for with one command."""
_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_NUMBER = re.compile(rb"\d+")
_EMPTY = re.compile(rb'\bBODY\[\](?:<0>)? (?:""|NIL)')


class _TooMuch(Exception):
    """The server sends more than it was asked for."""


class _Plain(imaplib.IMAP4):
    """The library's client with a bound on what it reads at once."""

    most = 1 << 20

    def read(self, size: int) -> bytes:
        if size > self.most:
            raise _TooMuch
        return super().read(size)


class _Tls(imaplib.IMAP4_SSL):
    """The same, with TLS from the beginning."""

    most = 1 << 20

    def read(self, size: int) -> bytes:
        if size > self.most:
            raise _TooMuch
        return super().read(size)


class ImapSession:
    """One login, looking at one folder; used by one thread."""

    def __init__(self, server: MailServer, name: str, *, most: int) -> None:
        """`most` is the longest mail, in bytes, that will be fetched."""
        self._server, self._most = server, most
        self._where = f"{name}: {server.place}"
        self._connection: _Plain | _Tls | None = None
        self._can: frozenset[str] = frozenset()
        """What it says it can, once we are logged in: many say less before."""
        self.validity = 0
        """UIDVALIDITY of the folder: numbers of mails mean the same as long as this is the same."""

    # Beginning and end.

    def open(self, folder: str) -> None:
        """Logs in and selects a folder.  Raises ConnectionDown."""
        with self._sorted():
            self._connection = self._connected()
        with self._sorted():
            self._login(self._imap)
            said = self._expect(self._imap.capability(), "what it can")
            self._can = frozenset(_bytes_of(said[-1]).decode("ascii", "replace").upper().split())
        with self._sorted():
            self._expect(self._imap.select(_quoted(folder)), f"the folder {folder}")
            _, said = self._imap.response("UIDVALIDITY")
            found = _NUMBER.search(_bytes_of(said[-1])) if said else None
            self.validity = int(found[0]) if found else 0

    def close(self) -> None:
        """Says good-bye, without removing what is marked as deleted by others."""
        if self._connection is None:
            return
        for step in (self._connection.logout, self._connection.shutdown):
            with contextlib.suppress(imaplib.IMAP4.error, OSError, ValueError, _TooMuch):
                step()
        self._connection = None

    def stop(self) -> None:
        """Ends it from another thread."""
        sock = getattr(self._connection, "sock", None)
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of the socket below TLS, which its thread is at

    # Mails.

    def new(self) -> dict[int, int]:
        """The mails that are neither seen nor marked as deleted: their numbers (UID) in order, with their sizes in bytes."""
        with self._sorted():
            [said, *_] = self._expect(self._imap.uid("SEARCH", "UNSEEN", "UNDELETED"), "a search")
            numbers = [int(number) for number in (said or b"").split() if number.isdigit()]
            sizes: dict[int, int] = {}
            for at in range(0, len(numbers), AT_ONCE):
                some = ",".join(map(str, sorted(numbers)[at : at + AT_ONCE]))
                for line in self._expect(self._imap.uid("FETCH", some, "(UID RFC822.SIZE)"), "a look at sizes"):
                    text = _bytes_of(line)
                    uid, size = _UID.search(text), _SIZE.search(text)
                    if uid is not None and size is not None:
                        sizes[int(uid[1])] = int(size[1])
            return {number: sizes[number] for number in sorted(numbers) if number in sizes}

    def fetch(self, uid: int) -> bytes | None:
        """The whole mail as it is there, not marked as seen; None when it is gone, or longer than it may be."""
        with self._sorted():
            self._imap.most = self._most + 1024
            wanted = f"(UID BODY.PEEK[]<0.{self._most + 1}>)"
            for line in self._expect(self._imap.uid("FETCH", str(uid), wanted), "a mail"):
                body = _body(line, uid)
                if body is not None:
                    return body if len(body) <= self._most else None
            return None

    def mark_seen(self, uid: int) -> None:
        with self._sorted():
            self._expect(self._imap.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Seen)"), "that a mail is marked")

    def delete(self, uid: int) -> None:
        """Deletes one mail; a server that cannot do that for one alone (UIDPLUS) only marks it, and we pass it over."""
        with self._sorted():
            self._expect(self._imap.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Seen \Deleted)"), "that a mail is deleted")
            if "UIDPLUS" in self._can:
                self._expect(self._imap.uid("EXPUNGE", str(uid)), "that a mail is deleted")

    def move(self, uid: int, folder: str) -> None:
        """Moves one mail; the folder is made when there is none."""
        with self._sorted():
            if not self._moved(uid, folder):
                self._expect(self._imap.create(_quoted(folder)), f"that the folder {folder} is made")
                if not self._moved(uid, folder):
                    raise ConnectionDown(f"{self._where} does not move mails to {folder}", code="MAI-005")
        if "MOVE" not in self._can:
            self.delete(uid)

    def _moved(self, uid: int, folder: str) -> bool:
        command = "MOVE" if "MOVE" in self._can else "COPY"
        answer, _ = self._imap.uid(command, str(uid), _quoted(folder))
        return answer == "OK"

    # The conversation.

    @property
    def _imap(self) -> _Plain | _Tls:
        if self._connection is None:
            raise ConnectionDown(f"{self._where}: the connection is not open")
        return self._connection

    def _connected(self) -> _Plain | _Tls:
        server = self._server
        context = server.context()
        if server.encryption == "always":
            return _Tls(server.host, server.port, ssl_context=context, timeout=server.timeout)
        connection = _Plain(server.host, server.port, timeout=server.timeout)
        try:
            if server.encryption == "starttls":
                self._start_tls(connection, context)
        except BaseException:
            connection.shutdown()
            raise
        return connection

    def _start_tls(self, connection: _Plain, context: ssl.SSLContext) -> None:
        if "STARTTLS" not in connection.capabilities:
            raise ConnectionDown(f"{self._where} offers no TLS (STARTTLS), and nothing is sent without", code="MAI-001")
        connection.starttls(context)

    def _login(self, connection: _Plain | _Tls) -> None:
        server, user, password = self._server, self._server.user or "", self._server.password
        try:
            if server.token:
                connection.authenticate("XOAUTH2", lambda challenge: server.xoauth2().encode() if not challenge else b"")
            elif "AUTH=PLAIN" in connection.capabilities:
                connection.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
            else:
                connection.login(_quoted(user), password)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            if "[UNAVAILABLE]" in str(error).upper():  # RFC 5530: it cannot tell now
                raise ConnectionDown(f"{self._where} cannot check our login now") from None
            text = f"{self._where} refuses our login. Check user and password with the provider."
            raise ConnectionDown(text, retry_after=LOGIN_PAUSE, code="NET-020") from None

    def _expect(self, answer: tuple[str, Sequence[Any]], what: str) -> Sequence[Any]:
        """What the server said; its words may name people and are not told."""
        if answer[0] != "OK":
            raise ConnectionDown(f"{self._where} does not do what was asked ({what})", code="MAI-005")
        return answer[1]

    @contextlib.contextmanager
    def _sorted(self) -> Iterator[None]:
        """Everything that goes wrong with the connection as one kind of error."""
        try:
            yield
        except _TooMuch:
            raise ConnectionDown(f"{self._where} sends more than it was asked for", code="MAI-005") from None
        except imaplib.IMAP4.error as error:
            aborted = isinstance(error, imaplib.IMAP4.abort)
            what = "broke off" if aborted else "does not do what was asked"
            raise ConnectionDown(f"{self._where} {what}", code=None if aborted else "MAI-005") from None
        except (OSError, ValueError) as error:
            words = tls_failure(error)
            if words:
                raise ConnectionDown(f"{self._where}: TLS failed: {words}", code="TLS-003") from None
            raise ConnectionDown(f"{self._where} cannot be used: {type(error).__name__}") from None


def _quoted(text: str) -> str:
    """A text as IMAP writes it in quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _body(line: Any, uid: int) -> bytes | None:
    """The mail in an answer to FETCH, when it is this one's: as a rule a literal, the number before or behind it."""
    head = line[0] if isinstance(line, tuple) else line or b""
    said = _UID.search(head)
    if said is not None and int(said[1]) != uid:
        return None
    if isinstance(line, tuple) and b"BODY[" in head.upper():
        return bytes(line[1])
    return b"" if _EMPTY.search(head) else None


def _bytes_of(line: Any) -> bytes:
    """An untagged answer, of which a part may have been sent as a literal."""
    return b" ".join(part for part in line if isinstance(part, bytes)) if isinstance(line, tuple) else line or b""

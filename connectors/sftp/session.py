"""One SSH connection with an SFTP session in it: the only place that knows paramiko.

paramiko blocks, so a session is used from a thread of its own; only `abort` may be called from others.  The server's key is
compared with the pins before any credential leaves.  Names of files are bytes here: they are the partner's, and no local path
is ever made of one.  No text of the server gets into an error: it may hold the name of a file, and that of a patient.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_EXTENDED, CMD_INIT, CMD_NAME, CMD_OPENDIR, CMD_READDIR, CMD_VERSION

from connectors.sftp.settings import Pin, SftpConfig, fingerprint_of
from connectors.sftp.told import Entry, NotAllowed, wrong_key
from hub.errors import ConnectionDown

KEEPALIVE = 30
"""Seconds after which a silent connection says that it is alive, so that no firewall forgets it."""
MOST_NAMES = 100_000
"""Files of a folder that are looked at; the memory a partner can make us use is bounded by it."""
PIECE = 32 * 1024
"""Bytes of one write: what every server takes (SFTP version 3, section 3)."""
AHEAD = 32
"""Reads that are under way at once in a large file."""
SAFE = {
    "kex": {
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group14-sha256",
    },
    "ciphers": {"aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr"},
    "digests": {"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"},
    "key_types": {
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    },
}
"""What may be used without SHA-1, MD5 and CBC (RFC 9142; RFC 8332)."""

# Its lines hold names of files down to debugging; what goes wrong reaches us as exceptions.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


class Session:
    """One connection to a server, used from one thread."""

    def __init__(self, name: str, config: SftpConfig, *, log_in: bool = True) -> None:
        """Nothing happens before `open`; with `log_in=False` that goes only as far as the server's key."""
        self._name, self._config = name, config
        self._where = f"{config.host}:{config.port}"
        self._socket: socket.socket | None = None
        self._aborted = False
        self._log_in = log_in

    def open(self) -> None:
        """Raises ConnectionDown when the server cannot be reached, is another one, or does not let us in."""
        config = self._config
        with self._failures("connect to"):
            self._socket = socket.create_connection((config.host, config.port), timeout=config.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._check_alive()
            self._transport = self._shaken()
            self.seen = self._transport.get_remote_server_key()
            self.banner = self._transport.remote_version
        if not self._log_in:
            return
        self._check_key(config.pins)
        with self._failures("log in at"):
            self._authenticate()
        with self._failures("begin SFTP with"):
            self._sftp = self._begun()

    @property
    def alive(self) -> bool:
        return not self._aborted and self._transport.is_active() and not self._sftp.sock.closed

    @property
    def key_shown(self) -> str:
        """Type and fingerprint of the key the server has shown."""
        return f"{self.seen.get_name()} {fingerprint_of(self.seen.asbytes())}"

    def abort(self) -> None:
        """Lets go of the connection at once; whatever waits for it fails.  May be called from any thread."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    # Who is there, and who we are.

    def _check_alive(self) -> None:
        if self._aborted:
            self.abort()
            raise ConnectionDown(f"{self._name}: the connection to {self._where} was given up")

    def _shaken(self) -> paramiko.Transport:
        assert self._socket is not None  # noqa: S101 - made by the caller
        legacy = self._config.legacy_algorithms is not None
        disabled = {} if legacy else {"pubkeys": ["ssh-rsa"]}
        transport = paramiko.Transport(self._socket, disabled_algorithms=disabled)
        transport.daemon = True
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = self._config.timeout
        transport.clear_to_send_timeout = self._config.timeout
        options = transport.get_security_options()
        for part, safe in SAFE.items() if not legacy else ():
            setattr(options, part, [name for name in getattr(options, part) if name in safe])
        if wanted := _key_types(self._config.pins, options.key_types):
            options.key_types = wanted
        transport.start_client(timeout=self._config.timeout)
        return transport

    def _check_key(self, pins: list[Pin]) -> None:
        """A server without a pinned key gets nothing of ours, not even a password."""
        shown = fingerprint_of(self.seen.asbytes())
        if shown in [pin.fingerprint for pin in pins]:
            return
        self.abort()
        raise wrong_key(self._name, self._where, self.key_shown, pinned=bool(pins))

    def _authenticate(self) -> None:
        config, left = self._config, []
        key = _private_key(self._name, config) if config.private_key is not None else None
        if key is not None:
            left = self._transport.auth_publickey(config.user, key)
        if config.password is not None and (key is None or left):
            left = self._transport.auth_password(config.user, config.password.get_secret_value())
        if left:
            raise ConnectionDown(f"{self._name}: {self._where} wants more than we have: {', '.join(left)}", code="NET-020")
        self._transport.set_keepalive(KEEPALIVE)

    def _begun(self) -> _Sftp:
        channel = self._transport.open_session(timeout=self._config.timeout)
        channel.settimeout(self._config.timeout)
        channel.invoke_subsystem("sftp")
        return _Sftp(channel)

    # Files.

    def list(self, folder: bytes) -> tuple[list[Entry], bool]:
        """What is in a folder, and whether it was too much to look at all of it."""
        with self._failures("list the folder at"):
            found: list[Entry] = []
            for entry in self._sftp.entries(folder):
                found.append(entry)
                if len(found) > MOST_NAMES:
                    return found[:MOST_NAMES], True
            return found, False

    def look(self, path: bytes) -> Entry | None:
        """The file as it is now, no link followed; None when it is not there.  Raises NotAllowed, ConnectionDown."""
        with self._failures("look at a file at"):
            try:
                return _entry(path, self._sftp.lstat(path))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return None
                raise

    def read(self, path: bytes, size: int) -> bytes:
        """The bytes of a file, of which `size` are expected; never more than one beyond."""
        with self._failures("read a file at"), self._sftp.open(path, "rb") as file:
            if size > 4 * PIECE:
                file.prefetch(size, max_concurrent_requests=AHEAD)
            return bytes(file.read(size + 1))

    def write(self, path: bytes, body: bytes) -> None:
        """A file with these bytes and no others, on the server's disk where it can promise that."""
        with self._failures("write a file at"), self._sftp.open(path, "wb") as file:
            file.set_pipelined(True)
            for at in range(0, len(body), PIECE):
                file.write(body[at : at + PIECE])
            file.set_pipelined(False)
            self._sftp.sync(file)
        with contextlib.suppress(NotAllowed):
            there = self.look(path)
            if there is None or there.size != len(body):
                raise self._failed("write a file at", "what arrived there has another size", "SFT-005")

    def rename(self, source: bytes, target: bytes, *, replace: bool = False) -> bool:
        """False when the source is not there any more; raises ConnectionDown when the target is in the way."""
        with self._failures("rename a file at"):
            try:
                if replace and self._sftp.offers(b"posix-rename@openssh.com"):
                    self._sftp.posix_rename(source, target)
                else:
                    self._sftp.rename(source, target)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return False
                raise
            return True

    def remove(self, path: bytes) -> None:
        """It may be gone already."""
        with self._failures("delete a file at"):
            try:
                self._sftp.remove(path)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise

    def make_folder(self, path: bytes) -> None:
        with self._failures("make a folder at"):
            self._sftp.mkdir(path)

    # What goes wrong.

    @contextlib.contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
        """Errors of sockets, SSH and SFTP as ours: the connection is down, and says while doing what."""
        try:
            yield
        except ConnectionDown:
            raise
        except paramiko.AuthenticationException:
            self.abort()
            text = f"{self._name}: {self._where} does not let {self._config.user} in with our password or key"
            raise ConnectionDown(text, code="NET-020") from None
        except paramiko.ssh_exception.IncompatiblePeer:
            self.abort()
            text = f"{self._name}: {self._where} has no algorithm that is safe today, or no key of the pinned type"
            raise ConnectionDown(text, code="SFT-003") from None
        except PermissionError:
            raise NotAllowed(f"{self._name}: cannot {doing} {self._where}: it does not allow that") from None
        except FileNotFoundError:
            raise self._failed(doing, "there is no such file or folder", "SFT-005") from None
        except (OSError, EOFError, paramiko.SSHException, paramiko.SFTPError, ValueError) as error:
            raise self._sorted(doing, error) from None

    def _sorted(self, doing: str, error: Exception) -> ConnectionDown:
        """A refusal of the server leaves the connection usable; all else ends it."""
        if type(error) is OSError and error.errno is None and self._log_in and self.alive:
            return self._failed(doing, "it refuses", "SFT-005")
        self.abort()
        why = "no answer in time" if isinstance(error, TimeoutError) else _reason(error)
        return self._failed(doing, why, "NET-001")

    def _failed(self, doing: str, why: str, code: str) -> ConnectionDown:
        return ConnectionDown(f"{self._name}: cannot {doing} {self._where}: {why}", code=code)


class _Sftp(paramiko.SFTPClient):
    """paramiko's client, which also takes names that are not UTF-8 and hears which extensions the server has."""

    _extensions: frozenset[bytes] = frozenset()

    if TYPE_CHECKING:  # what types-paramiko leaves out
        _send_packet: Callable[..., None]
        _read_packet: Callable[[], tuple[int, bytes]]
        _request: Callable[..., tuple[int, paramiko.Message]]

    def _send_version(self) -> int:
        hello = paramiko.Message()
        hello.add_int(3)
        self._send_packet(CMD_INIT, hello)
        kind, data = self._read_packet()
        if kind != CMD_VERSION:
            raise paramiko.SFTPError("no version")
        answer = paramiko.Message(data)
        version, names = answer.get_int(), set()
        while answer.get_remainder():
            names.add(answer.get_string())
            answer.get_string()
        self._extensions = frozenset(names)
        return version

    def offers(self, extension: bytes) -> bool:
        return extension in self._extensions

    def sync(self, file: paramiko.SFTPFile) -> None:
        """On disk before it is called whole, where the server can (OpenSSH's PROTOCOL, section 4.6)."""
        if self.offers(b"fsync@openssh.com"):
            self._request(CMD_EXTENDED, b"fsync@openssh.com", file.handle)

    def entries(self, folder: bytes) -> Iterator[Entry]:
        _, answer = self._request(CMD_OPENDIR, folder)
        handle = answer.get_binary()
        try:
            while True:
                try:
                    kind, answer = self._request(CMD_READDIR, handle)
                except EOFError:
                    return
                if kind != CMD_NAME:
                    raise paramiko.SFTPError("no names")
                yield from self._page(answer)
        finally:
            self._request(CMD_CLOSE, handle)

    def _page(self, answer: paramiko.Message) -> Iterator[Entry]:
        for _ in range(answer.get_int()):
            name, _ = answer.get_string(), answer.get_string()
            yield _entry(name, _attributes(answer))


def _attributes(answer: Any) -> paramiko.SFTPAttributes:
    read: Any = getattr(paramiko.SFTPAttributes, "_from_msg")  # noqa: B009 - types-paramiko leaves it out
    found: paramiko.SFTPAttributes = read(answer)
    return found


def _entry(name: bytes, found: paramiko.SFTPAttributes) -> Entry:
    """A server that says nothing of the kind of a file is taken to mean a plain one."""
    plain = found.st_mode is None or stat.S_ISREG(found.st_mode)
    return Entry(name, found.st_size or 0, found.st_mtime or 0, plain)


def _key_types(pins: list[Pin], offered: Sequence[str]) -> list[str]:
    """The kinds of host key to ask for: a server with several shows the pinned one. Empty when a pin does not say its kind."""
    if not all(pin.type for pin in pins):
        return []
    wanted = {pin.type for pin in pins}
    return [name for name in offered if name in wanted or ("ssh-rsa" in wanted and name.startswith("rsa-"))]


def _private_key(name: str, config: SftpConfig) -> paramiko.PKey:
    """Raises ConnectionDown when it is none, or locked with another passphrase."""
    assert config.private_key is not None  # noqa: S101 - asked by the caller
    text = config.private_key.get_secret_value() + "\n"
    passphrase = config.passphrase.get_secret_value() if config.passphrase is not None else None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with contextlib.suppress(paramiko.SSHException, ValueError, TypeError, IndexError):
            return kind.from_private_key(io.StringIO(text), passphrase)
    raise ConnectionDown(
        f"{name}: `private_key` cannot be used: it is no Ed25519, ECDSA or RSA key, or locked with another `passphrase`",
        code="SFT-004",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "the connection broke off, or it does not speak SFTP"

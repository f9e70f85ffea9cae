"""A real SFTP server in this process, on a port of its own, that can misbehave.

It serves a folder over paramiko's server side.  `faults` says what goes wrong from now on; `ops` is what was asked of it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import paramiko
from paramiko.sftp import CMD_EXTENDED, CMD_VERSION

USER, PASSWORD = "clinic", "correct horse"
FSYNC, POSIX_RENAME = "fsync@openssh.com", "posix-rename@openssh.com"


@dataclass
class Faults:
    """What the server does wrong."""

    hang: str = ""
    """Where it goes silent: accept, login, subsystem, or the name of an operation."""
    drop_after: int | None = None
    """It breaks the connection off when so many more bytes were read or written."""
    drop_at: str = ""
    """It breaks the connection off when asked for this operation."""
    space: int | None = None
    """Bytes a file may have; what comes behind them is refused, as on a full disk."""
    slow: float = 0.0
    """Seconds that each read takes."""
    deny: set[str] = field(default_factory=set)
    """Operations it does not allow: list, stat, read, write, rename, remove, mkdir."""
    fail: set[str] = field(default_factory=set)
    """Operations it refuses without saying why."""
    extensions: tuple[str, ...] = (FSYNC, POSIX_RENAME)
    short_reads: int | None = None
    """Bytes it gives at most, however many are asked for."""
    more_names: tuple[bytes, ...] = ()
    """Names it lists that are not there."""
    no_modes: bool = False
    """It does not say what kind a file is."""
    wants: str = "password,publickey"
    """Ways to log in."""
    old: bool = False
    """It knows only algorithms of long ago."""
    words: str = "Failure"
    """What it says when it refuses."""


class SftpServer:
    """`with SftpServer(folder) as server`: a partner's server."""

    def __init__(self, root: Path, *, key: paramiko.PKey | None = None, port: int = 0) -> None:
        self.root = root
        self.faults = Faults()
        self.key = key or paramiko.ECDSAKey.generate()
        self.more_keys: list[paramiko.PKey] = []
        self.client_key: paramiko.PKey | None = None
        """Whose public key may log in."""
        self.logins: list[tuple[str, bool]] = []
        """Ways that were tried, and whether they went well."""
        self.ops: list[tuple[str, str]] = []
        self.synced = 0
        self._port = port
        self._connections: list[paramiko.Transport | socket.socket] = []
        self._waiting = threading.Event()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._waiting.clear()
        self._listening = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listening.join(5)
        self.drop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)

    @property
    def port(self) -> int:
        return int(self._port)

    @property
    def pin(self) -> str:
        return f"{self.key.get_name()} {self.key.get_base64()}"

    def settings(self, **more: Any) -> dict[str, Any]:
        """What a clinic file says to reach this server."""
        return {
            "kind": "sftp", "host": "127.0.0.1", "port": str(self.port), "user": USER, "password": PASSWORD,
            "host_key": self.pin, "timeout": "2s", "every": "20ms", "stable_for": "0s", **more,
        }  # fmt: skip

    def drop(self) -> None:
        """Breaks all connections off."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def let_go(self) -> None:
        """Ends every silence."""
        self._waiting.set()
        self.faults.hang = ""

    def at(self, place: str) -> None:
        """Goes silent, or drops, where it was told to."""
        if self.faults.drop_at == place:
            self.drop()
        if self.faults.hang == place:
            self._waiting.wait(30)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.faults.hang == "accept":
                self._connections.append(connection)
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        self._connections.append(transport)
        if self.faults.old:
            options = transport.get_security_options()
            options.kex, options.ciphers, options.digests = ["diffie-hellman-group14-sha1"], ["aes128-cbc"], ["hmac-sha1"]
        for key in (self.key, *self.more_keys):
            transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", _Subsystem, _Files, self)
        try:
            transport.start_server(server=_Door(self))
        except (paramiko.SSHException, EOFError, OSError):
            transport.close()


class _Door(paramiko.ServerInterface):
    def __init__(self, server: SftpServer) -> None:
        self.server = server

    def get_allowed_auths(self, username: str) -> str:
        return self.server.faults.wants

    def check_auth_password(self, username: str, password: str) -> int:
        return self._result("password", username == USER and password == PASSWORD)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._result("publickey", username == USER and key == self.server.client_key)

    def _result(self, way: str, good: bool) -> int:
        self.server.at("login")
        self.server.logins.append((way, good))
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        self.server.at("subsystem")
        return super().check_channel_subsystem_request(channel, name)


class _Subsystem(paramiko.SFTPServer):
    """paramiko's, which also takes names that are not UTF-8 and has extensions of OpenSSH."""

    server: _Files

    def _send_server_version(self) -> int:
        self._read_packet()
        message = paramiko.Message()
        message.add_int(3)
        for name in self.server.far.faults.extensions:
            message.add_string(name)
            message.add_string("1")
        self._send_packet(CMD_VERSION, message)
        return 3

    def _process(self, t: int, request_number: int, msg: paramiko.Message) -> None:
        msg.get_text = lambda: msg.get_string().decode("utf-8", "surrogateescape")  # type: ignore[method-assign]
        if t == CMD_EXTENDED:
            at = msg.packet.tell()
            if msg.get_text() == FSYNC:
                self.server.far.synced += 1
                self._send_status(request_number, paramiko.SFTP_OK)
                return
            msg.packet.seek(at)
        super()._process(t, request_number, msg)

    def _send_status(self, request_number: int, code: int, desc: str | None = None) -> None:
        super()._send_status(request_number, code, self.server.far.faults.words if code else desc)


def _status(error: OSError) -> int:
    return int(paramiko.SFTPServer.convert_errno(error.errno or errno.EIO))


class _Files(paramiko.SFTPServerInterface):
    def __init__(self, door: Any, far: SftpServer) -> None:
        super().__init__(door)
        self.far = far

    def _asked(self, what: str, path: str) -> int | None:
        self.far.ops.append((what, path))
        self.far.at(what)
        if what in self.far.faults.deny:
            return paramiko.SFTP_PERMISSION_DENIED
        return paramiko.SFTP_FAILURE if what in self.far.faults.fail else None

    def _path(self, path: str) -> str:
        return str(self.far.root) + os.path.normpath("/" + path)

    def list_folder(self, path: str) -> Any:
        if (refused := self._asked("list", path)) is not None:
            return refused
        try:
            found = [self._attributes(str(file), file.name) for file in Path(self._path(path)).iterdir()]
        except OSError as error:
            return _status(error)
        plain = paramiko.SFTPAttributes()
        plain.st_mode, plain.st_size, plain.st_mtime = stat.S_IFREG | 0o600, 3, 1
        for name in self.far.faults.more_names:
            extra = paramiko.SFTPAttributes._from_msg(_packed(plain))
            extra.filename = name  # type: ignore[attr-defined]
            found.append(extra)
        return found

    def _attributes(self, path: str, name: str) -> paramiko.SFTPAttributes:
        found = paramiko.SFTPAttributes.from_stat(os.lstat(path))
        if self.far.faults.no_modes:
            found._flags &= ~found.FLAG_PERMISSIONS
        found.filename = name.encode("utf-8", "surrogateescape")  # type: ignore[attr-defined]
        return found

    def lstat(self, path: str) -> Any:
        if (refused := self._asked("stat", path)) is not None:
            return refused
        try:
            return self._attributes(self._path(path), "")
        except OSError as error:
            return _status(error)

    stat = lstat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        what = "write" if flags & (os.O_WRONLY | os.O_RDWR) else "read"
        if (refused := self._asked(what, path)) is not None:
            return refused
        try:
            return _Handle(self.far, os.open(self._path(path), flags, 0o600), flags)
        except OSError as error:
            return _status(error)

    def rename(self, oldpath: str, newpath: str) -> int:
        if (refused := self._asked("rename", oldpath)) is not None:
            return refused
        if os.path.lexists(self._path(newpath)):
            return int(paramiko.SFTP_FAILURE)
        return self._do(os.rename, self._path(oldpath), self._path(newpath))

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        refused = self._asked("rename", oldpath)
        return refused if refused is not None else self._do(os.rename, self._path(oldpath), self._path(newpath))

    def remove(self, path: str) -> int:
        refused = self._asked("remove", path)
        return refused if refused is not None else self._do(os.remove, self._path(path))

    def mkdir(self, path: str, attr: Any) -> int:
        refused = self._asked("mkdir", path)
        return refused if refused is not None else self._do(os.mkdir, self._path(path))

    def _do(self, action: Any, *paths: str) -> int:
        try:
            action(*paths)
        except OSError as error:
            return _status(error)
        return int(paramiko.SFTP_OK)


def _packed(attributes: paramiko.SFTPAttributes) -> paramiko.Message:
    message = paramiko.Message()
    attributes._pack(message)
    return paramiko.Message(message.asbytes())


class _Handle(paramiko.SFTPHandle):
    def __init__(self, far: SftpServer, descriptor: int, flags: int) -> None:
        super().__init__(flags)
        self.far, self._descriptor = far, descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self._descriptor))

    def _count(self, size: int) -> None:
        faults = self.far.faults
        if faults.drop_after is not None:
            faults.drop_after -= size
            if faults.drop_after < 0:
                faults.drop_after = None
                self.far.drop()

    def read(self, offset: int, length: int) -> Any:
        self.far.at("data")
        time.sleep(self.far.faults.slow)
        data = os.pread(self._descriptor, min(length, self.far.faults.short_reads or length), offset)
        self._count(len(data))
        return data

    def write(self, offset: int, data: bytes) -> int:
        self._count(len(data))
        if self.far.faults.space is not None and offset + len(data) > self.far.faults.space:
            return int(paramiko.SFTP_FAILURE)
        os.pwrite(self._descriptor, data, offset)
        return int(paramiko.SFTP_OK)

"""OpenSSH's own server, with `internal-sftp`, as the user who runs the tests; needs sshd and ssh-keygen."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.sftp import Sftp
from connectors.sftp.settings import SftpConfig
from hub.errors import ConnectionDown
from hub.message import Message, new_id
from hub.testing import FakeDeliver
from tests.support import free_port, until

SSHD = os.environ.get("CLINIC_HUB_SSHD") or shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _keygen(file: Path, kind: str, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(file)], check=True)
    return file


@pytest.fixture(params=["ed25519", "rsa", "ecdsa"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A running server whose only key is of this kind; we log in with one of the same kind, locked with a passphrase."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("sshd or ssh-keygen is not on this machine")
    host, ours = _keygen(tmp_path / "host", request.param), _keygen(tmp_path / "ours", request.param, "open sesame")
    drop, port = tmp_path / "drop", free_port()
    drop.mkdir()
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {host}", f"AuthorizedKeysFile {ours}.pub", "StrictModes no",
        "UsePAM no", "PasswordAuthentication no", "PidFile none", "Subsystem sftp internal-sftp",
    ]  # fmt: skip
    (tmp_path / "sshd_config").write_text("\n".join(lines) + "\n")
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(tmp_path / "sshd_config")], stderr=log)
    try:
        time.sleep(0.5)
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield {
            "kind": "sftp", "host": "127.0.0.1", "port": str(port), "user": getpass.getuser(), "path": str(drop),
            "private_key": ours.read_text().strip(), "passphrase": "open sesame",
            "host_key": Path(f"{host}.pub").read_text().strip(), "every": "50ms", "stable_for": "0s", "timeout": "5s",
        }  # fmt: skip
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def made(settings: dict[str, Any], **more: Any) -> Sftp:
    return Sftp("far", SftpConfig.model_validate({**settings, **more}))


async def test_openssh_takes_and_gives_files(settings: dict[str, Any]) -> None:
    drop, body, deliver = Path(settings["path"]), os.urandom(3_000_000), FakeDeliver()
    connection = made(settings, format="bytes")
    try:
        assert "OpenSSH" in await connection.check()
        messages = [Message(body, "bytes", id=new_id()), Message(b"ISA*1", "bytes", id=new_id())]
        for message in [*messages, messages[0]]:
            await connection.send(message)
        assert {file.name for file in drop.iterdir()} == {f"{message.id}.edi" for message in messages}
        (drop / os.fsdecode(b"\xfcber.edi")).write_bytes(b"ISA*2")
        (drop / "link.edi").symlink_to("/etc/passwd")
        await connection.open(deliver)
        await until(lambda: [file.name for file in drop.iterdir()] == ["link.edi"])
    finally:
        await connection.close()
    assert sorted(message.body for message in deliver.delivered) == sorted([body, b"ISA*1", b"ISA*2"])


async def test_openssh_with_another_key_gets_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    other = Path(f"{_keygen(tmp_path / 'other', 'ed25519')}.pub").read_text().strip().split()[1]
    kind = settings["host_key"].split()[0]
    pins = [f"ssh-ed25519 {other}"] if kind == "ssh-ed25519" else ["SHA256:" + "A" * 43]
    connection = made(settings, host_key=pins)
    try:
        with pytest.raises(ConnectionDown) as caught:
            await connection.send(Message(b"ISA*1", "x12", id=new_id()))
    finally:
        await connection.close()
    assert caught.value.code == "SFT-002"
    assert "Accepted" not in await asyncio.to_thread((tmp_path / "log").read_text)
    assert list(Path(settings["path"]).iterdir()) == []

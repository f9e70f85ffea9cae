"""Dovecot, as people have it: mails of a Maildir fetched by IMAP over TLS; needs dovecot (2.3) with its IMAP part."""

from __future__ import annotations

import grp
import imaplib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.mail import Mailbox
from connectors.mail.settings import MailboxConfig
from hub.formats.mail.writing import Attached
from hub.testing import FakeDeliver
from tests.connectors.certificates import Certificates, make
from tests.hub.formats.mails import PDF, letter, mdn
from tests.support import free_port, until

DOVECOT = os.environ.get("CLINIC_HUB_DOVECOT") or shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PASSWORD = 'correct "horse" \\ battery'
CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/run
libexec_dir = {libexec}
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
ssl = required
ssl_cert = <{cert}
ssl_key = <{key}
ssl_dh =
auth_mechanisms = plain login
disable_plaintext_auth = yes
mail_location = maildir:{folder}/mail
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/home
}}
"""


class Dovecot:
    """A running server."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.folder, self.plain, self.tls = folder, free_port(), free_port()
        self.certificates = certificates

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Until it lets us in: it listens before it can check a login."""
        end = time.monotonic() + 20
        while True:
            time.sleep(0.2)
            log = self.folder / "log"
            assert process.poll() is None, log.read_text() if log.exists() else "it ended at once"
            try:
                context = self.certificates.client()
                with imaplib.IMAP4_SSL("127.0.0.1", self.tls, ssl_context=context, timeout=5) as connection:
                    connection.authenticate("PLAIN", lambda _: f"\0hub\0{PASSWORD}".encode())
                    return
            except (OSError, imaplib.IMAP4.error):
                assert time.monotonic() < end, log.read_text()

    def count(self, folder: str) -> int:
        return len(list((self.folder / "mail" / folder).iterdir()))

    def put(self, name: str, content: bytes) -> None:
        """As a mail server brings it: written elsewhere, moved into place."""
        draft = self.folder / "mail/tmp" / name
        draft.write_bytes(content)
        shutil.chown(draft, _user())
        draft.rename(self.folder / "mail/new" / name)

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "kind": "mailbox", "host": "127.0.0.1", "port": self.tls, "encryption": "always",
            "tls": {"ca": self.certificates.ca}, "user": "hub", "password": PASSWORD, "every": "50ms", "timeout": "5s", **more,
        }  # fmt: skip


def _user() -> str:
    """Who serves mail: we ourselves, or nobody when we are root, which Dovecot does not want."""
    return pwd.getpwuid(os.getuid()).pw_name if os.getuid() else "nobody"


@pytest.fixture
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    if DOVECOT is None:
        pytest.skip("dovecot is not on this machine")
    libexec = Path(DOVECOT).parents[1] / "lib/dovecot"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libexec)}
    version = subprocess.run([DOVECOT, "--version"], capture_output=True, text=True, env=environment, check=False).stdout
    if not version.startswith("2.3.") or not (libexec / "imap").exists():
        pytest.skip(f"this needs Dovecot 2.3 with its IMAP part, and here is {version.strip() or 'none that runs'}")
    folder = tmp_path_factory.mktemp("dovecot")
    for part in ("run", "mail", "mail/new", "mail/cur", "mail/tmp", "home"):
        (folder / part).mkdir()
    server = Dovecot(folder, make(tmp_path_factory.mktemp("certificates")))
    files = server.certificates.tls("127.0.0.1")
    group = grp.getgrgid(pwd.getpwnam(_user()).pw_gid).gr_name
    config = CONFIG.format(
        folder=folder, libexec=libexec, user=_user(), group=group, plain=server.plain, tls=server.tls, **files
    )
    (folder / "dovecot.conf").write_text(config)
    (folder / "users").write_text(f"hub:{{PLAIN}}{PASSWORD}\n")
    if not os.getuid():
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, _user())
        for parent in folder.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o111)
    process = subprocess.Popen([DOVECOT, "-F", "-c", str(folder / "dovecot.conf")], env=environment)
    try:
        server.wait(process)
        yield server
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("after", ["seen", "move", "delete"])
async def test_dovecot_gives_each_mail_once(dovecot: Dovecot, after: str) -> None:
    mails = [
        letter(1, Attached(PDF * 100_000, "application/pdf", "a.pdf")),
        mdn("m@clinic.example", "processed"),
        b"",
        b"\0\xff",
    ]
    for number, content in enumerate(mails):
        dovecot.put(f"{number}.M{number}.here", content)
    deliver = FakeDeliver()
    connection = Mailbox("box", MailboxConfig.model_validate(dovecot.settings(after=after, moved_to="Done")))
    assert "4 new mail(s)" in await connection.check(), (dovecot.folder / "log").read_text()
    await connection.open(deliver)
    try:
        await until(lambda: len(deliver.delivered) == 5)
        dovecot.put("9.M9.here", letter(9))
        await until(lambda: len(deliver.delivered) == 6)
        await until(lambda: dovecot.count("new") == 0 and dovecot.count("cur") == (5 if after == "seen" else 0))
    finally:
        await connection.close()
    assert deliver.delivered[1].body == PDF * 100_000
    kinds = [message.type for message in deliver.delivered if message.format == "mail"]
    assert kinds == ["mail", "receipt", "mail", "mail", "mail"]
    if after == "move":
        assert dovecot.count(".Done/new") + dovecot.count(".Done/cur") == 5


async def test_starttls_and_a_wrong_password(dovecot: Dovecot) -> None:
    connection = Mailbox("box", MailboxConfig.model_validate(dovecot.settings(port=dovecot.plain, encryption="starttls")))
    assert "0 new mail(s)" in await connection.check()
    wrong = Mailbox("box", MailboxConfig.model_validate(dovecot.settings(password="wrong")))
    await wrong.open(FakeDeliver())
    try:
        await until(lambda: wrong.failure_code == "NET-020")
    finally:
        await wrong.close()

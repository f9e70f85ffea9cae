"""Debian's own hfaxd: what we say to it is what it understands; needs hfaxd and faxq (package hylafax-server), and root.

No modem is there, so a job waits; that it was taken, is found by its tag, and is listed is what can be seen.
CLINIC_HUB_HYLAFAX names the folder in which the package is unpacked, when it is not installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.fax import Hylafax
from connectors.fax.hylafax import _part, _Server  # the words of the protocol themselves
from tests.connectors.test_hylafax import pdf
from tests.support import free_port

UNPACKED = os.environ.get("CLINIC_HUB_HYLAFAX", "")
HFAXD = shutil.which("hfaxd", path=f"{UNPACKED}/usr/sbin:/usr/sbin")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Hylafax]:
    if HFAXD is None or os.getuid() != 0:
        pytest.skip("hfaxd of the package hylafax-server is not on this machine, or we are not root")
    spool, port = tmp_path / "spool", free_port()
    for name in ("archive", "bin", "client", "config", "dev", "docq", "doneq", "etc", "info", "log", "pollq", "recvq", "sendq",
                 "status", "tmp"):  # fmt: skip
        (spool / name).mkdir(parents=True)
    hosts = spool / "etc" / "hosts.hfaxd"
    hosts.write_text("127.0.0.1\n")
    hosts.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    subprocess.run(["chown", "-R", "uucp", str(spool)], check=True)
    env = {**os.environ, "LD_LIBRARY_PATH": f"{UNPACKED}/usr/lib/hylafax"}
    process = subprocess.Popen([HFAXD, "-d", "-q", str(spool), "-i", str(port)], env=env, cwd=spool)
    try:
        time.sleep(1.0)
        assert process.poll() is None
        known = {"kind": "hylafax", "host": "127.0.0.1", "port": port, "user": "clinic", "password": "any"}
        yield Hylafax("server", Hylafax.Config.model_validate(known))  # type: ignore[arg-type]
    finally:
        process.terminate()
        process.wait(10)


async def test_the_server_lists_no_job_of_ours(line: Hylafax) -> None:
    assert "0 job(s)" in await line.check()


def test_every_parameter_of_a_job_is_understood(line: Hylafax, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to JSUBM, for which a scheduler is needed: without one the server says later, and nothing was taken."""
    from hub.errors import ConnectionDown

    said: list[str] = []
    sendcmd = _Server.sendcmd

    def noted(self: _Server, command: str) -> str:
        answer = sendcmd(self, command)
        said.append(f"{command.partition(' ')[0]} {answer[:3]}")
        return answer

    monkeypatch.setattr(_Server, "sendcmd", noted)
    with pytest.raises(ConnectionDown, match="later"):
        line._submit(pdf(2), "+13125550100", "reference1")
    assert said.count("JPARM 213") == 12
    assert said.count("JPARM 200") == 1, "the document"
    assert "JNEW 200" in said


def test_what_was_stored_and_made_is_named_as_we_read_it(line: Hylafax) -> None:
    from connectors.fax import hylafax

    with line._talking() as server:
        assert server.store(pdf()).startswith("/tmp/doc")
        assert _part(hylafax._JOB, server.sendcmd("JNEW"), "server").isdecimal()
        server.sendcmd('JPARM JOBINFO "reference1"')
        lines: list[str] = []
        server.sendcmd(hylafax._FORMAT)
        server.retrlines("LIST sendq", lines.append)
        assert [part.strip() for part in lines[0].split("|")][1:] == ["T", "reference1", "0:0", ""]

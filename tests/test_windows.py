"""What Windows does not have breaks nothing: no uvloop, no Unix sockets, no flock, no signal handlers on the event loop."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support import ROOT, clinic_folder

WITHOUT = """
import asyncio, os, pkgutil, importlib, signal, socket, sys
import alembic.command, apscheduler.schedulers.asyncio, asyncpg, click, httpx2, prometheus_client  # their own concern
import PIL.ImageFont, PIL.TiffImagePlugin, pypdfium2, zxingcpp
import rich.console, sqlalchemy.ext.asyncio, starlette.applications, structlog, uvicorn.protocols.http.auto, pytest
from pathlib import Path

pair, unix = socket.socketpair, socket.AF_UNIX
socket.socketpair = lambda *_: pair(unix)  # the event loop's own; on Windows it makes one of TCP
for name in ("fcntl", "uvloop", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for owner, name in ((socket, "AF_UNIX"), (os, "getuid"), (os, "geteuid"), (os, "fdatasync"), (signal, "SIGHUP")):
    if hasattr(owner, name):
        delattr(owner, name)

def not_there(*_):
    raise NotImplementedError

asyncio.base_events.BaseEventLoop.add_signal_handler = not_there
asyncio.SelectorEventLoop.add_signal_handler = not_there
sys.platform = "win32"
"""
IMPORTS = """
import hub, connectors, plugins
for package in (hub, connectors, plugins):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if "__main__" not in module.name and ".versions" not in module.name and not module.name.endswith(".env"):
            importlib.import_module(module.name)
print("imported")
"""
RUN = """
from hub.cli import main
main(["run", "-c", sys.argv[1]])
"""


def test_everything_can_be_imported() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT + IMPORTS], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
    )
    assert ended.stdout == "imported\n", ended.stderr[-2000:]


def test_a_hub_runs_and_is_stopped(tmp_path: Path) -> None:
    file = clinic_folder(tmp_path, 'connections: {ehr: {kind: mllp_listener, port: "0"}}\n')
    with (
        (tmp_path / "said").open("w") as out,
        subprocess.Popen([sys.executable, "-c", WITHOUT + RUN, str(file)], stderr=out, stdout=out, cwd=ROOT) as process,
    ):
        end = time.monotonic() + 60
        while "ready" not in (tmp_path / "said").read_text() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(30)
        finally:
            process.kill()
    said = (tmp_path / "said").read_text()
    assert "ready" in said, said
    assert (code, said.splitlines()[-1]) == (0, "stopped"), said

"""The reverse proxy of docs/how-to/webhooks.md, run as it stands there with other ports and files; needs nginx."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from hub.testing import FakeDeliver
from tests.connectors.certificates import Certificates, make
from tests.connectors.hooks import Answered, event, line, listening, request, signed
from tests.support import ROOT, free_port, until

NGINX = os.environ.get("CLINIC_HUB_NGINX") or shutil.which(
    "nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
)
BLOCK = re.compile(r"^```nginx\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PUBLIC = "https://hooks.clinic.example/hooks/partner"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def proxy(folder: Path, certificates: Certificates, behind: int) -> AsyncIterator[int]:
    """nginx in front of a port; gives the port that it listens on."""
    if NGINX is None:
        pytest.skip("nginx is not on this machine")
    found = BLOCK.search((ROOT / "docs/how-to/webhooks.md").read_text(encoding="utf-8"))
    assert found is not None
    port, tls = free_port(), certificates.tls("ehr.example")
    block = found[1].replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8480", f"127.0.0.1:{behind}")
    block = block.replace("/etc/nginx/hooks.pem", str(tls["cert"])).replace("/etc/nginx/hooks.key", str(tls["key"]))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    head = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{head}http {{\n{temporary}{block}}}\n")
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            await until(lambda: _answers(port, process))
            yield port
        finally:
            process.terminate()


async def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, process.stderr.read() if process.stderr else ""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def post(port: int, certificates: Certificates, body: bytes, headers: dict[str, str], **how: Any) -> Answered:
    async with line(port, ssl=certificates.client(), server_hostname="ehr.example") as partner:
        await partner.say(request(body, headers, **how))
        return await partner.answer()


async def test_what_partners_sign_passes_the_proxy_unchanged(tmp_path: Path, certificates: Certificates) -> None:
    deliver = FakeDeliver()
    async with listening(deliver) as hooks, proxy(tmp_path, certificates, hooks.port) as port:
        for size in (0, 1000, 3_000_000):
            body = event(note="é\r\n" * size)
            assert (await post(port, certificates, body, signed(body))).status == 200
        assert (await post(port, certificates, body, signed(body, key="other"))).status == 401
        for target in ("/", "/hooks", "/admin", "/hooks/other"):
            assert (await post(port, certificates, b"{}", signed(b"{}"), target=target)).status in (404, 301)
        long = {**signed(b"{}"), "Content-Length": str(40 * 1024 * 1024)}
        assert (await post(port, certificates, b"", long)).status in (400, 413)
    assert [len(message.body) for message in deliver.delivered] == [len(event(note="é\r\n" * n)) for n in (0, 1000, 3_000_000)]


async def test_the_url_that_is_signed_is_the_public_one(tmp_path: Path, certificates: Certificates) -> None:
    verify = {"how": "hmac", "secrets": ["12345"], "signed": "{url}{form}", "hash": "sha1", "encoding": "base64"}
    verify["signature"] = {"header": "X-Twilio-Signature"}
    query = "?to=%2B1555&x=a%20b&x=a+b"
    signature = RequestValidator("12345").compute_signature(PUBLIC + query, {"A": "1 2"})
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    deliver = FakeDeliver()
    async with (
        listening(deliver, public_url=PUBLIC, verify=verify) as hooks,
        proxy(tmp_path, certificates, hooks.port) as port,
    ):
        assert (await post(port, certificates, b"A=1+2", headers, target=f"/hooks/partner{query}")).status == 200
        assert (await post(port, certificates, b"A=1+2", headers, target="/hooks/partner?to=%2B1555")).status == 401
    assert len(deliver.delivered) == 1

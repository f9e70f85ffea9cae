"""Webhooks of signing services are hints: doubled, late, out of order, forged, lying; looks make up for those that are lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.simulators import hooks
from connectors.simulators.ehr import EhrClient
from connectors.simulators.signer import DocuSign, DropboxSign, SigningService
from tests.hub.net.test_auth import RSA, pem, public_pem
from tests.plugins.clinic import quick_hub
from tests.plugins.signing import SIGNING, SigningClinic, due_now, signing_file
from tests.support import ask, port_of, until

HOOKS = """
  signature_events:
    from: signature_hooks
    steps: [signature_event, {ask: signing}, save_signature]
"""
DROPBOX_SIGN = SIGNING.replace(
    "connections:\n",
    "connections:\n  signature_hooks: {vendor: dropbox_sign, kind: webhook_listener, port: '0',"
    " verify: {secrets: [{$file: key.txt}]}}\n",
)
DOCUSIGN = SIGNING.replace(
    "    vendor: dropbox_sign\n    kind: esign\n    url: http://127.0.0.1:@PORT@/v3\n    auth: {api_key: {$file: key.txt}}\n",
    "    vendor: docusign\n    kind: esign\n    url: http://127.0.0.1:@PORT@/restapi\n    values: {account: acc-1}\n"
    "    auth: {client_id: clinic-17, token_url: 'http://127.0.0.1:@PORT@/token', private_key: {$file: key.pem},\n"
    "      claims: {aud: account.signer.example, sub: user-1, scope: signature impersonation}}\n"
    "    discover: {url: 'http://127.0.0.1:@PORT@'}\n",
).replace(
    "connections:\n",
    "connections:\n  signature_hooks: {vendor: docusign, kind: webhook_listener, port: '0',"
    " verify: {secrets: [{$file: hook.txt}]}}\n",
)
CLINICS = {"docusign": DOCUSIGN + HOOKS, "dropbox_sign": DROPBOX_SIGN + HOOKS}


@pytest.fixture(autouse=True)
def _told_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "AGAIN_AFTER", (0.01, 0.02))


ANY = pytest.mark.parametrize("vendor", CLINICS)


@asynccontextmanager
async def told(folder: Path, vendor: str) -> AsyncIterator[SigningClinic]:
    """A clinic that hears of its envelopes by webhook; it looks by itself only after an hour."""
    async with SigningService(pace=0) as service:
        folder.mkdir(exist_ok=True)
        (folder / "key.pem").write_text(pem(RSA))
        (folder / "hook.txt").write_text("connect-key-2")  # the newer one: each event is signed with both
        service.facade(DocuSign).public_key = public_pem(RSA)
        service.facade(DropboxSign).not_ready = 0
        file = signing_file(folder, service.port, text=CLINICS[vendor])
        async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as client:
            service.hooks.url = f"http://127.0.0.1:{port_of(hub, 'signature_hooks')}/hooks/{vendor.replace('_', '-')}"
            clinic = SigningClinic(hub, client, service=service)
            await clinic.registered()
            await clinic.booked()
            yield clinic


async def heard(clinic: SigningClinic) -> str:
    await clinic.signer.hooks.told()
    await clinic.quiet()
    return (await clinic.envelope()).state


@ANY
async def test_events_are_followed_by_looks_until_the_signed_document_is_here(vendor: str, tmp_path: Path) -> None:
    async with told(tmp_path, vendor) as clinic:
        [envelope] = clinic.sent()
        states = [(await clinic.envelope()).state]
        while clinic.signer.move(envelope):
            states.append(await heard(clinic))
        assert list(dict.fromkeys(states)) == ["sent", "viewed", "completed"]
        await until(lambda: envelope.downloads > 0)
        await clinic.quiet()
        names = {document.kind for document in await clinic.documents()}
        assert names == ({"consent", "certificate"} if vendor == "docusign" else {"consent"})
        trace = (await ask(clinic.hub, "trace", id="F-1"))["entries"]
        assert any(entry["what"] == "received" and entry["connection"] == "signature_hooks" for entry in trace)


@ANY
@pytest.mark.parametrize(
    "words",
    [["twice", "late 0.2", "twice"], ["swapped", "forged", "twice"], ["never", "swapped"]],
    ids=" ".join,
)
async def test_whatever_comes_of_the_events_the_end_is_the_same(vendor: str, words: list[str], tmp_path: Path) -> None:
    async with told(tmp_path, vendor) as clinic:
        [envelope] = clinic.sent()
        clinic.signer.hooks.script(*words)
        while clinic.signer.move(envelope):
            await asyncio.sleep(0.01)
        assert await heard(clinic) == "completed"
        assert len(await clinic.documents()) == (2 if vendor == "docusign" else 1)
        assert clinic.signer.table.twice() == []
        if "forged" in words:
            assert 401 in clinic.signer.hooks.answers


@ANY
async def test_events_that_are_all_lost_change_nothing_but_time(vendor: str, tmp_path: Path) -> None:
    async with told(tmp_path, vendor) as clinic:
        clinic.signer.hooks.script(*["never"] * 10)
        await clinic.acted()
        assert await heard(clinic) == "sent"
        await due_now(clinic, (await clinic.envelope()).id, "look")
        assert (await clinic.envelope()).state == "completed"


async def test_an_event_with_the_old_key_counts_as_long_as_it_is_signed_with_the_new_one_too(tmp_path: Path) -> None:
    async with told(tmp_path, "docusign") as clinic:
        [envelope] = clinic.sent()
        clinic.signer.facade(DocuSign).hook_keys = ["connect-key-1"]
        clinic.signer.move(envelope)
        await clinic.signer.hooks.told()
        assert set(clinic.signer.hooks.answers) == {401}, "the hub has only the new key"


async def test_a_callback_that_lies_is_not_believed(tmp_path: Path) -> None:
    """Its hash covers time and type only: whoever meddles with the rest is not found out by it."""
    async with told(tmp_path, "dropbox_sign") as clinic:
        [envelope] = clinic.sent()
        sign = clinic.signer.facade(DropboxSign)
        sign.lies = True
        clinic.signer.move(envelope)
        lie = sign.shown(envelope) | {"is_complete": True}
        clinic.signer.hooks.tell(sign.callback("signature_request_all_signed", "1", lie))
        assert await heard(clinic) == "sent"
        assert set(clinic.signer.hooks.answers) == {200}
        assert await clinic.documents() == []
        clinic.signer.hooks.tell(sign.callback("signature_request_declined", "2", sign.shown(envelope), key="not ours"))
        await clinic.signer.hooks.told()
        assert 401 in clinic.signer.hooks.answers


@ANY
async def test_an_event_about_something_else_is_noted_and_nothing_is_asked(vendor: str, tmp_path: Path) -> None:
    async with told(tmp_path, vendor) as clinic:
        stranger = clinic.signer.table.made(vendor, "not-ours", "Another", [], [], "")
        before = stranger.looks
        clinic.signer.tell(stranger, "sent")
        await heard(clinic)
        assert clinic.signer.hooks.answers[-1] == 200
        assert stranger.looks == before
        assert json.dumps(await ask(clinic.hub, "messages.list", connection="signature_hooks")).count("delivered") == 1

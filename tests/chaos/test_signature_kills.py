"""kill -9 at random moments of a script of envelopes, with a signing service that fails all the time: nothing is lost, nothing
is sent twice, and what nobody can know is shown.

`CLINIC_HUB_LONG=1` does it with 200 envelopes and 60 kills.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

from connectors.simulators.ehr import EhrClient
from connectors.simulators.signer import DropboxSign, SigningService
from connectors.simulators.signer.envelopes import Envelope as Sent
from hub.bus.hub import Hub as RunningHub
from hub.records_signing import Envelope
from tests.chaos.nursery import Hub, Nursery
from tests.chaos.test_kills import keep_figures
from tests.plugins.clinic import adt, at, mrn, pid, siu
from tests.plugins.signing import SIGNING, signing_file
from tests.support import ask, free_port, running_hub

LONG = bool(os.environ.get("CLINIC_HUB_LONG"))
ENVELOPES, KILLS = (200, 60) if LONG else (14, 4)
DOES = ("signs", "signs", "signs", "declines", "views", "bounces", "never", "expires")
PATIENCE = 600.0 if LONG else 90.0
"""Seconds after the last kill in which all has to be known."""
CANCELLED = 5
"""Each visit of so many is cancelled."""
FAULTS = {
    "send": ["ok"] * 4 + ["503", "429", "silent after commit", "500 after commit", "drop", "half", "502", "hangup"],
    "look": ["ok"] * 6 + ["503", "half", "502", "expire"],
    "find": ["ok"] * 3 + ["503", "empty"],
    "fetch": ["ok"] * 3 + ["500", "hangup"],
    "change": ["ok"] * 3 + ["503", "502 after commit"],
}
CLINIC = SIGNING.replace('port: "0"', 'port: "@EHR@"').replace("timeout: 2s", "timeout: 600ms")


async def send(port: int, body: bytes) -> None:
    """As an EHR does: again until it is acknowledged."""
    while True:
        try:
            async with EhrClient("127.0.0.1", port) as ehr:
                if (await ehr.send(body, timeout=2)).code == "AA":
                    return
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.02)


async def day(port: int, chance: random.Random) -> None:
    """Patients register, book, and some of them cancel."""
    for number in range(ENVELOPES):
        who = pid(mrn(f"{number}"), f13=f"^NET^Internet^{DOES[number % len(DOES)]}.p{number}@x.example")
        await send(port, adt("A04", who))
        await send(port, siu("S12", f"F-{number}", at(9), who))
        await asyncio.sleep(chance.uniform(0.0, 0.1))
        if number % CANCELLED == CANCELLED - 1:
            await send(port, siu("S15", f"F-{number - 1}", at(9), pid(mrn(f"{number - 1}"))))


async def test_a_hub_that_is_killed_sends_no_envelope_twice_and_loses_none(tmp_path: Path, nursery: Nursery) -> None:
    chance, port = random.Random(7), free_port()
    async with SigningService(pace=0.05) as service:
        service.facade(DropboxSign).not_ready = 0
        for to, words in FAULTS.items():
            service.faults.script(*(chance.choice(words) for _ in range(ENVELOPES * 3)), to=to)
        text = CLINIC.replace("@EHR@", str(port))
        file = signing_file(tmp_path, service.port, looks="300ms", text=text)
        hub = Hub(nursery, file)
        try:
            await asyncio.to_thread(hub.start)
            sending = asyncio.create_task(day(port, chance))
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.1, 0.8))
                await asyncio.to_thread(hub.kill)
                await asyncio.to_thread(hub.start)
            await sending
            await asyncio.to_thread(hub.kill)
        finally:
            hub.close()
        async with running_hub(file) as running:
            end = time.monotonic() + PATIENCE
            while (left := await unsettled(running, service)) and time.monotonic() < end:
                await asyncio.sleep(0.1)
            assert left == []
            unknown = [e for e in await envelopes(running) if e.state == "unknown" and e.withdrawn is None]
            to_do = {item["appointment"]: item["cause"] for item in await ask(running, "worklist.list")}
            assert {to_do.get(envelope.appointments[0]) for envelope in unknown} <= {"unknown"}
    keep_figures("signature_kills", envelopes=ENVELOPES, kills=KILLS, unknown=len(unknown), sent=len(service.table.by_id))
    assert service.table.twice() == []
    assert len(unknown) < ENVELOPES / 2, "most are known: what was sent is found by its reference"


async def envelopes(hub: RunningHub) -> list[Envelope]:
    context = hub.core.context("test")
    return [e for state in ("yes", "no") for e in await context.find(Envelope, "open", state, limit=10_000)]


async def unsettled(hub: RunningHub, service: SigningService) -> list[str]:
    """Each visit has one envelope, and the hub knows of each what the service does; what is not so, in words."""
    known = await envelopes(hub)
    visits = {envelope.appointments[0] for envelope in known}
    missing = [f"F-{number} has no envelope" for number in range(ENVELOPES) if f"F-{number}" not in visits]
    return missing + [wrong for envelope in known if (wrong := wrong_with(envelope, service.table.under(envelope.id)))]


def wrong_with(envelope: Envelope, sent: list[Sent]) -> str:
    """Empty when the hub knows what is so."""
    if not sent:
        is_right = envelope.state in ("unknown", "failed") or envelope.withdrawn is not None
        return "" if is_right else f"{envelope.appointments}: {envelope.state}, and the service has none"
    if len(sent) > 1:
        return f"{envelope.appointments}: sent {len(sent)} times"
    [one] = sent
    end = one.end or ("bounced" if one.has_bounced else "viewed" if one.is_viewed else "sent")
    is_right = envelope.state == end and not (envelope.withdrawn is not None and not one.end)
    is_right = is_right and (envelope.state != "completed" or envelope.document is not None)
    return "" if is_right else f"{envelope.appointments}: {envelope.state}, {envelope.withdrawn}, and the service has {end}"

"""The hub is killed again and again while it takes documents from a folder and files them with an EHR that misbehaves.

In the end each document has been filed once, or a person is shown that it was not.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.ehr import EhrClient, EhrServer
from hub.formats.hl7v2.message import Hl7
from tests.plugins.clinic import adt, mrn, pid
from tests.plugins.papers import pdf
from tests.support import PATIENCE, HubProcess, ask, clinic_folder, free_port, running_hub, settled, until

CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
  scans: {kind: folder, path: "@FOLDER@/scans", format: bytes, every: 50ms, stable_for: 0s}
  charts: {kind: mllp_sender, host: 127.0.0.1, port: "@OUT@", timeout: 300ms, retry: {first: 20ms, most: 50ms, attempts: "2"}}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  scans_in:
    from: scans
    steps: [{receive_document: scan}, {match_document: {file_after: 0s}}]
  filing:
    from: {due: file_document}
    steps: [{map: document_to_mdm}, embed_document, {ask: charts}, document_filed]
  filing_failures:
    from: {failed: filing}
    steps: [filing_failed]
"""
PEOPLE = 10
REFUSED = "|00007^"
"""Whose documents the EHR never takes."""


@pytest.mark.parametrize(
    ("documents", "kills", "seed"),
    [(12, 2, 1), *(pytest.param(200, 25, seed, marks=pytest.mark.long) for seed in range(5))],
)
async def test_each_document_is_filed_once_or_shown(tmp_path: Path, documents: int, kills: int, seed: int) -> None:
    chance = random.Random(seed)

    def script(body: bytes, _: str, __: int) -> str:
        if REFUSED.encode() in body:
            return "AE"
        return chance.choices(["AA", "AE", "silent", "close", "garbage", "wrong"], [10, 4, 1, 1, 1, 1])[0]

    (tmp_path / "scans").mkdir()
    port = free_port()
    async with EhrServer(script) as charts:
        text = CLINIC
        for name, value in {"FOLDER": tmp_path, "IN": port, "OUT": charts.port}.items():
            text = text.replace(f"@{name}@", str(value))
        file = clinic_folder(tmp_path, text)
        hub = HubProcess(file)
        await asyncio.to_thread(hub.start, 60)
        async with EhrClient("127.0.0.1", port) as ehr:
            for number in range(PEOPLE):
                assert (await ehr.send(adt("A04", pid(mrn(f"{number:05}"), given=f"GIVEN{chr(65 + number)}")))).code == "AA"
        for number in range(documents):
            _scan(tmp_path, number)
            if number % (documents // kills) == documents // kills - 1:
                await asyncio.sleep(chance.uniform(0.2, 1.2))
                await asyncio.to_thread(hub.kill)
                hub = HubProcess(file)
                await asyncio.to_thread(hub.start, 60)
        await until(lambda: not list((tmp_path / "scans").rglob("*.pdf")), 60 * PATIENCE)
        await asyncio.to_thread(hub.terminate)
        await _settled_and_counted(file, charts, documents)


def _scan(folder: Path, number: int) -> None:
    """A document of somebody with a chart; each third says too little, and waits."""
    person = number % PEOPLE
    born = "DOB: 02/29/1980" if number % 3 else "DOB: unreadable"
    draft = folder / "scans" / f"{number}.part"
    draft.write_bytes(pdf(f"Page of document {number}\nMRN: {person:05}\n{born}"))
    draft.rename(draft.with_suffix(".pdf"))


async def _settled_and_counted(file: Path, charts: EhrServer, documents: int) -> None:
    async with running_hub(file) as hub:

        async def all_documents() -> list[dict[str, Any]]:
            return [line for state in (None, "filed") for line in await ask(hub, "documents.list", state=state)]

        async def all_have_ended() -> bool:
            lines = await all_documents()
            ended = [line for line in lines if line["state"] in ("filed", "waiting") or line["why"]]
            return len(ended) == documents

        await until(all_have_ended, 60)
        await settled(hub, 60)
        lines = await all_documents()
        assert Counter(bool(line["patient"]) for line in lines) == {
            True: documents - -(-documents // 3),
            False: -(-documents // 3),
        }
        in_charts: dict[str, set[str]] = {}
        for body in charts.received:
            hl7 = Hl7(body)
            in_charts.setdefault(hl7.get("TXA-12.1") or "", set()).add(f"{hl7.control_id} {hl7.get('PID-3.1')}")
        shown = str(await ask(hub, "worklist.list"))
        assert "could not be filed" in shown
        for line in lines:
            filings = in_charts.pop(line["id"], set())
            if line["state"] == "filed":
                assert len(filings) == 1, "it was filed under one control id, which an EHR takes once"
                assert filings.pop().endswith(line["patient"]["id"])
            else:
                assert line["id"] in shown, f"{line['state']} and nobody is told"
                assert line["state"] == "matched" or not filings
        assert not in_charts, "filed, but unknown here"

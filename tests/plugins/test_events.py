"""Every trigger event of ADT and SIU, through the clinic file of the example: nothing ends in quarantine by surprise."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient, segment
from tests.plugins.clinic import Clinic, adt, at, mrn, pid, quick_hub, siu
from tests.support import ROOT, ask, port_of

ADT = [f"A{number:02}" for number in range(1, 63)]
SIU = [f"S{number}" for number in range(12, 27)]
NOBODYS = {"A23", "A29"}
"""What the EHR deleted is put before a person and not saved as a chart."""


def example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's clinic file, on free ports and with secrets that are none."""
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "var" / "inbox").mkdir(parents=True)
    file = folder / "config" / "clinic.yaml"
    text = file.read_text(encoding="utf-8")
    for name in re.findall(r"\$env: (\w+)", text):
        monkeypatch.setenv(name, "none")
    text = text.replace("port: 2575", 'port: "0"')
    text = text.replace("sqlite:///../var/hub.db", "sqlite:///var/hub.db").replace("../var/hub.key", "hub.key")
    file.write_text(text, encoding="utf-8")
    return file


def message_of(event: str) -> bytes:
    """As complete as a sender makes it: a patient, who was merged or moved, and the visit."""
    if event in SIU:
        return siu(event, f"F-{event}", at(9), pid(mrn("1")))
    if event == "A20":
        return adt(event, segment("NPU", f1="ROOM 1", f2="C"))
    number = ADT.index(event) + 100
    visit = segment("PV1", f1="1", f2="O", f19=f"V-{event}")
    return adt(event, pid(mrn(str(number))), segment("MRG", f1=mrn(str(number + 500)), f3="ACC", f5="V-0"), visit)


async def test_every_event_ends_delivered_or_skipped_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        quick_hub(example(tmp_path, monkeypatch)) as hub,
        EhrClient("127.0.0.1", port_of(hub, "ehr_schedule")) as client,
    ):
        clinic = Clinic(hub, client)
        await clinic.say(*(message_of(event) for event in [*ADT, *SIU]))
        await clinic.quiet()
        ended = {m["type"][4:]: m for m in await ask(hub, "messages.list", limit=500) if m["connection"] == "ehr_schedule"}
        assert sorted(ended) == sorted([*ADT, *SIU])
        assert {m["state"] for m in ended.values()} <= {"delivered", "skipped"}, ended
        assert all(m["reason"] for m in ended.values() if m["state"] == "skipped")
        charts = {event: await clinic.patient(str(ADT.index(event) + 100)) for event in ADT if event != "A20"}
        assert {event for event, chart in charts.items() if chart is None} == NOBODYS
        for event in ("S23", "S24", "S25"):
            assert await clinic.booking(f"F-{event}") is None, "time in a schedule is no booking"
        for event in ("S12", "S16", "S18", "S19", "S20", "S21", "S22"):
            assert await clinic.booking(f"F-{event}") is not None

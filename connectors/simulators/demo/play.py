"""Plays the story: starts the far sides and the hub, sends the day's messages, waits for the outcomes, tells it all."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from base64 import b64decode
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from connectors.simulators.demo.far_sides import FarSides
from connectors.simulators.demo.papers import SIGNS, Papers, write_papers
from connectors.simulators.demo.story import BY_APPOINTMENT, VISITORS, Scene, scenes
from connectors.simulators.ehr import EhrClient
from hub import logs
from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.clinic import load_clinic
from hub.console.api import ControlSocket
from hub.records import OUTCOME_WORDS, Owes
from hub.security.seal import new_key

ZONE = ZoneInfo("America/Chicago")
PATIENCE = 15.0
"""Seconds the outcomes may take."""
SHOWN = "F-110"
"""The appointment whose timeline is told."""
MACHINERY = frozenset({"queued", "delivered", "answered", "due"})
"""Lines of a timeline that say how the hub works and not what happened."""
TOLD = "F-101"
"""The appointment of which is told what went back to the EHR."""


async def play(*, once: bool, as_json: bool, directory: Path | None) -> int:
    """Exit code 0 when every visit came out as the story wants it."""
    logs.configure("error")
    _end_on_sigterm()
    folder = directory or Path(tempfile.mkdtemp(prefix="clinic-hub-demo-"))
    if directory is not None:
        await asyncio.to_thread(_clear, folder)
    try:
        async with FarSides() as far:
            return await _with_hub(far, folder, once=once, as_json=as_json)
    finally:
        if directory is None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _end_on_sigterm() -> None:
    """SIGTERM ends a demo as Ctrl-C does: its files go with it."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a demo is played in a task
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _clear(folder: Path) -> None:
    """A demo always begins on an empty store; only what a demo wrote is taken away."""
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / ".clinic-hub-demo"
    if any(folder.iterdir()) and not marker.exists():
        raise click.UsageError(f"{folder} is not empty, and not of a demo; name another folder")
    for name in ("var", "back"):
        shutil.rmtree(folder / name, ignore_errors=True)
    marker.touch()


def _write_clinic(folder: Path, far: FarSides) -> Path:
    source = files("connectors.simulators.demo")
    text = (source / "clinic.yaml").read_text(encoding="utf-8")
    for name, value in far.places.items():
        text = text.replace(name, value)
    (folder / "clinic.yaml").write_text(text, encoding="utf-8")
    (folder / "payers.csv").write_text((source / "payers.csv").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "back").mkdir(exist_ok=True)
    for name, secret in far.secrets.items():
        (folder / f"{name}.secret").write_text(secret, encoding="utf-8")
    write_papers(folder)
    return folder / "clinic.yaml"


async def _with_hub(far: FarSides, folder: Path, *, once: bool, as_json: bool) -> int:
    started = time.monotonic()
    file = await asyncio.to_thread(_write_clinic, folder, far)
    hub = Hub(load_clinic(file), key=new_key())  # a key for this demo alone: its store ends with it
    await hub.start()
    control = ControlSocket(hub, Operations(hub.core, hub))
    await control.open()
    far.know(hub)
    try:
        port = getattr(hub.sources["ehr_schedule"], "port", 0)
        _tell("A day at Riverside Family Practice")
        _tell(f"The hub listens on 127.0.0.1:{port}; {far.in_words}\n")
        tomorrow = datetime.now(ZONE).date() + timedelta(days=1)
        for scene in scenes(tomorrow):
            await _play_scene(scene, port)
            await _settle(hub)
        lines = await _outcomes(hub, tomorrow.isoformat())
        good = all(_as_expected(line) for line in lines) and len(lines) == len(VISITORS)
        told = await _told_back(folder / "back")
        good = good and told is not None
        wrong = await Papers(hub, far, _tell).play()
        await _report(hub, lines, far, as_json=as_json)
        if not as_json:
            await _tell_of_sheets(hub, told, tomorrow.isoformat())
        for line in wrong:
            _tell(line)
        _tell(f"\n{_verdict(good, wrong)}, {time.monotonic() - started:.1f} s")
        if not once:
            await _stay(file)
        return 0 if good and not wrong else 1
    finally:
        await control.close()
        await hub.stop()


def _verdict(good: bool, wrong: list[str]) -> str:
    if not good:
        return "NOT every visit came out as it should, or was told back"
    return "Every visit came out as it should, " + ("and every paper" if not wrong else "but NOT every paper")


def _tell(text: str) -> None:
    click.echo(text, err=True)


async def _play_scene(scene: Scene, port: int) -> None:
    async with EhrClient("127.0.0.1", port) as ehr:
        answers = [(await ehr.send(body)).code for body in scene.messages]
    said = ", ".join(f"{answers.count(code)} {code}" for code in dict.fromkeys(answers))
    _tell(f"{scene.title}\n       {len(answers)} message(s) acknowledged: {said}")


async def _settle(hub: Hub) -> None:
    """Until nothing is on its way any more; a retry that is planned for later is not waited for here."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        await asyncio.sleep(0.05)
        if not await hub.core.reader.backlog() and not await hub.core.reader.open_targets():
            return


async def _outcomes(hub: Hub, day: str) -> list[dict[str, Any]]:
    """The visits of the day once they all came out as expected, or as they are when patience is over."""
    operations = Operations(hub.core, hub)
    end = time.monotonic() + PATIENCE
    while True:
        found = await operations.run("eligibility.list", {"date": day}, "demo")
        lines = [{**line, "expected": BY_APPOINTMENT[line["appointment"]].expected} for line in found]
        if all(_as_expected(line) for line in lines) and len(lines) == len(VISITORS):
            return lines
        if time.monotonic() > end:
            return lines
        await asyncio.sleep(0.1)


def _as_expected(line: dict[str, Any]) -> bool:
    visitor = BY_APPOINTMENT[line["appointment"]]
    money = (line["owes"]["co_payment"], line["owes"]["deductible_remaining"])
    return line["outcome"] == visitor.expected and (
        visitor.expected != "covered" or money == (visitor.co_payment, visitor.deductible)
    )


async def _report(hub: Hub, lines: list[dict[str, Any]], far: FarSides, *, as_json: bool) -> None:
    from hub.cli.output import print_lines, table

    if as_json:
        print_lines(lines)
        return
    _tell(f"\nTomorrow at the front desk ({len(far.clearinghouse.table.asked)} inquiries were sent):\n")
    rows = [
        (
            line["starts_at"][11:16],
            line["patient"]["name"],
            line["payer"],
            OUTCOME_WORDS[line["outcome"]],
            Owes(**line["owes"]).in_words(),
            line["who"],
            line["action"],
        )
        for line in lines
    ]
    table(("time", "patient", "payer", "status", "owes", "who", "what to do"), rows, empty="no visits")
    await _tell_timeline(hub, SHOWN, "whose member id was corrected")
    await _tell_timeline(
        hub, SIGNS, "from its booking to the consent in the chart, without what the hub does for that", MACHINERY
    )


async def _tell_timeline(hub: Hub, appointment: str, why: str, without: frozenset[str] = frozenset()) -> None:
    from hub.cli.output import table

    _tell(f"\nThe timeline of appointment {appointment}, {why}:\n")
    trace = await Operations(hub.core, hub).run("trace", {"id": appointment, "phi": True}, "demo")
    rows = [(e["at"][11:19], e["what"], e["text"]) for e in trace["entries"] if e["what"] not in without]
    table(("at (UTC)", "what", "text"), rows, empty="nothing")


async def _told_back(folder: Path) -> list[str] | None:
    """The segments of what went back to the EHR about a visit; None when nothing did."""
    end = time.monotonic() + PATIENCE
    while True:
        bodies = [file.read_bytes().decode() for file in await asyncio.to_thread(lambda: sorted(folder.glob("*.hl7")))]
        about = next((body for body in bodies if f"|{TOLD}\r" in body), None)
        if about is not None or time.monotonic() > end:
            return about.splitlines() if about is not None else None
        await asyncio.sleep(0.1)


async def _tell_of_sheets(hub: Hub, told: list[str] | None, day: str) -> None:
    """The day sheet, and what went back."""
    sheet = await Operations(hub.core, hub).run("eligibility.sheet", {"date": day, "format": "xlsx"}, "demo")
    size = len(b64decode(sheet["content"])) // 1024
    _tell(f"\nThe day sheet of tomorrow (hub eligibility sheet): {sheet['visits']} visits, {size} KB of XLSX")
    if told is not None:
        _tell(f"To the EHR went, about {TOLD} (SIU^S14 with a segment of its own):\n")
        for segment in told[1:]:
            _tell(f"  {segment}")


async def _stay(file: Path) -> None:
    _tell("\nThe hub keeps running. In another window:")
    for command in (
        "hub status",
        "hub eligibility list --date tomorrow",
        "hub eligibility sheet --date tomorrow --to tomorrow.xlsx",
        "hub worklist",
        "hub documents list --state filed",
        "hub signatures list",
        "hub faxes list",
        "hub referrals list",
    ):
        _tell(f"  {command} -c {file}")
    _tell("Ctrl-C ends it.")
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()

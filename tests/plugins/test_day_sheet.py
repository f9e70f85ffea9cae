"""The day sheet: a line for each visit, as a command writes it and as a flow leaves it in a folder each morning."""

from __future__ import annotations

import csv
import io
from base64 import b64decode
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub import Appointment
from hub.bus.trial import try_flow
from hub.cli.operate import operate
from hub.errors import Refused
from hub.formats.sheets import read_sheet
from hub.message import Message
from tests.plugins.clinic import (
    DAY,
    ZONE,
    Clinic,
    adt,
    at,
    eligibility,
    eligibility_file,
    in1,
    jane,
    mrn,
    pid,
    read_clinic,
    siu,
)
from tests.support import HubProcess, ask, run_hub, running_hub, until

MONEY = ("EB*G*IND*30***29*900*****Y", "EB*F**98***********Y")
EVERY_SECOND = """
  sheets: {kind: folder, path: "@FOLDER@", name: "visits-{type}-{id}.@FORMAT@"}
"""
SHEET_FLOW = """
  morning:
    from: {every: 1s}
    steps: [{day_sheet: {format: @FORMAT@, days_ahead: "@AHEAD@"}}, {send: sheets}]
"""


async def lines(clinic: Clinic, format: str = "csv", day: date = DAY) -> list[dict[str, str]]:
    """The sheet of a day, each line by the heading of its columns."""
    found: dict[str, Any] = await ask(clinic.hub, "eligibility.sheet", date=day.isoformat(), format=format)
    head, *rows = read_sheet(b64decode(found["content"]))
    assert found["visits"] == len(rows)
    return [dict(zip(head, [*row, *[""] * (len(head) - len(row))], strict=True)) for row in rows]


async def booked(clinic: Clinic) -> None:
    """Three visits: covered, without insurance, cancelled."""
    await clinic.tell(
        adt("A04", pid(mrn("00042")), in1()),
        siu("S12", "F-1", at(14, 30), pid(mrn("00042"))),
        siu("S12", "F-2", at(9), pid(mrn("7"), family="ROE", given="=CALC()")),
        siu("S12", "F-3", at(8), pid(mrn("8"), family="POE")),
        siu("S15", "F-3", at(8), pid(mrn("8"), family="POE")),
    )


@pytest.mark.parametrize("format", ["csv", "xlsx"])
async def test_a_sheet_has_a_line_for_each_visit_that_takes_place_in_the_order_of_the_day(tmp_path: Path, format: str) -> None:
    async with eligibility(tmp_path, jane(benefits=MONEY)) as clinic:
        await booked(clinic)
        roe, jane_doe = await lines(clinic, format)
        checked = jane_doe.pop("Checked at")
        assert jane_doe == {
            "Time": "14:30", "Patient": "Jane Doe", "Born": "1980-02-29", "Chart": "00042", "Payer": "Aetna",
            "Member id": "W100", "Plan": "CHOICE PPO", "Status": "covered", "Co-pay": "25", "Deductible left": "310.50",
            "Out-of-pocket left": "900", "Authorization": "payer did not say", "What to do": "", "Who": "",
        }  # fmt: skip
        assert checked[:10] >= (DAY - timedelta(days=11)).isoformat()
        assert (roe["Time"], roe["Status"], roe["Who"]) == ("09:00", "no insurance on file", "coordinator")
        assert (roe["Co-pay"], roe["Authorization"]) == ("", ""), "nobody was asked"


async def test_what_the_payer_did_not_say_is_said_to_be_so_and_never_nothing(tmp_path: Path) -> None:
    two = ("EB*B**98***27*25*****Y", "EB*B**98***27*40*****Y")
    async with eligibility(tmp_path, jane(co_payment=None, deductible_remaining=None, benefits=two)) as clinic:
        await booked(clinic)
        _, line = await lines(clinic)
        assert line["Co-pay"] == "not clear: the payer named several different amounts"
        assert line["Deductible left"] == line["Out-of-pocket left"] == "payer did not say"


async def test_nothing_of_a_message_is_a_formula(tmp_path: Path) -> None:
    async with eligibility(tmp_path, jane()) as clinic:
        await booked(clinic)
        found = await ask(clinic.hub, "eligibility.sheet", date=DAY.isoformat(), format="csv")
        text = b64decode(found["content"]).decode("utf-8-sig")
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert any("calc" in cell.lower() for cell in cells)
        assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]


async def test_a_day_or_site_that_is_none_is_refused(tmp_path: Path) -> None:
    async with eligibility(tmp_path) as clinic:
        with pytest.raises(Refused, match="is no day"):
            await ask(clinic.hub, "eligibility.sheet", date="someday")
        with pytest.raises(Refused, match="no site 'moon'; there are main"):
            await ask(clinic.hub, "eligibility.sheet", site="moon")


async def test_a_sheet_of_one_site_has_only_its_visits(tmp_path: Path) -> None:
    file = eligibility_file(tmp_path, 1)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("sites:\n", "sites:\n  lake: {timezone: America/New_York}\n"), encoding="utf-8")
    async with running_hub(file) as hub:
        context = hub.core.context("test")
        for id, site in {"F-1": "main", "F-2": "lake", "F-3": None}.items():
            await context.put(Appointment(id=id, starts_at=at(9), site=site))
        await hub.core.journal.commit(hub.core.write_of(context.changes, context.now))
        listed = {
            site: [line["appointment"] for line in await ask(hub, "eligibility.list", date=DAY.isoformat(), site=site)]
            for site in ("main", "lake", None)
        }
        assert listed == {"main": ["F-1"], "lake": ["F-2", "F-3"], None: ["F-1", "F-2", "F-3"]}
        assert (await ask(hub, "eligibility.sheet", date=DAY.isoformat(), site="lake"))["visits"] == 2


@pytest.mark.parametrize("format", ["csv", "xlsx"])
async def test_a_flow_by_the_clock_leaves_the_sheet_in_a_folder(tmp_path: Path, format: str) -> None:
    (tmp_path / "sheets").mkdir()
    ahead = str((DAY - datetime.now(ZONE).date()).days)
    flow = SHEET_FLOW.replace("@FORMAT@", format).replace("@AHEAD@", ahead)
    connection = EVERY_SECOND.replace("@FORMAT@", format).replace("@FOLDER@", str(tmp_path / "sheets")).lstrip("\n")
    async with eligibility(tmp_path, jane(), connections=connection, flows=flow) as clinic:
        await clinic.say(adt("A04", pid(mrn("00042")), in1()), siu("S12", "F-1", at(14, 30), pid(mrn("00042"))))
        await clinic.reaches("F-1", "covered")

        def newest() -> list[list[str]]:
            files = sorted((tmp_path / "sheets").glob(f"visits-*.{format}"), key=lambda file: file.stat().st_mtime_ns)
            return read_sheet(files[-1].read_bytes()) if files else []

        await until(lambda: len(newest()) == 2 and "covered" in newest()[1])
        assert [file for file in (tmp_path / "sheets").iterdir() if not file.name.startswith(f"visits-{DAY:%Y_%m_%d}-")] == []


async def test_the_step_needs_a_day_from_the_clock(tmp_path: Path) -> None:
    file = eligibility_file(tmp_path, 1, flows="  wrong: {from: ehr, steps: [{day_sheet: csv}]}\n")
    trial = await try_flow(read_clinic(file), "wrong", Message(siu("S12", "F-1", at(9)), "hl7v2"))
    assert trial.error is not None
    assert trial.error.code == "ELG-003"


def test_the_command_writes_the_file_for_its_owner_alone_and_replaces_it(tmp_path: Path) -> None:
    file = eligibility_file(tmp_path, 1)
    with HubProcess(file):
        for _ in range(2):
            done = run_hub("eligibility", "sheet", "--date", DAY.isoformat(), "--to", tmp_path / "day.xlsx", "-c", file)
            assert (done.returncode, done.stderr) == (0, "")
        assert operate(str(file), "eligibility.sheet", {"format": "csv"})["visits"] == 0
    assert read_sheet((tmp_path / "day.xlsx").read_bytes())[0][0] == "Time"
    assert (tmp_path / "day.xlsx").stat().st_mode & 0o777 == 0o600
    wrong = run_hub("eligibility", "sheet", "--to", tmp_path / "day.pdf", "-c", file)
    assert (wrong.returncode, ".xlsx or .csv" in wrong.stderr) == (2, True)
    nowhere = run_hub("eligibility", "sheet", "--to", tmp_path / "none" / "day.csv", "-c", file)
    assert (nowhere.returncode, "Traceback" in nowhere.stderr) == (4, False)
    assert sorted(path.name for path in tmp_path.glob("*day*")) == ["day.xlsx"]

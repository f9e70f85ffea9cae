"""The worklist as a spreadsheet: out with columns to tick, back with ticks and new lines, twice without harm."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import asynccontextmanager

import pytest

from connectors.simulators.ehr import EhrClient
from hub.errors import MessageUnusable, NotFound
from hub.formats.sheets import read_sheet, write_csv, write_xlsx
from plugins.worklist.sheet import COLUMNS, lines_of
from tests.plugins.clinic import Clinic, adt, at, mrn, pid, quick_hub, siu
from tests.support import ask, clinic_folder, port_of, run_hub, settled, until

FLOWS = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  out: {kind: folder, path: "@FOLDER@/out", name: "worklist-{id}.xlsx"}
  back: {kind: folder, path: "@FOLDER@/back", pattern: "*.*", format: bytes, every: 50ms, stable_for: 0ms, after: delete}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {on_booking: true, fresh_for: 24h}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {worklist: front_desk}]
  morning:
    from: {every: 1s}
    steps: [{worklist_sheet: xlsx}, {send: out}]
  ticked:
    from: back
    steps: [read_worklist]
"""
NEW = "=HYPERLINK: call about the 00042 form"


@asynccontextmanager
async def clinic(folder):
    for name in ("out", "back"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    async with (
        quick_hub(clinic_folder(folder, FLOWS.replace("@FOLDER@", str(folder)))) as hub,
        EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr,
    ):
        found = Clinic(hub, ehr)
        await found.tell(adt("A04", pid(mrn("00042"))), siu("S12", "F-77", at(9, 30), pid(mrn("00042"))))
        yield found


async def the_sheet(clinic, **params):
    found = await ask(clinic.hub, "worklist.sheet", **params)
    head, *rows = read_sheet(b64decode(found["content"]))
    assert found["items"] == len(rows)
    assert tuple(head[: len(COLUMNS)]) == COLUMNS
    return [dict(zip(head, [*row, *[""] * (len(head) - len(row))], strict=True)) for row in rows]


def comes_back(folder, lines, format, name):
    rows = [list(COLUMNS), *([line.get(column) for column in COLUMNS] for line in lines)]
    draft = folder / f"{name}.part"
    draft.write_bytes(write_csv(rows) if format == "csv" else write_xlsx(rows))
    draft.rename(folder / "back" / f"{name}.{format}")


async def have_come_back(clinic, sheets):
    async def so_many():
        return len(await ask(clinic.hub, "messages.list", connection="back")) == sheets

    await until(so_many)
    await settled(clinic.hub)


@pytest.mark.parametrize("format", ["csv", "xlsx"])
async def test_a_sheet_goes_out_and_what_is_ticked_in_it_is_done(tmp_path, format):
    async with clinic(tmp_path) as coordinator:
        [line] = await the_sheet(coordinator, format=format)
        assert (line["Visit"], line["Patient"], line["Time of visit"][11:16]) == ("F-77", "Doe, Jane", "09:30")
        assert line["Done"] == ""

        line |= {"Done": "X", "Remark": "called her"}
        new = {"What to do": NEW, "Visit": "00077", "Who": "Ann", "Queue": "forms"}
        again = {"What to do": "another thing about the same visit", "Visit": "00077"}
        for number in range(2):
            comes_back(tmp_path, [line, new, again], format, f"ticked{number}")
            await have_come_back(coordinator, number + 1)

        assert await coordinator.to_do("F-77") == []
        [closed] = [item for item in await coordinator.all_items("F-77") if item.closed_because]
        assert closed.closed_because == "ticked in a sheet: called her"
        items = await coordinator.to_do("00077")
        assert sorted((item["text"], item["who"], item["queue"]) for item in items) == [
            (NEW, "Ann", "forms"), ("another thing about the same visit", "coordinator", "front_desk"),
        ]  # fmt: skip
        assert [line["Visit"] for line in await the_sheet(coordinator, queue="forms")] == ["00077"]


async def test_what_a_sheet_opened_and_somebody_did_is_not_opened_again(tmp_path):
    async with clinic(tmp_path) as coordinator:
        for number in range(2):
            comes_back(tmp_path, [{"What to do": "call", "Visit": "F-9"}], "csv", f"list{number}")
            await have_come_back(coordinator, number + 1)
            if number == 0:
                [item] = await coordinator.to_do("F-9")
                assert await ask(coordinator.hub, "worklist.done", items=[item["id"]], remark="called") == [
                    {"id": item["id"], "was_open": True}
                ]
        assert await coordinator.to_do("F-9") == []


async def test_a_flow_leaves_the_sheet_in_a_folder(tmp_path):
    async with clinic(tmp_path):
        await until(lambda: list((tmp_path / "out").glob("worklist-*.xlsx")))
        file = next((tmp_path / "out").glob("worklist-*.xlsx"))
        assert read_sheet(file.read_bytes())[0] == list(COLUMNS)


async def test_of_several_items_all_are_closed_or_none(tmp_path):
    async with clinic(tmp_path) as coordinator:
        [item] = await coordinator.to_do("F-77")
        with pytest.raises(NotFound, match="no item w-999; nothing was closed"):
            await ask(coordinator.hub, "worklist.done", items=[item["id"], "w-999"])
        assert await coordinator.to_do("F-77") == [item]


async def test_the_commands(tmp_path):
    async with clinic(tmp_path) as coordinator:
        [item] = await coordinator.to_do("F-77")
    file, config = tmp_path / "list.xlsx", tmp_path / "clinic.yaml"
    written = run_hub("worklist", "sheet", "--to", file, "-c", config)
    assert (written.returncode, written.stdout) == (0, f"1 item(s) are in {file}\n"), written.stderr
    assert file.stat().st_mode & 0o77 == 0, "it names patients"
    done = run_hub("worklist", "-c", config, "done", item["id"], "--remark", "asked her", "--json")
    assert json.loads(done.stdout) == {"id": item["id"], "was_open": True}, done.stderr
    assert run_hub("worklist", "-c", config).stderr == "nothing to do\n"
    assert run_hub("worklist", "done", "w-999", "-c", config).returncode == 1
    assert "ends in .xlsx or .csv" in run_hub("worklist", "sheet", "--to", tmp_path / "a.txt", "-c", config).stderr


@pytest.mark.parametrize("rows", [[], [["Name", "Phone"]], [["Item", "Done"]]])
def test_what_is_no_sheet_of_a_worklist_is_told(rows):
    with pytest.raises(MessageUnusable, match="has no column"):
        list(lines_of(write_csv(rows)))


def test_headings_may_stand_in_any_order_and_case():
    [line] = lines_of(
        write_csv(
            [
                ["DONE", "what to do ", "Item"],
                ["ja", "", ""],
                [],
                ["", "", ""],
            ]
        )
    )
    assert (line.number, line["Done"], line.is_done) == (2, "ja", False)

"""What a payer said goes to other systems: once for each change, in the form a mapping gives it, and never the insurance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.simulators.clearinghouse import Member
from hub.bus.trial import try_flow
from hub.formats.hl7v2.message import Hl7
from hub.message import Message
from tests.plugins.clinic import (
    PATIENCE,
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
from tests.support import ask, until

OUT = '  ehr_back: {kind: folder, path: "@FOLDER@", name: "{type}-{id}.hl7"}\n'
FLOW = """
  tell:
    from: {due: write_back}
    steps: [{map: @MAPPING@}, {send: ehr_back}]
"""


async def told(clinic: Clinic, count: int) -> list[Hl7]:
    """The messages in the order they were written, once there are so many and nothing more comes."""
    folder = clinic.hub.clinic.settings.folder / "back"
    await until(lambda: len(list(folder.glob("*.hl7"))) >= count, PATIENCE)
    await clinic.quiet()
    files = sorted(folder.glob("*.hl7"), key=lambda file: file.stat().st_mtime_ns)
    assert len(files) == count
    return [Hl7(file.read_bytes()) for file in files]


async def booked(clinic: Clinic, member: str = "W100") -> None:
    await clinic.tell(
        adt("A04", pid(mrn("00042")), in1(member, group="G-7")), siu("S12", "F-1", at(9), pid(mrn("00042")), placer="P-9")
    )


@asynccontextmanager
async def telling(
    folder: Path, *members: Member, mapping: str = "coverage_to_hl7_z", step: str = "plan_write_back"
) -> AsyncIterator[Clinic]:
    """A clinic that tells the EHR what payers said, in a folder."""
    (folder / "back").mkdir()
    flow, out = FLOW.replace("@MAPPING@", mapping), OUT.replace("@FOLDER@", str(folder / "back"))
    async with eligibility(folder, *members, connections=out, flows=flow, last_step=step) as clinic:
        yield clinic


@pytest.mark.parametrize("mapping", ["coverage_to_hl7_z", "coverage_to_hl7_nte", "coverage_to_hl7_in1"])
async def test_an_outcome_is_told_once_in_the_form_the_clinic_chose(tmp_path: Path, mapping: str) -> None:
    async with telling(tmp_path, jane(), mapping=mapping) as clinic:
        await booked(clinic)
        await told(clinic, 1)
        await ask(clinic.hub, "eligibility.check", appointment="F-1")
        await clinic.quiet()
        (message,) = await told(clinic, 1)
        assert message.get("PID-3.1") == "00042"
        words = "covered, Aetna, CHOICE PPO, co-pay 25, deductible left 310.50"
        if mapping == "coverage_to_hl7_z":
            assert (message.type, message.get("SCH-1"), message.get("SCH-2")) == ("SIU^S14", "P-9", "F-1")
            assert [message.get(f"ZCV-{n}") for n in (1, 2, 3, 4)] == ["covered", "CHOICE PPO", "25", "310.50"]
        elif mapping == "coverage_to_hl7_nte":
            assert (message.type, message.get("NTE-3")) == ("SIU^S14", words)
        else:
            assert (message.type, message.get("IN1-36"), message.get("IN1-8")) == ("ADT^A08", "W100", "G-7")
            assert (message.get("IN1-25"), message.get("IN1-45"), message.get("NTE-3")) == ("Y", "covered", words)


async def test_the_insurance_that_is_told_is_the_charts_and_never_the_payers(tmp_path: Path) -> None:
    async with telling(tmp_path, jane(group="G-9"), mapping="coverage_to_hl7_in1") as clinic:
        await booked(clinic)
        (message,) = await told(clinic, 1)
        assert (message.get("IN1-3"), message.get("IN1-8"), message.get("IN1-36")) == ("60054", "G-7", "W100")


async def test_a_change_is_told_and_what_is_not_wanted_is_not(tmp_path: Path) -> None:
    async with telling(tmp_path, jane(), jane(member_id="W200", active=False)) as clinic:
        await booked(clinic)
        await told(clinic, 1)
        await clinic.tell(adt("A08", pid(mrn("00042")), in1("W999")))
        assert await clinic.outcome("F-1") == "not_found"
        await clinic.tell(adt("A08", pid(mrn("00042")), in1("W200")))
        assert [message.get("ZCV-1") for message in await told(clinic, 2)] == ["covered", "inactive"]


async def test_which_outcomes_are_told_is_for_the_clinic_to_say(tmp_path: Path) -> None:
    async with telling(tmp_path, step="{plan_write_back: [not_found]}") as clinic:
        await booked(clinic)
        assert [message.get("ZCV-1") for message in await told(clinic, 1)] == ["not_found"]


async def test_what_was_verified_by_phone_is_told_too(tmp_path: Path) -> None:
    async with telling(tmp_path, jane()) as clinic:
        await booked(clinic)
        await told(clinic, 1)
        await ask(clinic.hub, "eligibility.verified", appointment="F-1", outcome="inactive", reference="call 1")
        await clinic.quiet()
        assert [message.get("ZCV-1") for message in await told(clinic, 2)] == ["covered", "inactive"]
        assert (await told(clinic, 2))[1].get("ZCV-2") is None, "the payer's plan is not what the telephone said"


async def test_a_visit_that_does_not_take_place_is_not_told_about(tmp_path: Path) -> None:
    async with telling(tmp_path, jane()) as clinic:
        await booked(clinic)
        await told(clinic, 1)
        await clinic.tell(siu("S15", "F-1", at(9), pid(mrn("00042"))))
        await told(clinic, 1)


async def test_only_an_outcome_can_be_told(tmp_path: Path) -> None:
    file = eligibility_file(tmp_path, 1, flows="  wrong: {from: ehr, steps: [plan_write_back]}\n")
    trial = await try_flow(read_clinic(file), "wrong", Message(siu("S12", "F-1", at(9)), "hl7v2"))
    assert trial.error is not None
    assert trial.error.code == "ELG-005"

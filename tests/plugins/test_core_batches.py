"""Eligibility in batches: each 270 goes out in a CORE envelope, and its answer is picked up, found and saved later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.simulators.clearinghouse.core import Core, CoreForm, CoreSoap
from connectors.simulators.ehr import EhrClient
from tests.plugins import clinic as shared
from tests.plugins.clinic import Clinic, RecordingTable, adt, at, in1, jane, mrn, pid, quick_hub, siu
from tests.support import clinic_folder, port_of, until

CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: "0"}
  batches:
    kind: caqh_core
    mode: batch
    form: @FORM@
    url: "@URL@"
    sender_id: CLINIC
    receiver_id: HOUSE
    user: demo
    password: {$file: secret}
    retry: {first: 30ms, most: 100ms, attempts: "3"}
  results:
    kind: caqh_core_pickup
    every: 100ms
    form: @FORM@
    url: "@URL@"
    sender_id: CLINIC
    receiver_id: HOUSE
    user: demo
    password: {$file: secret}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {fresh_for: 24h, retry_after: [50ms]}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {send: batches}]
  eligibility_results:
    from: results
    steps: [match_answers, {map: 271_to_coverage}, {save: coverage_check}, {worklist: front_desk}]
"""
FORMS: dict[str, type[Core]] = {"soap": CoreSoap, "mime": CoreForm}


@asynccontextmanager
async def in_batches(folder: Path, form: str) -> AsyncIterator[tuple[Clinic, Core]]:
    house = shared.SHARED[0].clearinghouse
    house.reset(RecordingTable([jane(), jane(member_id="W200", faults=("aaa 42 2100A R",))]))
    facade = house.facade(FORMS[form])
    facade.__init__(house)  # type: ignore[misc]  # as new
    (folder / "secret").write_text("demo-secret")
    text = CLINIC.replace("@FORM@", form).replace("@URL@", f"{house.base}/core/{form}")
    file = clinic_folder(folder, text, payers=shared.PAYERS)
    async with quick_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
        yield Clinic(hub, ehr, house), facade


@pytest.mark.parametrize("form", FORMS)
async def test_visits_are_asked_about_in_batches_and_each_answer_finds_its_visit(form: str, tmp_path: Path) -> None:
    async with in_batches(tmp_path, form) as (clinic, facade):
        await clinic.say(adt("A04", pid(mrn("1")), in1("W100")), siu("S12", "F-1", at(9), pid(mrn("1"))))
        await clinic.say(adt("A04", pid(mrn("2")), in1("W200")), siu("S12", "F-2", at(10), pid(mrn("2"))))
        await clinic.say(adt("A04", pid(mrn("3")), in1("W999")), siu("S12", "F-3", at(11), pid(mrn("3"))))
        await clinic.reaches("F-1", "covered")
        await clinic.reaches("F-2", "covered")
        await clinic.reaches("F-3", "not_found")
        assert (await clinic.card("F-1"))["owes"]["co_payment"] == "25"
        assert clinic.clearinghouse is not None
        assert clinic.clearinghouse.ledger.needless() == []
        assert [entry.end for entry in clinic.clearinghouse.ledger.about("W200")] == ["aaa 42", "271"], "it was asked again"
        await until(lambda: not facade.results, 10)
        assert not await clinic.quarantined()


async def test_a_batch_that_is_refused_is_told(tmp_path: Path) -> None:
    async with in_batches(tmp_path, "soap") as (clinic, _):
        assert clinic.clearinghouse is not None
        clinic.clearinghouse.faults.script_batch("ta1 006")
        await clinic.say(adt("A04", pid(mrn("1")), in1("W100")), siu("S12", "F-1", at(9), pid(mrn("1"))))
        await clinic.reaches("F-1", "unclear")
        [item] = await clinic.to_do("F-1")
        assert ("TA1" in item["text"], item["who"]) == (True, "it")

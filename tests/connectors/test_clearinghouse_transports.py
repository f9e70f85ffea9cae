"""Every way to ask through a hub: whatever goes wrong at the clearinghouse, each question ends in one answer, or is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.clearinghouse import Clearinghouse, Member
from tests.connectors.simulators.inquiries import inquiry
from tests.support import ask, clinic_folder, running_hub, settled, until

JANE = Member("60054", "W100", "DOE", "JANE", "19800229", "F", "CHOICE PPO", co_payment="25")
CLINIC = """
connections:
  inbox: {kind: folder, path: "@IN@", every: 20ms, stable_for: 0s, format: x12}
  clearinghouse:
    timeout: 400ms
    retry: {first: 20ms, most: 50ms, attempts: "3"}
    parallel: "8"
    @WAY@
flows:
  questions:
    from: inbox
    steps: [{ask: clearinghouse}]
"""
WAYS = {
    "raw": (
        "vendor: availity",
        "kind: http",
        'url: "@BASE@/x12/270"',
        'auth: {token_url: "@BASE@/token", client_id: demo, client_secret: {$file: secret}}',
    ),
    "core soap": (
        "vendor: stedi",
        "kind: caqh_core",
        'url: "@BASE@/core/soap"',
        "sender_id: CLINIC",
        "receiver_id: HOUSE",
        "user: demo",
        "password: {$file: secret}",
    ),
    "core mime": (
        "kind: caqh_core",
        "form: mime",
        'url: "@BASE@/core/mime"',
        "sender_id: CLINIC",
        "receiver_id: HOUSE",
        "user: demo",
        "password: {$file: secret}",
    ),
}
"""The settings of each way, a line each."""


async def asked(house: Clearinghouse, folder: Path, *traces: str, way: str = "raw") -> list[dict[str, Any]]:
    """The answers that came to a hub for these questions."""
    inbox = folder / "in"
    inbox.mkdir()
    folder.joinpath("secret").write_text("demo-secret")
    for trace in traces:
        text = inquiry("60054", "W100", trace=trace).replace("000000007", f"{traces.index(trace) + 1:09d}")
        (inbox / f"{trace}.270").write_text(text)
    text = CLINIC.replace("@IN@", str(inbox)).replace("@WAY@", "\n    ".join(WAYS[way])).replace("@BASE@", house.base)
    async with running_hub(clinic_folder(folder, text)) as hub:

        async def taken() -> bool:
            return len(await ask(hub, "messages.list", limit=100)) >= len(traces)

        await until(taken)
        await settled(hub, 15)
        found: list[dict[str, Any]] = await ask(hub, "messages.list", limit=100)
        return found


PASSING = [
    "401", "expire", "429", "429 after 0", "503 until 1", "500", "502", "504", "408", "silent", "silent after commit", "drop",
    "hangup", "slow 0.1", "html",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("word", PASSING)
async def test_what_passes_costs_nothing_but_time(word: str, way: str, tmp_path: Path) -> None:
    async with Clearinghouse([JANE]) as house:
        house.faults.script("ok", word)
        found = await asked(house, tmp_path, "T1", "T2", "T3", way=way)
    assert {line["state"] for line in found} == {"delivered"}
    assert [line["type"] for line in found].count("271") == 3
    assert len(house.ledger.entries) == (3 if word == "slow 0.1" else 4), "one question more, for the one that went wrong"
    numbers = {(entry.control_number, entry.trace) for entry in house.ledger.entries}
    assert numbers == {(f"{n:09d}", f"T{n}") for n in (1, 2, 3)}, "a repeat has the numbers of the first"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("word", "type"), [("999", "999"), ("ta1 006", "TA1"), ("aaa 42 2100A R", "271"), ("twice", "271")])
async def test_an_acknowledgement_in_place_of_a_271_is_the_answer(word: str, type: str, way: str, tmp_path: Path) -> None:
    async with Clearinghouse([JANE]) as house:
        house.faults.script(word)
        found = await asked(house, tmp_path, "T1", way=way)
    assert [(line["type"], line["state"]) for line in found if line["direction"] == "in" and line["type"] != "270"] == [
        (type, "delivered")
    ]
    assert len(house.ledger.entries) == 1


@pytest.mark.parametrize(
    ("words", "tries", "says"),
    [(["400"], 1, "400"), (["empty"], 1, "no answer"), (["html"] * 3, 3, "web page")],
    ids=lambda value: str(value)[:12],
)
async def test_what_is_no_answer_goes_to_quarantine_with_words(words: list[str], tries: int, says: str, tmp_path: Path) -> None:
    async with Clearinghouse([JANE]) as house:
        house.faults.script(*words)
        found = await asked(house, tmp_path, "T1")
    assert [line["state"] for line in found if line["type"] == "270"].count("quarantined") >= 1
    assert any(says in (line["reason"] or "") for line in found)
    assert "DOE" not in json.dumps(found)
    assert len(house.ledger.entries) == tries

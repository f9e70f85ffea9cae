"""Commands that change a hub, at rest: what they say to people and programs, and their exit codes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from tests.hub.cli.conftest import Cli
from tests.support import adt, clinic_folder, port_of, running_hub, settled, siu

CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: '0'}
  pms: {kind: mllp_sender, host: 127.0.0.1, port: '1'}
flows:
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}]
  forward:
    from: ehr
    when: {type: ADT^*}
    steps: [{send: pms}]
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """A hub at rest with a booking it could not use."""
    file = clinic_folder(tmp_path, CLINIC)

    async def fill() -> None:
        async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
            await ehr.send(siu("M1", "F-77", "tomorrow"))
            await settled(hub)
            await ehr.send(adt("M2"))

    asyncio.run(fill())
    return file


def test_pause_drain_and_resume(cli: Cli, clinic: Path) -> None:
    done = cli("pause", "pms", "-c", clinic, "--json")
    assert done.code == 0
    assert done.lines == [{"route": "to:pms", "state": "paused", "waiting": 1, "held": 0, "under_way": 0}]
    done = cli("drain", "bookings", "-c", clinic, "--wait", "1ms")
    assert (done.code, "draining" in done.out) == (3, True), "nobody is there to do it"
    done = cli("resume", "bookings", "-c", clinic)
    assert (done.code, "running" in done.out) == (0, True)
    assert '"state": "paused"' in cli("status", "--json", "-c", clinic).out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("pause", "nobody"), 1, "OPS-001"),
        (("drain", "pms", "--wait", "soon"), 2, "CLI-005"),
        (("messages", "skip", "nothing"), 1, "HUB-006"),
        (("messages", "edit", "nothing", "hub.key.missing"), 2, "does not exist"),
        (("messages", "show", "nothing", "--body"), 2, "CLI-004"),
        (("jobs", "stop", "nothing"), 1, "RPL-007"),
        (("reload",), 4, "HUB-004"),
        (("tail",), 4, "HUB-004"),
        (("replay", "--yes", "1"), 5, "RPL-001"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_done_says_so(cli: Cli, clinic: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = cli(*arguments, "-c", clinic)
    assert (done.code, words in done.err) == (code, True), done.err


def test_a_message_is_taken_out_edited_and_sent_and_the_original_is_over(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    [stuck] = cli("messages", "list", "--state", "quarantined", "--json", "-c", clinic).lines
    body = cli("messages", "show", stuck["id"], "--phi", "--body", "-c", clinic).out
    file = tmp_path / "right.hl7"
    file.write_text(body.replace("tomorrow", "209911301430"), newline="")
    done = cli("messages", "edit", stuck["id"], file, "--json", "-c", clinic)
    assert done.code == 0
    assert done.json["works"] == [{"target": "flow:bookings", "place": "end"}]
    done = cli("messages", "skip", stuck["id"], "-c", clinic)
    assert (done.code, "OPS-003" in done.err) == (5, True), "it is over already"
    done = cli("messages", "skip", done_id := str(cli_id(cli, clinic)), "--json", "-c", clinic)
    assert done.json == {"id": done_id, "skipped": ["flow:bookings"]}


def cli_id(cli: Cli, clinic: Path) -> str:
    """The booking that waits."""
    return str(
        next(
            m["id"] for m in cli("messages", "list", "--type", "SIU^*", "--json", "-c", clinic).lines if m["state"] == "waiting"
        )
    )


def test_replays_and_their_jobs(cli: Cli, clinic: Path) -> None:
    assert cli("jobs", "list", "-c", clinic).err == "no jobs\n"
    done = cli("replay", "--state", "quarantined", "--yes", "1", "--wait", "--json", "-c", clinic)
    assert (done.code, done.json["count"], done.json["replayed"]) == (0, 1, 1)
    [job] = cli("jobs", "list", "--json", "-c", clinic).lines
    assert (job["id"], job["state"], job["total"], job["done"]) == (done.json["job"], "done", 1, 1)
    done = cli("jobs", "resume", job["id"], "-c", clinic)
    assert (done.code, "RPL-008" in done.err) == (5, True)

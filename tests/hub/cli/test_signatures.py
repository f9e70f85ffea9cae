"""`hub signatures`: what people see of envelopes and what they do about them, at a hub at rest."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from connectors.simulators.signer import SigningService
from hub.records_signing import Envelope
from tests.hub.cli.conftest import Cli
from tests.plugins.clinic import adt, at, mrn, pid, siu
from tests.plugins.signing import signing_file
from tests.support import port_of, running_hub, settled, until


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One consent is out, one was declined."""
    folder = tmp_path_factory.mktemp("clinic")

    async def fill() -> Path:
        async with SigningService(pace=0.01) as service:
            file = signing_file(folder, service.port, looks="200ms")
            async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
                for number, does in (("42", "views"), ("43", "declines")):
                    who = pid(mrn(number), f13=f"^NET^Internet^{does}.jane@x.example")
                    await ehr.send(adt("A04", who))
                    await ehr.send(siu("S12", f"F-{number}", at(9), who))

                async def are_there() -> bool:
                    context = hub.core.context("test")
                    found = [e for id in ("F-42", "F-43") for e in await context.find(Envelope, "appointment", id)]
                    return sorted(e.state for e in found) == ["declined", "viewed"]

                await until(are_there)
                await settled(hub)
        return file

    return asyncio.run(fill())


def test_the_list_says_what_is_out_and_what_needs_somebody(cli: Cli, clinic: Path) -> None:
    shown = cli("signatures", "list", "-c", clinic).out
    assert "opened, not signed yet" in shown
    assert "the signer said no" in shown
    assert [line["appointment"] for line in cli("signatures", "list", "--state", "problem", "--json", "-c", clinic).lines] == [
        "F-43"
    ]
    day = at(9).date().isoformat()
    assert len(cli("signatures", "list", "--date", day, "--json", "-c", clinic).lines) == 2
    assert "nothing is out" in cli("signatures", "list", "--date", "2020-01-01", "-c", clinic).err


def test_a_visit_shows_signers_times_and_why(cli: Cli, clinic: Path) -> None:
    shown = cli("signatures", "show", "F-43", "-c", clinic).out
    assert "patient: Jane Doe declines.jane@x.example" in shown
    assert "I have a question first" in shown
    assert cli("signatures", "show", "F-99", "-c", clinic).code != 0


def test_what_came_to_nothing_is_sent_again_and_what_is_out_is_not(cli: Cli, clinic: Path) -> None:
    out, declined = (cli("signatures", "show", id, "--json", "-c", clinic).lines[0]["envelope"] for id in ("F-42", "F-43"))
    refused = cli("signatures", "send", out, "-c", clinic)
    assert refused.code == 5
    assert "opened, not signed yet" in refused.err
    assert "is sent in place of" in cli("signatures", "send", declined, "-c", clinic).out
    assert cli("signatures", "show", "F-43", "--json", "-c", clinic).lines[0]["state"] == "ordered"

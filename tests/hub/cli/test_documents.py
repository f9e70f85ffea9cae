"""`hub documents`: what people see of documents and what they do about them, at a hub at rest."""

import asyncio
from pathlib import Path

import pytest

from connectors.simulators.ehr import EhrClient
from tests.hub.cli.conftest import Cli
from tests.plugins.papers import pdf
from tests.support import adt, ask, clinic_folder, port_of, running_hub, settled, until

CLINIC = """
connections:
  ehr: {kind: mllp_listener, port: '0'}
  scans: {kind: folder, path: "scans", format: bytes, every: 50ms, stable_for: 0s}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*}
    steps: [{map: adt_to_patient}, {save: patient}]
  scans_in:
    from: scans
    steps: [{receive_document: scan}, {match_document: {file_after: 1h}}]
"""


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document is matched, and one waits."""
    file = clinic_folder(tmp_path_factory.mktemp("clinic"), CLINIC)
    scans = file.parent / "scans"
    scans.mkdir()

    async def fill() -> None:
        async with running_hub(file) as hub, EhrClient("127.0.0.1", port_of(hub, "ehr")) as ehr:
            await ehr.send(adt("M1", "00042", family="DOE"))
            await settled(hub)
            for name, text in (("a", "Consent\nMRN: 00042\nPatient: Jane Doe"), ("b", "MRN: 00042\nPatient: John Roe")):
                (scans / f"{name}.part").write_bytes(pdf(text))
                (scans / f"{name}.part").rename(scans / f"{name}.pdf")

            async def are_there() -> bool:
                return sorted(line["state"] for line in await ask(hub, "documents.list")) == ["matched", "waiting"]

            await until(are_there)

    asyncio.run(fill())
    return file


def test_the_list_says_what_waits_and_why(cli: Cli, clinic: Path) -> None:
    shown = cli("documents", "list", "-c", clinic).out
    assert "too little on it" in shown
    assert "Consent" in shown
    assert len(cli("documents", "list", "--state", "waiting", "--json", "-c", clinic).lines) == 1
    assert "no documents" in cli("documents", "list", "--state", "filed", "-c", clinic).err
    assert len(cli("documents", "list", "--patient", "00042", "--json", "-c", clinic).lines) == 1


def test_a_document_is_looked_at_matched_and_taken_back(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    (line,) = cli("documents", "list", "--state", "waiting", "--json", "-c", clinic).lines
    shown = cli("documents", "show", line["id"], "--save", tmp_path / "seen.pdf", "-c", clinic).out
    assert "state: waiting" in shown
    assert "it says: number 00042 (page 1)" in shown
    assert "it says: name John Roe (page 1)" in shown
    assert (tmp_path / "seen.pdf").read_bytes() == pdf("MRN: 00042\nPatient: John Roe")
    assert "is matched for" in cli("documents", "match", line["id"], "--patient", "00042", "-c", clinic).out
    assert "00042, said " in cli("documents", "show", line["id"], "-c", clinic).out
    assert "is matched" in cli("documents", "file", line["id"], "-c", clinic).out
    assert "is waiting" in cli("documents", "undo", line["id"], "-c", clinic).out
    assert "is rejected" in cli("documents", "reject", line["id"], "--why", "twice", "-c", clinic).out
    assert cli("documents", "undo", line["id"], "--json", "-c", clinic).json["state"] == "waiting"
    refused = cli("documents", "file", line["id"], "-c", clinic)
    assert (refused.code, "only a matched one" in refused.err) == (5, True)


def test_a_referral_is_ordered_and_listed(cli: Cli, clinic: Path) -> None:
    refused = cli("referrals", "send", "F-77", "--to", "Lake Cardiology", "-c", clinic)
    assert (refused.code, "there is no appointment F-77" in refused.err) == (1, True)
    assert "no referrals" in cli("referrals", "list", "-c", clinic).err
    assert cli("referrals", "list", "--appointment", "F-77", "--json", "-c", clinic).lines == []


def test_a_cover_sheet_is_written(cli: Cli, clinic: Path, tmp_path: Path) -> None:
    done = cli("documents", "cover", "--patient", "00042", "--kind", "CONSENT", "--out", tmp_path / "cover.pdf", "-c", clinic)
    assert done.code == 0
    assert (tmp_path / "cover.pdf").read_bytes().startswith(b"%PDF")
    assert cli("documents", "cover", "--patient", "1", "--out", tmp_path / "none.pdf", "-c", clinic).code != 0

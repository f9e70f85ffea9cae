"""Moving a clinic from SQLite to PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import Refused, StoreError
from hub.store import copying
from hub.store.batch import partition_of
from tests.hub.bus.probe import World, adt, deliver, in_turn, rows, siu, tamper
from tests.postgres import execute, query
from tests.support import ask, clinic_folder, json_lines, run_hub, running_hub, settled

CLINIC = """
connections:
  inbox: {kind: probe_in}
  out: {kind: probe_out}
flows:
  all: {from: inbox, steps: [{send: out}]}
"""


@pytest.fixture
async def clinic(world: World, tmp_path: Path) -> Path:
    """A clinic that has worked for a while; its last message waits."""
    file = clinic_folder(tmp_path, CLINIC)
    async with running_hub(file) as hub:
        await in_turn(hub, [adt(f"M{number}", f"P{number % 7}", family="M\u00fcller") for number in range(30)])
        await deliver(hub, siu("S1", "F-1", "202611301430"))
        await deliver(hub, adt("BIG", more=("NTE|1||" + "x" * 300_000,)))
        await settled(hub)
    tamper(tmp_path / "var" / "hub.db", "UPDATE work SET state = 'waiting' WHERE id = (SELECT max(id) FROM work)")
    return file


async def test_a_clinic_moves_with_everything_it_had_and_goes_on(clinic: Path, url: str, plugin_env: dict[str, str]) -> None:
    source = clinic.parent / "var" / "hub.db"
    before = rows(source, "SELECT id, seq, digest, body FROM message ORDER BY seq")
    done = run_hub("store", "copy", "sqlite:///var/hub.db", url, "-c", clinic, "--json", env=plugin_env)
    assert done.returncode == 0, done.stderr
    [copied] = json_lines(done.stdout)
    assert copied["message"] == len(before) == 64
    assert copied["files"] == 1
    assert query(url, "SELECT id, seq, digest, body FROM message ORDER BY seq") == before
    assert all(partition == partition_of(lane) for partition, lane in query(url, "SELECT partition, lane FROM work"))
    clinic.write_text(clinic.read_text().replace("sqlite:///var/hub.db", url))
    async with running_hub(clinic) as hub:
        await settled(hub)
        receipt = await deliver(hub, adt("NEW"))
        await settled(hub)
        [big] = await ask(hub, "messages.list", control_id="BIG", connection="inbox")
        assert "x" * 300_000 in (await ask(hub, "messages.show", id=big["id"], phi=True))["body"]
        assert (await ask(hub, "messages.show", id=receipt.ids[0], phi=True))["seq"] == 65
    assert query(url, "SELECT DISTINCT state FROM work") == [("delivered",)]


async def test_a_copy_into_a_database_that_holds_something_is_refused(clinic: Path, url: str) -> None:
    execute(url, "INSERT INTO counter VALUES ('theirs', 1)")
    source = clinic.parent / "var" / "hub.db"
    with pytest.raises(Refused, match="table counter"):
        await copying.copy_store(source, url, clinic.parent / "large")
    done = run_hub("store", "copy", "sqlite:///var/hub.db", url, "-c", clinic)
    assert done.returncode == 5
    assert "STO-017" in done.stderr
    assert query(url, "SELECT count(*) FROM message") == [(0,)]


async def test_a_copy_that_does_not_come_out_the_same_leaves_nothing(clinic: Path, url: str) -> None:
    """A trigger stands for a database that changes what it is given."""
    execute(
        url,
        """
        CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.type = 'ADT^A99'; RETURN NEW; END $$;
        CREATE TRIGGER spoil BEFORE INSERT ON message FOR EACH ROW WHEN (NEW.seq = 7) EXECUTE FUNCTION spoil();
        """,
    )
    with pytest.raises(StoreError, match="the copy of the table message is not the same"):
        await copying.copy_store(clinic.parent / "var" / "hub.db", url, clinic.parent / "large")
    assert query(url, "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM info)") == [(0, 0)]


async def test_a_store_in_use_and_one_that_is_not_there_are_refused(clinic: Path, url: str) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        await copying.copy_store(clinic.parent / "none.db", url, clinic.parent / "large")
    async with running_hub(clinic):
        with pytest.raises(Refused, match="another hub is using"):
            await copying.copy_store(clinic.parent / "var" / "hub.db", url, clinic.parent / "large")


def test_only_from_sqlite_to_postgresql(tmp_path: Path, url: str) -> None:
    for source, target in ((url, "sqlite:///x.db"), ("sqlite:///x.db", "sqlite:///y.db")):
        assert run_hub("store", "copy", source, target).returncode == 5

"""`hub status` of a hub in a process of its own: what stands still is explained within ten seconds (P7), for people."""

import json
import time
from pathlib import Path

import pytest

from tests.support import HubProcess, adt, clinic_folder, free_port, run_hub

CLINIC = """
connections:
  box: {kind: folder, path: box, pattern: "*.hl7", stable_for: 0s, every: 200ms}
  ehr: {kind: mllp_sender, host: 127.0.0.1, port: %d, timeout: 2s}
flows:
  forward: {from: box, steps: [{send: ehr}]}
alerts: {every: 500ms, down_for: 1s}
"""


def test_a_partner_that_is_away_is_explained_within_ten_seconds(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    port = free_port()
    file = clinic_folder(tmp_path, CLINIC % port)
    with HubProcess(file):
        for number in range(3):
            (tmp_path / "box" / f"{number}.hl7").write_bytes(adt(f"M{number}", "7700042", family="ZZCANARY"))
        began = time.monotonic()
        found: dict[str, list[dict[str, str]]] = {"alerts": []}
        while not found["alerts"] and time.monotonic() - began < 15:
            found = json.loads(run_hub("status", "-c", file, "--json").stdout)
            if found["stops"] and "explained" not in locals():
                explained = time.monotonic() - began
        assert explained < 10
        [stop] = found["stops"]
        assert (stop["where"], stop["code"]) == ("connection ehr", "NET-001")
        assert str(port) in stop["text"]
        [alert] = found["alerts"]
        assert (alert["code"], alert["where"]) == ("ALR-005", "connection ehr")
        people = run_hub("status", "--lanes", "-c", file)
        worklist = run_hub("worklist", "-c", file)
    assert people.returncode == 0
    assert f"stopped: connection ehr: {stop['text']} [NET-001]" in people.stderr
    assert "alert: connection ehr: down for" in people.stderr
    assert "commits/s" in people.stderr
    lines = people.stdout.splitlines()
    assert any(line.split()[:4] == ["connection", "ehr", "down", "3"] for line in lines), "state and what waits"
    assert any(line.startswith("connection ehr") and "waiting" in line for line in lines), "the lane, its first message"
    assert "A connection has been down for long." in worklist.stdout
    assert "ZZCANARY" not in people.stdout + people.stderr + worklist.stdout
    assert "7700042" not in people.stdout + people.stderr + worklist.stdout
    rest = run_hub("status", "-c", file)
    assert "not running" in rest.stderr
    assert "alert: connection ehr" in rest.stderr, "known at rest too"


@pytest.mark.parametrize("code", ["ALR-001", "ALR-010"])
def test_alerts_are_explained(code: str) -> None:
    done = run_hub("explain", code)
    assert done.returncode == 0
    assert code in done.stdout

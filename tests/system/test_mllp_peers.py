"""MLLP peers that need npm or openssl: node-hl7-client, node-hl7-server, simple-hl7, openssl s_client."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import ROOT

SCRIPT = ROOT / "benchmarks" / "peers" / "run.py"


def test_every_peer_of_this_machine_understands_us() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json"], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line for line in found if line["result"] == "failed"] == []
    assert done.returncode == 0
    if missing := [f"{line['peer']}: {line['why']}" for line in found if line["result"] == "not run"]:
        pytest.skip("; ".join(missing))

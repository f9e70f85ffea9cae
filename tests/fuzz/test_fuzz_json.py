"""The fuzzer finds nothing in the JSON formats: the same inputs each time here, ten minutes of chance in the long form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.simulators.clearinghouse import rendered_coverage, rendered_v3
from tests.fuzz.running import MISSING, fuzz
from tests.hub.formats.messages import HEAD_271, SUBSCRIBER, answer_271

LINES = [
    *HEAD_271, *SUBSCRIBER, "DTP*346*RD8*20260101-20261231", "EB*1**30*HM*GOLD", "EB*B**1^98***27*25****Y*Y*HC:99213",
    "HSD*VS*35***21*1", "REF*18*P", "DTP*292*D8*20260101", "MSG*OFFICE", "III*ZZ*11", "LS*2120", "NM1*PR*2*OTHER*****PI*5",
    "PER*IC**TE*5550100", "LE*2120", "EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***24*1000*****Y", "EB*C*FAM*30***29*900",
    "EB*R**30*HN*X", "AAA*N**72*C",
]  # fmt: skip
SEEDS = {
    "eligibility_v3": [
        json.dumps(rendered_v3.rendered(LINES, "000000001", "60054")).encode(),
        json.dumps({"x12": answer_271("EB*1**30").decode(), "errors": [{"code": "72", "location": "Loop 2100C"}]}).encode(),
        b'{"planStatus": [{"statusCode": "1"}], "transactionSetAcknowledgement": "R"}',
    ],
    "coverages": [
        json.dumps(rendered_coverage.rendered(LINES, "1001")).encode(),
        b'{"statusCode": "19", "validationMessages": [{"field": "memberId", "code": "72"}]}',
        b'{"statusCode": "7"}',
    ],
}
RUNS = 2_000
"""Inputs of each target, of a few seconds."""
MODULE = "tests.fuzz.json_targets"


@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", SEEDS)
def test_a_little_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    fuzz(MODULE, target, tmp_path, SEEDS[target], "-seed=1", f"-runs={RUNS}")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", SEEDS)
def test_ten_minutes_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    fuzz(MODULE, target, tmp_path, SEEDS[target], "-max_total_time=600", within=1700)

"""The fuzzer finds nothing in X12: the same inputs each time here, ten minutes of chance in the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.running import MISSING, fuzz
from tests.hub.formats.messages import HEAD_271, SUBSCRIBER, answer_271, group, interchange, transaction
from tests.hub.formats.x12.test_claim_status import ANSWER
from tests.hub.formats.x12.test_inquiry import CHILD, PLAIN, built

RICH = answer_271(
    "DTP*346*RD8*20260101-20261231", "EB*1**30*HM*GOLD", "EB*B**1^98***27*25****Y*Y*HC:99213", "HSD*VS*35***21*1", "REF*18*P",
    "DTP*292*D8*20260101", "MSG*OFFICE", "III*ZZ*11", "LS*2120", "NM1*PR*2*OTHER*****PI*5", "PER*IC**TE*5550100", "LE*2120",
    "EB*C*IND*30***23*1500*****Y", "EB*C*IND*30***24*1000*****Y", "EB*C*FAM*30***29*900", "EB*R**30*HN*X", "EB*1**30*MA",
    "EB*A**98*****.2", "EB*F**30", "AAA*N**72*C",
)  # fmt: skip
SEEDS = [
    RICH,
    RICH.translate(bytes.maketrans(b"*:^~", b"|>}!")),
    interchange(group(transaction("271", *HEAD_271, *SUBSCRIBER, "AAA*N**75*C"))) * 2,
    interchange(group(transaction("999", "AK1*HS*7", "AK2*270*0001", "IK3*NM1*8**8", "IK4*9*67*1", "IK5*R*5", "AK9*R*1*1*0"),
                      kind="999")),
    built(PLAIN).encode(),
    built(CHILD).encode(),
    ANSWER.encode(),
]  # fmt: skip
TARGETS = {"reader": 2_000, "benefits": 1_000, "replies": 2_000}
"""And how many inputs each gets, of a few seconds."""
MODULE = "tests.fuzz.x12_targets"


@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", TARGETS)
def test_a_little_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    fuzz(MODULE, target, tmp_path, SEEDS, "-seed=1", f"-runs={TARGETS[target]}")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", TARGETS)
def test_ten_minutes_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    fuzz(MODULE, target, tmp_path, SEEDS, "-max_total_time=600", within=1700)

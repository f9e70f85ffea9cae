"""The fuzzer finds nothing: the same inputs each time here, ten minutes of chance in the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.running import MISSING, fuzz
from tests.hub.formats.messages import MSH, hl7, with_charset

SEEDS = [
    hl7("PID|1||42^^^RIVER^MR~9^^^SSA^SS||DOE^JANE", "IN1|1|PPO|60054", "OBX|1|TX|||a\\.br\\b\\X0D\\c"),
    hl7("PID#1##42", head="MSH#*!/+#EPIC#R#HUB#R#2026##ADT*A01#42#T*A#2.4"),
    hl7("MSA|AE|42", "ERR|||101^x^HL70357|E"),
    with_charset(b"ISO IR87", b"PID|1||42||\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    b"\x0b" + hl7("PID|1") + b"\x1c\r\x0b" + MSH.encode() + b"\x1c\x0b\x1c\r",
    b"FHS|^~\\&\rBHS|^~\\&\r" + hl7("PID|1") * 2 + b"BTS|2\rFTS|1\r",
]
TARGETS = {"framer": 10_000, "parser": 8_000, "escapes": 20_000, "ack": 15_000, "read": 20_000}
"""And how many inputs each gets, of a few seconds."""
MODULE = "tests.fuzz.hl7_targets"
INPUTS = [bytes([number]) + seed for number, seed in enumerate(SEEDS)]
"""The first byte tells the target what to do."""


@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", TARGETS)
def test_a_little_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    fuzz(MODULE, target, tmp_path, INPUTS, "-seed=1", f"-runs={TARGETS[target]}")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", TARGETS)
def test_ten_minutes_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    fuzz(MODULE, target, tmp_path, INPUTS, "-max_total_time=600", within=1700)

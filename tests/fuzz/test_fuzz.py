"""The fuzzer finds nothing: the same inputs each time here, ten minutes of chance in the long form."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.formats.messages import MSH, hl7, with_charset

ROOT = Path(__file__).parents[2]
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
MISSING = importlib.util.find_spec("atheris") is None


def fuzz(target: str, folder: Path, *limits: str, within: float = 100) -> None:
    for number, seed in enumerate(SEEDS):
        (folder / f"seed{number}").write_bytes(bytes([number]) + seed)
    command = [sys.executable, "-m", "tests.fuzz.hl7_targets", target, folder, *limits]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}  # the order of a set is a path of its own
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=within, check=False)
    found = [path for path in folder.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))]
    what = "".join(f"{path.name}: {path.read_bytes()!r}\n" for path in found)
    assert done.returncode == 0, f"{what}{done.stdout[-3000:]}{done.stderr[-500:]}"
    assert "DONE" in done.stderr, "it ran to its end"


@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", TARGETS)
def test_a_little_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    fuzz(target, tmp_path, "-seed=1", f"-runs={TARGETS[target]}")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
@pytest.mark.parametrize("target", TARGETS)
def test_ten_minutes_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    fuzz(target, tmp_path, "-max_total_time=600", within=1700)

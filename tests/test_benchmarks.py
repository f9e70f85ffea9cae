"""Benchmarks run, and what does not hang on the machine's speed holds.  Figures of speed are no tests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_codec_is_measured_beside_others_and_stays_small() -> None:
    lines = {line.pop("what"): line for line in run("benchmarks/hl7v2.py", "--json", "--seconds", "0.02")}
    assert lines["memory of an opened ADT 1 KB, bytes"]["hub"] < 5_000
    assert all(
        line[f"{name}_per_second"] for what, line in lines.items() if "open, read 5" in what for name in ("hub", "hl7apy")
    )
    assert lines["20 MB message: open, read, write"]["times_2_mb"] < 40, "linear would be 10, quadratic 100"


def test_all_benchmarks_are_known_to_make_bench() -> None:
    done = subprocess.run([sys.executable, ROOT / "benchmarks/run.py", "--help"], capture_output=True, text=True, check=True)
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"run"}
    assert all(name in done.stdout for name in files)
    wrong = subprocess.run([sys.executable, ROOT / "benchmarks/run.py", "nothing"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "hl7v2" in wrong.stderr


def test_a_small_night_of_checks_ends_with_every_visit_in_its_outcome_and_nobody_asked_in_vain() -> None:
    few = ("--visits", "60", "--delay", "0.02", "--timeout", "3", "--again", "0.2")
    [night] = run("benchmarks/eligibility.py", "--json", *few)
    assert night["ratio"] > 0
    assert (night["without_an_outcome"], night["with_another_outcome"], night["asked_again_without_need"]) == (0, 0, 0)
    assert night["questions"] == 60 + 3 + 1, "three answered AAA 42, and one silence, were asked again"


def test_large_documents_take_little_memory_and_the_event_loop_goes_on() -> None:
    """The best of three tries: what else the machine does delays the loop now and then, what is wrong does so every time.

    What the loop computes itself is little whatever else the machine does.
    """
    best: dict[str, float] = {}
    for _ in range(3):
        for line in run("benchmarks/documents.py", "--json", "--count", "3", "--mebibytes", "24"):
            assert line["times_their_size"] < 3
            assert line["event_loop_cpu_ms"] < 40
            best[line["what"]] = min(line["event_loop_ms"], best.get(line["what"], 1e9))
        if max(best.values()) < 250:
            break
    assert len(best) == 2
    assert max(best.values()) < 250, "milliseconds it stands still: 100 are promised where no other tests run"


@pytest.mark.long
def test_ten_documents_of_64_mib_at_once() -> None:
    for line in run("benchmarks/documents.py", "--json"):
        assert (line["documents"], line["mebibytes_each"]) == (10, 64)
        assert line["times_their_size"] < 3
        assert line["event_loop_ms"] < 100

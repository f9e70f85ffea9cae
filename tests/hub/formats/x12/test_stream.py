"""Files are read in pieces: the same is read whatever the pieces are, and a night's batch needs no more memory than one set."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hub.formats.x12 import envelope, tokens
from hub.formats.x12.tokens import Findings
from tests.hub.formats.messages import HEAD_271, PROPERTY, SUBSCRIBER, answer_271, group, interchange, transaction
from tests.hub.formats.x12.test_any_bytes import anything

ROOT = Path(__file__).parents[4]


class Pieces(io.BytesIO):
    """A file that gives so many bytes at once."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self.size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.size)


def sets(data: bytes, size: int) -> tuple[list[object], list[str]]:
    findings = Findings()
    found = [[(s.id, s.elements) for s in t.segments] for t in envelope.stream(Pieces(data, size), findings)]
    return found, sorted(f.code for f in findings)


@PROPERTY
@given(data=anything, size=st.integers(1, 300))
def test_the_pieces_make_no_difference(data: bytes, size: int) -> None:
    whole = envelope.read(data)
    expected = [[(s.id, s.elements) for s in t.segments] for t in whole.transactions()]
    assert sets(data, size) == (expected, sorted(f.code for f in whole.findings))


@pytest.mark.parametrize("size", [1, 2, 3, 105, 106, 107, 1000])
def test_interchanges_and_marks_may_stand_across_pieces(size: int) -> None:
    data = b"\xef\xbb\xbf\r\n " + answer_271("EB*1**30", "MSG*" + "ü" * 50) + b"\r\n-- ISA --" + answer_271("EB*6**30")
    found, codes = sets(data, size)
    assert len(found) == 2
    assert codes == ["X12-BOM", "X12-OUTSIDE"]


def test_a_segment_without_end_is_cut_and_what_follows_is_read() -> None:
    one = answer_271("EB*1**30", "MSG*" + "x" * (3 * tokens.CHUNK), "EB*B**98***27*30")
    (found,) = envelope.stream(io.BytesIO(one))
    assert [s.id for s in found.segments][-4:] == ["EB", "MSG", "EB", "SE"]
    assert "X12-TOO-LONG" in [f.code for f in found.findings]


def test_sets_are_handed_on_one_by_one_and_none_is_kept() -> None:
    many = [transaction("271", *HEAD_271, *SUBSCRIBER, *["EB*1**30"] * 60, number=f"{n:04d}") for n in range(1, 701)]
    data = interchange(group(*many))
    count = 0
    tracemalloc.start()
    for found in envelope.stream(io.BytesIO(data)):
        count += 1
        assert found.group is not None
        assert found.group.transactions == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 700
    assert len(data) > 400_000
    assert peak < 4_000_000


def test_what_is_wrong_at_the_end_is_in_the_findings_at_the_end() -> None:
    findings = Findings()
    list(envelope.stream(io.BytesIO(answer_271("EB*1**30").replace(b"GE*1*7", b"GE*9*7")), findings))
    assert [f.code for f in findings] == ["X12-GE01"]


def test_a_batch_is_checked_and_understood_in_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/x12.py", "--alone", "--messages", "300", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, done.stdout.splitlines())
    assert line["transactions"] == 300
    assert 3_600 < line["bytes_each"] < 4_000
    assert line["peak_above_idle_mb"] < 40

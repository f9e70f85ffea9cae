"""What the fuzzer feeds of X12: reader, check, benefit model and acknowledgements, each with what must hold for any bytes.

    python -m tests.fuzz.x12_targets reader FOLDER -max_total_time=60

Run by test_fuzz_x12.py in a process of its own: libFuzzer ends the process it is in.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime

import atheris

from tests.fuzz.running import feed

with atheris.instrument_imports(include=["hub.formats.x12"]):
    from hub.formats.x12 import envelope, report, tokens
    from hub.formats.x12.check import check
    from hub.formats.x12.codec import X12Format
    from hub.formats.x12.fhir import resources
    from hub.formats.x12.replies import build_replies

NOW = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
STATUSES = {"active", "active_review", "inactive", "not_covered", "unknown", "rejected"}
LARGE = 128 * 1024
"""Bytes of the input that is made of a small one, to see how time grows."""
LARGE_TIME = 6.0
"""Seconds of CPU it may take, traced as it is."""


class Drip(io.BytesIO):
    """A file that gives little at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 1, 700) if size and size > 0 else size)


def reader(data: bytes) -> None:
    """Content or a finding, always; and what is read does not hang on the pieces it came in."""
    whole = envelope.read(data)
    assert whole.interchanges or whole.findings
    assert len(whole.findings) <= 40 * tokens.MOST_OF_A_KIND
    found = [[(s.id, s.elements) for s in t.segments] for t in whole.transactions()]
    dripped = [[(s.id, s.elements) for s in t.segments] for t in envelope.stream(Drip(data))]
    assert found == dripped or len(data) > tokens.MAX_SEGMENT
    for transaction in whole.transactions():
        for finding in check(transaction):
            assert finding.level in ("error", "warning")
            assert finding.segment is None or 0 <= finding.segment <= len(transaction.segments) + 1


def benefits(data: bytes) -> None:
    """Any bytes are an answer or a failure, and can be told as JSON and as FHIR."""
    found = report.answer(data, ["98", "30"], "20261130")
    assert found["status"] in STATUSES
    assert found["set"] == "271" or found["failure"]
    described = report.describe(data)
    json.dumps(described, allow_nan=False)
    json.dumps(resources(described, date(2026, 11, 30)), allow_nan=False)
    keys = X12Format().keys(data, {})
    assert all(keys.member)


def replies(data: bytes) -> None:
    """What we answer is in order, whatever came."""
    reply = build_replies(data, control_number=42, now=NOW)
    if reply is None:
        return
    file = envelope.read(reply)
    assert file.findings == []
    assert all(check(transaction) == [] for transaction in file.transactions())


TARGETS: dict[str, Callable[[bytes], None]] = {"reader": reader, "benefits": benefits, "replies": replies}


if __name__ == "__main__":
    feed(TARGETS, "-max_len=4096", "-timeout=20", large=LARGE, seconds=LARGE_TIME)

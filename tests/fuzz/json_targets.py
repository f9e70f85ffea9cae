"""What the fuzzer feeds of the JSON formats of eligibility, each with what must hold for any bytes.

    python -m tests.fuzz.json_targets eligibility_v3 FOLDER -max_total_time=60

Run by test_fuzz_json.py in a process of its own: libFuzzer ends the process it is in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import atheris

from tests.fuzz.running import feed

with atheris.instrument_imports(include=["hub.formats.coverages", "hub.formats.eligibility_v3", "hub.formats.loose_json"]):
    from hub.formats.coverages.codec import CoveragesFormat
    from hub.formats.describe import describe
    from hub.formats.eligibility_v3.codec import EligibilityV3Format
    from hub.formats.x12.benefits import IN_OFFICE
    from hub.formats.x12.exchange import ANSWER_FIELDS, EligibilityFormat
    from hub.formats.x12.fhir import resources

STATUSES = {"active", "active_review", "inactive", "not_covered", "unknown", "rejected"}
LARGE = 128 * 1024
"""Bytes of the input that is made of a small one, to see how time grows."""
LARGE_TIME = 6.0
"""Seconds of CPU it may take, traced as it is."""


def _read(format: EligibilityFormat, data: bytes) -> None:
    """Any bytes are an answer or a failure, and can be told as JSON and as FHIR."""
    found = format.answer(data, ["98", "30"], "20261130", IN_OFFICE)
    assert found["status"] in STATUSES
    assert found["set"] or found["failure"]
    assert found.keys() <= ANSWER_FIELDS
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    assert all(format.keys(data, {}).member)
    described = describe(data)
    json.dumps(described, allow_nan=False)
    if described["format"] != "hl7v2":
        json.dumps(resources(described, date(2026, 11, 30)), allow_nan=False)


def eligibility_v3(data: bytes) -> None:
    _read(EligibilityV3Format(), data)


def coverages(data: bytes) -> None:
    _read(CoveragesFormat(), data)


TARGETS: dict[str, Callable[[bytes], None]] = {"eligibility_v3": eligibility_v3, "coverages": coverages}


if __name__ == "__main__":
    feed(TARGETS, "-max_len=4096", "-timeout=20", large=LARGE, seconds=LARGE_TIME)

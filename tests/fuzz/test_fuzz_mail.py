"""The fuzzer finds nothing in mail: the same inputs each time here, ten minutes of chance in the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.formats.mail.writing import Attached
from tests.fuzz.running import MISSING, fuzz
from tests.hub.formats.mails import PDF, dsn, letter, mdn
from tests.hub.formats.test_mail import SPELLINGS

SEEDS = [
    letter(1, Attached(PDF, "application/pdf", "a.pdf"), headers=[("In-Reply-To", "<x@clinic.example>")]),
    SPELLINGS.encode(),
    mdn("m@clinic.example", "processed/error", also="a@b.example"),
    dsn("m@clinic.example", {"a@b.example": ("failed", "5.1.1")}, headers_only=False),
]
MODULE = "tests.fuzz.mail_targets"


@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
def test_a_little_fuzzing_finds_nothing(tmp_path: Path) -> None:
    fuzz(MODULE, "mail", tmp_path, SEEDS, "-seed=1", "-runs=600")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(MISSING, reason="atheris has no wheel for this Python, so nothing is fuzzed here")
def test_ten_minutes_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    fuzz(MODULE, "mail", tmp_path, SEEDS, "-max_total_time=600", within=1700)

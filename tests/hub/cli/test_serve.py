"""A hub that runs keeps Python's garbage collector short."""

from __future__ import annotations

import subprocess
import sys

ASKED = """
import gc
from hub.cli.serve import spare_the_collector
spare_the_collector()
first = gc.get_freeze_count()
more = [[] for _ in range(5000)]
spare_the_collector()
print(first, gc.get_freeze_count(), gc.get_threshold()[0])
"""


def test_what_was_made_to_start_is_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    first, second, threshold = map(int, done.stdout.split())
    assert first > 10_000
    assert second >= first + 4000, "after a reload what is new is left alone too"
    assert threshold == 10_000

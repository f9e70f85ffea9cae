"""`hub bench`: a real hub and the bare loop between the same far sides, and what INTERFACES promises of its output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.simulators.bench.load import message
from hub.formats.hl7v2 import Hl7
from tests.support import run_hub

PROMISED = ("delivered_per_second", "acked_per_second", "ack_p50_ms", "ack_p99_ms", "ceiling_per_second", "ratio")


def test_it_measures_a_hub_beside_the_bare_loop(tmp_path: Path) -> None:
    done = run_hub("bench", "--messages", "200", "--connections", "4", "--json", "--dir", str(tmp_path), timeout=100)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert all(figures[name] > 0 for name in PROMISED)
    assert figures["ratio"] == pytest.approx(figures["delivered_per_second"] / figures["ceiling_per_second"], abs=0.01)
    assert figures["ack_p50_ms"] <= figures["ack_p99_ms"]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_store_that_cannot_be_used_ends_with_words(tmp_path: Path) -> None:
    done = run_hub(
        "bench", "--messages", "200", "--store", "postgresql://127.0.0.1:1/none", "--dir", str(tmp_path), timeout=100
    )
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_its_messages_are_registrations_and_bookings_of_a_kilobyte() -> None:
    bodies = [message(1, number, "M") for number in range(20)]
    assert {len(body) for body in bodies} == {1024}
    assert {Hl7(body).type for body in bodies} == {"ADT^A04", "SIU^S12"}
    assert len({Hl7(body).control_id for body in bodies}) == 20

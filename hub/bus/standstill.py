"""A thread that sees when the event loop stands still, and where: a step or connector that computes without giving way stops
all others, and could not be named afterwards.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import FrameType

import structlog

from hub.bus.signals import TICK, LoopSignals

log = structlog.get_logger(__name__)

AFTER = 2.0
"""Seconds without a turn of the loop that are a standstill."""


class Standstill:
    """Watches the loop of the thread that starts it."""

    def __init__(self, loop: LoopSignals, after: float = AFTER) -> None:
        self._loop = loop
        self._after = after
        self._thread = threading.Thread(target=self._watch, name="standstill", daemon=True)
        self._stop = threading.Event()
        self._watched = 0

    def start(self) -> None:
        self._watched = threading.get_ident()
        self._loop.beat = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        told, before = 0.0, time.monotonic()
        while not self._stop.wait(TICK):
            beat, now = self._loop.beat, time.monotonic()
            late, before = now - before > 3 * TICK, now
            if late or now - beat < self._after or beat == told:  # late itself: the process was stopped, or the machine is busy
                continue
            told = beat
            where = place(sys._current_frames().get(self._watched))  # noqa: SLF001 - no other way to see a thread
            self._loop.stands(where)
            log.error("the event loop stands still: this keeps all others from working", where=where, code="ALR-008")


def place(frame: FrameType | None) -> str:
    """File, line and function of a frame; never a value."""
    if frame is None:
        return "an unknown place"
    file = Path(frame.f_code.co_filename)
    return f"{'/'.join(file.parts[-3:])}:{frame.f_lineno} in {frame.f_code.co_name}"

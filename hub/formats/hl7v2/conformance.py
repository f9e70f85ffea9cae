"""The optional conformance check: hl7apy looks at a message in a process of its own, after the answer, and only warns.

    python -m hub.formats.hl7v2.conformance     # the worker: questions as JSON lines on stdin, warnings as JSON lines on stdout

A check costs 25 ms of CPU for 1 KB.  A message waits in a queue of 50 and is passed over when that is full; a worker that takes
longer than 2 s for one is ended and another one started.  Warnings name fields and tables, and never a value.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Iterator
from typing import Any, Literal

from hub.errors import HubError, MessageUnusable
from hub.formats.hl7v2.message import Hl7, opened
from hub.formats.hl7v2.names import VERSIONS, field_name
from hub.formats.hl7v2.structures import structure

Mode = Literal["off", "sample", "all"]
Tell = Callable[[list[str]], None]
WAITING = 50
"""Messages that may wait for their check."""
TIME_LIMIT = 2.0
"""Seconds one check may take."""
START_LIMIT = 30.0
"""Seconds the worker may take to start."""
SAMPLE = 100
"""With `sample`: the first message, and one of so many."""
MOST = 20
"""Warnings told of one message."""
LARGEST = 1024 * 1024
"""Bytes of the longest message that is checked."""


# In the hub.


class Conformance:
    """Takes messages for checking and never makes anybody wait."""

    def __init__(self, mode: Mode, *, time_limit: float = TIME_LIMIT, waiting: int = WAITING) -> None:
        self.mode = mode
        self.passed_over = 0
        """Messages that were not checked because too many waited."""
        self._time_limit = time_limit
        self._seen = 0
        self._queue: asyncio.Queue[tuple[bytes, str | None, Tell]] = asyncio.Queue(waiting)
        self._task: asyncio.Task[None] | None = None
        self._worker: Process | None = None

    def offer(self, body: bytes, charset: str | None, tell: Tell) -> None:
        """Checks a message some time, and tells its warnings; does nothing when it is not its turn."""
        self._seen += 1
        if self.mode == "off" or len(body) > LARGEST or (self.mode == "sample" and self._seen % SAMPLE != 1):
            return
        try:
            self._queue.put_nowait((body, charset, tell))
        except asyncio.QueueFull:
            self.passed_over += 1
            return
        if self._task is None:
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while True:
            body, charset, tell = await self._queue.get()
            try:
                warnings = await self._ask(body, charset)
            except Exception as error:  # a check that fails is no reason to stop checking, let alone receiving
                await self._end_worker()
                warnings = [f"not checked: {_why(error, self._time_limit)}"]
            if warnings:
                with contextlib.suppress(HubError):  # the hub is closing
                    tell(warnings)

    async def _ask(self, body: bytes, charset: str | None) -> list[str]:
        worker = self._worker or await self._start_worker()
        assert worker.stdin is not None and worker.stdout is not None  # noqa: S101, PT018 - both are pipes
        async with asyncio.timeout(self._time_limit):
            worker.stdin.write(json.dumps({"body": base64.b64encode(body).decode(), "charset": charset}).encode() + b"\n")
            await worker.stdin.drain()
            answer = await worker.stdout.readline()
        return list(json.loads(answer))

    async def _start_worker(self) -> Process:
        command = [sys.executable, "-m", "hub.formats.hl7v2.conformance"]
        self._worker = worker = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        assert worker.stdout is not None  # noqa: S101 - it is a pipe
        async with asyncio.timeout(START_LIMIT):
            await worker.stdout.readline()
        return worker

    async def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()

    async def close(self) -> None:
        """Ends the worker; what waits is not checked any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._end_worker()


def _why(error: Exception, limit: float) -> str:
    return f"it took longer than {limit:g} s" if isinstance(error, TimeoutError) else "the worker failed"


# In the worker.


def check(body: bytes, charset: str | None = None) -> list[str]:
    """What is not as the standard says, in words, without any value."""
    try:
        message = opened(body, charset)
    except MessageUnusable as error:
        return [str(error)]
    version = (message.get("MSH-12.1") or "").strip()
    code, trigger = message.get("MSH-9.1") or "", message.get("MSH-9.2") or ""
    name = structure(code, trigger)
    if version not in VERSIONS:
        return ["MSH-12: there are no tables for this version, so nothing was checked"]
    if name is None:
        return ["MSH-9: there is no structure for this type of message, so nothing was checked"]
    return list(dict.fromkeys(_checked(message, version, name)))[:MOST]


def _checked(message: Hl7, version: str, name: str) -> Iterator[str]:
    from hl7apy.parser import parse_message

    try:
        parsed = parse_message(_for_hl7apy(message, name), find_groups=True)
        report = _report(parsed)
    except Exception as error:  # hl7apy raises much else than its own exceptions
        yield f"cannot be checked by the tables of version {version} ({type(error).__name__})"
        return
    known = set(_segments(parsed))
    for id in dict.fromkeys(message.ids):
        if id not in known and not id.startswith("Z"):
            yield f"{id} is no segment of {name} in version {version}"
    for line in report:
        said = _in_words(line, version)
        if said and not (said.startswith("MSH-9 ") and version in _WITHOUT_STRUCTURE):
            yield said


_WITHOUT_STRUCTURE = ("2.1", "2.2", "2.3")
"""Versions whose MSH-9 has no third part; hl7apy wants it all the same."""


def _for_hl7apy(message: Hl7, name: str) -> str:
    """The message as hl7apy takes it: CR after each segment, and in MSH-9.3 the structure that its trigger has."""
    own = Hl7(message.raw, message.encoding)
    own.set("MSH-9.3", name)
    return "".join(f"{own.text_of(place)}\r" for place in range(len(own.ids)))


def _segments(element: Any) -> Iterator[str]:
    for child in element.children:
        if child.classname == "Segment":
            yield child.name
        elif child.classname == "Group":
            yield from _segments(child)


def _report(parsed: Any) -> list[str]:
    """All that the validator finds; it writes that into a file, which here is one in memory where there are such."""
    from hl7apy.exceptions import HL7apyException

    with os.fdopen(os.memfd_create("report"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile() as report:
        with contextlib.suppress(HL7apyException):
            parsed.validate(report_file=os.dup(report.fileno()))
        report.seek(0)
        return report.read().decode("utf-8", errors="replace").splitlines()


_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"Error: Missing required child \w+\.(?P<name>\w+)", "{name} is missing"),
        (r"Error: Child limit exceeded \w+\.(?P<name>\w+)", "{name} stands too often"),
        (
            r"Warning: Value .* not in table (?P<table>\w+) in element \w*\.(?P<name>\w+)",
            "{name} has a value that is not in table {table}",
        ),
        (r"Warning: Exceeded max length \((?P<table>\d+)\) of \w*\.(?P<name>\w+)", "{name} is longer than {table} characters"),
        (r"Error: Datatype \w+ is not correct for \w*\.(?P<name>\w+) .*", "{name} is of another type than the standard says"),
        (r"Error: Invalid children detected for <\w+ (?P<name>\w+).*", "{name} has parts that it cannot have"),
        (r"Error: (Unknown|Invalid) element found.*", "there is a part that the standard does not know"),
    )
)  # fmt: skip


def _in_words(line: str, version: str) -> str:
    for pattern, words in _WORDS:
        if match := pattern.fullmatch(line):
            found = match.groupdict()
            return words.format(name=_named(found.get("name", ""), version), table=found.get("table", ""))
    return ""


def _named(name: str, version: str) -> str:
    """`PID_3` as people read it: PID-3 (Patient identifier list)."""
    segment, _, number = name.partition("_")
    if not number.isdecimal() or len(segment) != 3:
        return name.replace("_", ".") if number.isdecimal() else name
    words = field_name(version, segment, int(number))
    return f"{segment}-{number} ({words})" if words else f"{segment}-{number}"


def main() -> None:
    """Answers one line for each, until there are no more."""
    check(b"MSH|^~\\&|||||||ADT^A01|1|P|2.5\rEVN\rPID|1\rPV1|1\r")  # loads the tables, so that no message waits for that
    _say([])
    for line in sys.stdin.buffer:
        question = json.loads(line)
        _say(check(base64.b64decode(question["body"]), question["charset"]))


def _say(warnings: list[str]) -> None:
    sys.stdout.write(json.dumps(warnings) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Documents that break readers break a process of their own: each has a state in time, and the hub goes on."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from hub.formats import pages
from hub.formats.pages import Limits, State, UnusableDocument
from hub.formats.pages.process import AT_ONCE
from hub.message import Message
from hub.step import Context, StepResult
from tests.hub.bus import probe
from tests.hub.bus.probe import World
from tests.hub.formats.pages.hostile import CORPUS, cut_short, fax, letter, mutated, picture
from tests.support import ROOT, clinic_folder, running_hub, settled, until

SHORT = Limits(seconds=1, wall=10, memory=400 * 1024 * 1024)
FUZZED = float(os.environ.get("CLINIC_HUB_FUZZ_SECONDS", "5"))


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.syspath_prepend(str(probe.plugged_in(tmp_path_factory.mktemp("lib"))))
    probe.WORLD.steps.clear()
    probe.WORLD.sent.clear()
    return probe.WORLD


def processes() -> int:
    """Processes that open documents, of those that this one has begun and that are there."""
    listed = subprocess.run(["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False)
    return sum(" -I " in line for line in listed.stdout.splitlines())


async def states_of(makes: Sequence[Callable[[], bytes]]) -> list[str]:
    """As many at once as there are processes: on a busy machine nobody waits longer than for a turn."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(make: Callable[[], bytes]) -> str:
        async with turns:
            return (await pages.look(await asyncio.to_thread(make), SHORT)).state

    return await asyncio.gather(*map(one, makes))


async def test_each_has_the_state_it_must_have_and_costs_this_process_nothing() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = dict(zip(CORPUS, await states_of([make for make, _ in CORPUS.values()]), strict=True))
    assert {name: state for name, state in found.items() if state not in CORPUS[name][1]} == {}
    mebibytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert mebibytes < 500, "what they inflate to, gigabytes, is not in this process"
    assert not await asyncio.to_thread(processes)


WORST = ("a page that inflates to 4 GiB", "a tree of ten thousand levels", "ten thousand pages", "locked", "a program")


@pytest.mark.parametrize("names", [WORST, pytest.param(tuple(CORPUS), marks=[pytest.mark.long, pytest.mark.timeout(300)])])
async def test_a_folder_of_hostile_documents_never_takes_the_hub_down(
    world: World, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Each as a file that a running hub takes in: all are looked at, none ends in quarantine, and what comes next works."""
    found: dict[str, str] = {}

    @world.step
    async def look(message: Message, context: Context) -> StepResult:
        assert not isinstance(message.payload, BaseModel)
        found[message.headers["file"]] = (await pages.look(message.payload, SHORT)).state
        return None

    (tmp_path / "in").mkdir()
    text = f"""
connections:
  scans: {{kind: folder, path: {tmp_path / "in"}, every: 20ms, stable_for: 0s, format: document}}
flows:
  scans: {{from: scans, steps: [{{probe: look}}]}}
"""
    async with running_hub(clinic_folder(tmp_path, text)) as hub:
        for name in names:
            drop(tmp_path / "in", name, await asyncio.to_thread(CORPUS[name][0]))
        await until(lambda: len(found) == len(names), 30)
        drop(tmp_path / "in", "afterwards", letter())
        await until(lambda: "afterwards" in found)
        await settled(hub)
        assert hub.core.signals.target("flow:scans").quarantined == 0
    assert all(found[name] in CORPUS[name][1] for name in names)
    assert found["afterwards"] == "whole"


def drop(folder: Path, name: str, body: bytes) -> None:
    draft = folder.parent / "draft"
    draft.write_bytes(body)
    draft.rename(folder / name)


async def test_what_ends_too_early_is_damaged_or_read_as_far_as_it_goes() -> None:
    found = await states_of([lambda body=body: body for body in cut_short()])  # type: ignore[misc]
    assert set(found) <= {"whole", "broken"}
    assert found.count("broken") > 10


@pytest.mark.parametrize(
    ("name", "state"), [("locked", "encrypted"), ("text", "not_a_document"), ("half a photograph", "broken")]
)
async def test_nothing_is_made_of_what_cannot_be_read(name: str, state: str) -> None:
    body = CORPUS[name][0]()
    ways = (pages.to_pdf(body), pages.to_tiff(body), pages.part(body, 1), pages.join(letter(), body))
    for error in await asyncio.gather(*ways, return_exceptions=True):
        assert isinstance(error, UnusableDocument)
        assert error.state == state
        assert error.code.startswith("DOC-")


# Limits.


async def test_each_limit_has_a_state_that_says_so() -> None:
    two = letter(2)
    for limits, body, state in (
        (Limits(pages=1), two, "too_many_pages"),
        (Limits(pages=1), fax(2), "too_many_pages"),
        (Limits(document=1000), two, "too_large"),
        (Limits(pixels=1000), picture("PNG"), "too_large"),
        (Limits(memory=1), two, "too_large"),
    ):
        assert (await pages.look(body, limits)).state == state
    with pytest.raises(UnusableDocument) as caught:
        await pages.to_tiff(fax(3), limits=Limits(result=100))
    assert caught.value.state == "too_large"


async def test_one_that_takes_too_long_is_ended_and_what_was_known_is_told() -> None:
    began = time.monotonic()
    looked = await pages.look(CORPUS["a photograph that is drawn two thousand times"][0](), Limits(seconds=30, wall=1.0))
    assert (looked.state, looked.kind, looked.pages) == ("took_too_long", "image/jpeg", 1)
    assert time.monotonic() - began < 10
    assert not await asyncio.to_thread(processes)


async def test_a_look_that_nobody_waits_for_any_more_ends_its_process() -> None:
    body = CORPUS["a photograph that is drawn two thousand times"][0]()
    looking = asyncio.create_task(pages.look(body))
    await until(lambda: processes() > 0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    await until(lambda: processes() == 0)


async def test_the_event_loop_goes_on_meanwhile() -> None:
    slowest, looking = 0.0, asyncio.gather(*(pages.look(make()) for make in (letter, fax)))
    while not looking.done():
        began = time.monotonic()
        await asyncio.sleep(0.005)
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.3
    assert [one.state for one in await looking] == ["whole"] * 2


async def test_the_process_knows_no_secret_and_its_arguments_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[list[str], dict[str, str]]] = []
    start = subprocess.Popen

    def watched(arguments: list[str], **how: object) -> object:
        begun.append((arguments, dict(how["env"])))  # type: ignore[call-overload]
        return start(arguments, **how)  # type: ignore[call-overload]

    monkeypatch.setenv("CLEARINGHOUSE_SECRET", "ZZSECRET")
    monkeypatch.setattr("hub.formats.pages.process.subprocess.Popen", watched)
    await pages.cover("Chart", ["ZZPATIENT"], code="ZZPATIENT")
    [(arguments, environment)] = begun
    assert "CLEARINGHOUSE_SECRET" not in environment
    assert "ZZPATIENT" not in str(arguments)


LIMITED = """
import os, socket
from hub.formats.pages.words import Limits
from hub.formats.pages.worker import limit_this_process
limit_this_process(Limits(), 0)
for way in (lambda: open("/etc/passwd"), socket.socket, os.pipe):
    try:
        way()
    except OSError as error:
        print(error.strerror)
"""


def test_the_process_can_open_no_file_and_no_connection() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.splitlines() == ["Too many open files"] * 3


async def test_a_system_without_files_in_memory_has_unnamed_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert (await pages.look(letter(3))).pages == 3
    assert list(tmp_path.iterdir()) == []


async def test_what_a_page_says_is_in_no_repr() -> None:
    looked = await pages.look(await pages.join(await pages.cover("Chart", [], code="ZZPATIENT"), letter(1, "ZZPATIENT")))
    assert looked.read[0].codes[0].text == "ZZPATIENT"
    assert "ZZPATIENT 1" in looked.read[1].text
    assert "ZZPATIENT" not in repr(looked)


# Chance.


async def _fuzz(seconds: float, seed: int) -> int:
    """How many documents came to an end."""
    chance, end, states, seen = random.Random(seed), time.monotonic() + seconds, set(get_args(State)), 0

    async def one() -> None:
        nonlocal seen
        while time.monotonic() < end:
            body = mutated(chance)
            looked = await pages.look(body, SHORT)
            assert looked.state in states
            if looked.state == "whole":
                assert looked.pages > 0
                assert looked.read
            seen += 1

    await asyncio.gather(one(), one())
    return seen


async def test_a_few_seconds_of_chance_find_nothing() -> None:
    assert await _fuzz(FUZZED, 1) > 5
    assert not await asyncio.to_thread(processes)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_ten_minutes_of_chance_find_nothing() -> None:
    assert await _fuzz(600, time.time_ns()) > 100

"""The contract that plugin authors inherit: a good connector passes all of it, and each planted mistake is caught."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from connectors.folder import Folder
from hub.errors import StoreError
from hub.message import Message
from hub.testing import ConnectorContract, FakeDeliver
from tests.support import ROOT

HEAD = '''
import asyncio
import logging
import time
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, SecretStr

from hub import ConnectionDown, ConnectorConfig, Destination, Message, MessageRejected, Source
from hub.connector import DestinationConfig, Poller, SourceConfig
from hub.testing import ConnectorContract

log = structlog.get_logger(__name__)


class Lock(BaseModel):
    """The lock of a box."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str = "lock"
    """Its name."""
'''

SOURCE = (
    HEAD
    + '''

class BoxConfig(SourceConfig):
    """A box."""

    path: Path
    """The folder."""
    every: float = 0.2
    """How often to look."""
    password: SecretStr | None = None
    """Opens the box."""
    lock: Lock = Lock()
    """Its lock."""


class Box(Poller[BoxConfig]):
    """Takes files out of a box."""

    kind = "box"

    async def poll(self, deliver):
        for file in sorted(self.config.path.glob("*.hl7")):
            body = file.read_bytes()
            await deliver([Message(body, "hl7v2")])
            file.unlink()


class TestBox(ConnectorContract):
    connector = Box
    config = {"path": "{tmp_path}", "password": "hunter2"}

    async def bring(self, connection, tmp_path):
        await asyncio.sleep(0.02)  # a partner comes when the connector has looked already
        (tmp_path / "draft").write_bytes(self.sample)
        (tmp_path / "draft").rename(tmp_path / "sample.hl7")
'''
)

DESTINATION = (
    HEAD
    + '''

class BoxConfig(DestinationConfig):
    """A box."""

    path: Path
    """The folder."""
    password: SecretStr | None = None
    """Opens the box."""
    lock: Lock = Lock()
    """Its lock."""


class Box(Destination[BoxConfig]):
    """Puts files into a box."""

    kind = "box"

    async def send(self, message):
        if not self.config.path.is_dir():
            raise ConnectionDown(f"{self.name}: the box is not there")
        body = message.body
        (self.config.path / f"{message.id}.msg").write_bytes(body)
        return None


class TestBox(ConnectorContract):
    connector = Box
    config = {"path": "{tmp_path}", "password": "hunter2"}
'''
)

BOTH = (
    (DESTINATION + SOURCE[SOURCE.index("\n    async def bring") :])
    .replace("class BoxConfig(DestinationConfig):", "class BoxConfig(SourceConfig, DestinationConfig):")
    .replace("class Box(Destination[BoxConfig]):", "class Box(Poller[BoxConfig], Destination[BoxConfig]):")
    .replace(
        "    async def send",
        """    async def poll(self, deliver):
        for file in sorted(self.config.path.glob("*.hl7")):
            body = file.read_bytes()
            await deliver([Message(body, "hl7v2")])
            file.unlink()

    async def send""",
    )
    .replace('    """The folder."""', '    """The folder."""\n    every: float = 0.2\n    """How often to look."""')
)

THREAD = SOURCE.replace(
    "    async def poll(self, deliver):",
    """    async def poll(self, deliver):
        await asyncio.to_thread(self._take_all, deliver)

    def _take_all(self, deliver):""",
).replace("await deliver(", "deliver.threadsafe(")
GOOD = {"source": SOURCE, "destination": DESTINATION, "both": BOTH, "thread": THREAD}

DELIVERY = """            await deliver([Message(body, "hl7v2")])
            file.unlink()
"""
FROM_THREAD = DELIVERY.replace("await deliver(", "deliver.threadsafe(")
READING = "            body = file.read_bytes()\n"
WRITING = "        body = message.body\n"
DOWN = 'raise ConnectionDown(f"{self.name}: the box is not there")'
PATH = "    path: Path\n"
NAME = '    """Its name."""\n'
CLASS_END = "\n\nclass TestBox("


@dataclass(frozen=True)
class Mistake:
    """One mistake in a good connector: a text, and what stands there instead."""

    base: str
    instead_of: str
    stands: str


def swapped(lines: str) -> str:
    first, second = lines.splitlines(keepends=True)
    return second + first


def with_method(base: str, text: str) -> Mistake:
    """A method more, or instead of the one that is inherited."""
    return Mistake(base, CLASS_END, f"\n{text}{CLASS_END}")


def reading(more: str) -> Mistake:
    """Something more for each body that was read, in a source."""
    return Mistake(SOURCE, READING, f"{READING}            {more}\n")


def writing(more: str) -> Mistake:
    return Mistake(DESTINATION, WRITING, f"{WRITING}        {more}\n")


def allowing(base: str, extra: str) -> Mistake:
    config = f'    model_config = ConfigDict(extra="{extra}", use_attribute_docstrings=True)\n\n'
    return Mistake(base, PATH, config + PATH)


TRY = """            try:
                await deliver([Message(body, "hl7v2")])
            finally:
                file.unlink()
"""
REPR = """
    def __repr__(self):
        return f"<Box {self.name} {self.config.password.get_secret_value()}>"
"""
HANGS_IN_CLOSE = """
    async def close(self):
        await asyncio.Event().wait()
"""
BLOCKS_IN_CLOSE = """
    async def close(self):
        time.sleep(2.7)
        await super().close()
"""
HANGS_ONCE_OPEN = """
    async def open_destination(self):
        self.opened = True

    async def close(self):
        if getattr(self, "opened", False):
            await asyncio.Event().wait()
"""
CLOSES_ONCE = """
    async def close(self):
        await super().close()
        del self.config
"""
CLOSES_WHEN_OPEN = """
    async def close(self):
        self._task.cancel()
"""
NEVER_CLOSES = """
    async def close(self):
        pass
"""
NEVER_OPENS = """
    async def open(self, deliver):
        await self._poll_forever(deliver)
"""
PLAIN_IN_A_PART = NAME + '    client_secret: str = ""\n    """Its secret."""\n'
PASSPHRASE = '    passphrase: str = ""\n    """Of the key."""\n'
MISTAKES = {
    "deletes before delivery": Mistake(SOURCE, DELIVERY, swapped(DELIVERY)),
    "deletes although delivery failed": Mistake(SOURCE, DELIVERY, TRY),
    "deletes before delivery from a thread": Mistake(THREAD, FROM_THREAD, swapped(FROM_THREAD)),
    "logs the body it received": reading('log.info("got", body=body)'),
    "logs the body it received, and could send too": replace(reading('log.info("got", body=body)'), base=BOTH),
    "logs the body it sends": writing('log.info("sent", body=body)'),
    "logs the body for debugging": writing('log.debug("sent", body=body)'),
    "logs the body by the standard library": writing('logging.warning("sent %s", body)'),
    "logs the body by the standard library for debugging": writing('logging.getLogger("box").debug("sent %s", body)'),
    "prints the body": writing("print(body)"),
    "changes line ends on the way in": reading('body = body.replace(b"\\r", b"\\n")'),
    "changes line ends on the way out": writing('body = body.replace(b"\\r", b"\\r\\n")'),
    "changes line feeds on the way in": reading('body = body.replace(b"\\n", b"\\r")'),
    "changes line feeds on the way out": writing('body = body.replace(b"\\n", b"")'),
    "strips blanks": reading("body = body.strip()"),
    "loses other charsets on the way in": reading('body = body.decode("utf-8", "replace").encode()'),
    "loses other charsets on the way out": writing('body = body.decode("utf-8", "ignore").encode()'),
    "has an undescribed setting": Mistake(SOURCE, '    """How often to look."""\n', ""),
    "has an undescribed setting in a part": Mistake(SOURCE, NAME, ""),
    "has an undescribed setting in a list of parts": Mistake(
        SOURCE.replace(NAME, ""), "    lock: Lock = Lock()\n", "    lock: list[Lock] | None = None\n"
    ),
    "allows unknown settings": allowing(SOURCE, "allow"),
    "ignores unknown settings": allowing(DESTINATION, "ignore"),
    "has a plain-text password": Mistake(SOURCE, "    password: SecretStr | None", "    password: str | None"),
    "has a plain-text secret in a part": Mistake(SOURCE, NAME, PLAIN_IN_A_PART),
    "has a plain-text passphrase": Mistake(SOURCE, "    lock: Lock", PASSPHRASE + "    lock: Lock"),
    "shows a secret in its repr": with_method(SOURCE, REPR),
    "has no kind": Mistake(SOURCE, '    kind = "box"\n', '    kind = ""\n'),
    "has no docstring": Mistake(SOURCE, '    """Takes files out of a box."""\n', ""),
    "hangs in close": with_method(SOURCE, HANGS_IN_CLOSE),
    "blocks in close": with_method(SOURCE, BLOCKS_IN_CLOSE),
    "hangs in close once it was open": with_method(DESTINATION, HANGS_ONCE_OPEN),
    "cannot be closed twice": with_method(SOURCE, CLOSES_ONCE),
    "cannot be closed before it was opened": with_method(SOURCE, CLOSES_WHEN_OPEN),
    "goes on after it was closed": with_method(SOURCE, NEVER_CLOSES),
    "never returns from open": with_method(SOURCE, NEVER_OPENS),
    "does not name itself in errors": Mistake(DESTINATION, "{self.name}: the box", "the box"),
    "tells the body in errors": Mistake(DESTINATION, "the box is not there", "no box for {message.body!r}"),
    "lets errors of the system out": Mistake(DESTINATION, DOWN, "raise FileNotFoundError(self.name)"),
    "takes silence for success": Mistake(DESTINATION, DOWN, "return None"),
    "blames the message": Mistake(DESTINATION, "raise ConnectionDown(", "raise MessageRejected("),
}

CONFTEST = """
import hub.testing
import pytest

# What never arrives is waited for; ten seconds for each mistake would be long.
hub.testing.PATIENCE = 1.5
caught = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and "test_bad" in item.nodeid:
        caught.add(item.path)
    return report


def pytest_runtest_setup(item):
    if item.path in caught:
        pytest.skip("one test has caught this mistake")
"""
LIMIT = 5
"""Seconds after which a test counts as hanging."""
PROCESSES = 4


def slug(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)


@dataclass
class Outcome:
    """What became of one contract."""

    passed: list[str]
    failed: dict[str, str]
    skipped: list[str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """The contract of every connector, run by pytest in processes of its own, as plugin authors run it."""
    modules = {f"test_good_{name}": text for name, text in GOOD.items()}
    for name, mistake in MISTAKES.items():
        assert mistake.instead_of in mistake.base, f"{name}: the text to change is not there"
        modules[f"test_bad_{slug(name)}"] = mistake.base.replace(mistake.instead_of, mistake.stands)
    folders = [_folder(tmp_path_factory, dict(list(modules.items())[part::PROCESSES])) for part in range(PROCESSES)]
    found: dict[str, Outcome] = {}
    for folder, process in [(folder, _start(folder)) for folder in folders]:
        said, _ = process.communicate(timeout=100)
        assert (folder / "out.xml").exists(), said
        found |= _read(folder / "out.xml")
    return found


def _folder(factory: pytest.TempPathFactory, modules: dict[str, str]) -> Path:
    folder = factory.mktemp("plugins")
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    (folder / "conftest.py").write_text(CONFTEST)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={LIMIT}", "--junitxml=out.xml", "."]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _read(report: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for case in ET.parse(report).iter("testcase"):
        outcome = found.setdefault(case.get("classname", "").split(".")[0], Outcome([], {}, []))
        name = case.get("name", "")
        problems = [part for part in case if part.tag in ("failure", "error")]
        if problems:
            outcome.failed[name] = (problems[0].get("message") or "") + (problems[0].text or "")
        elif case.find("skipped") is not None:
            outcome.skipped.append(name)
        else:
            outcome.passed.append(name)
    return found


@pytest.mark.parametrize("name", GOOD)
def test_a_good_connector_passes_everything_and_skips_nothing(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[f"test_good_{name}"]
    assert outcome.failed == {}
    assert outcome.skipped == []
    assert len(outcome.passed) >= 9


def test_tests_that_make_no_sense_for_a_connector_are_not_there(outcomes: dict[str, Outcome]) -> None:
    source, destination, both = (set(outcomes[f"test_good_{name}"].passed) for name in ("source", "destination", "both"))
    assert "test_what_is_sent_arrives_unchanged" in destination - source
    assert "test_what_arrives_is_delivered_with_its_bytes" in source - destination
    assert both == source | destination


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[f"test_bad_{slug(name)}"]
    assert outcome.failed, "the contract found nothing wrong"
    assert all(test.startswith("test_") for test in outcome.failed), "it was a test that failed, not the import"
    assert len(outcome.failed) == 1


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught_in_time(name: str, outcomes: dict[str, Outcome]) -> None:
    """Authors have no pytest-timeout: a contract that hangs tells them nothing."""
    hanging = [test for test, text in outcomes[f"test_bad_{slug(name)}"].failed.items() if f"Timeout (>{LIMIT}" in text]
    assert not hanging


# The pieces.


async def test_the_file_that_is_brought_is_never_seen_half(tmp_path: Path) -> None:
    """A poller that looks at the wrong moment would fail a contract it keeps."""

    class Contract(ConnectorContract):
        connector = Folder
        config: ClassVar = {"path": "{tmp_path}"}
        sample = b"x" * 20_000_000

    seen: set[int] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for file in tmp_path.glob("*.hl7"):
                with contextlib.suppress(FileNotFoundError):
                    seen.add(file.stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(5):
            await Contract().bring(None, tmp_path)
            for file in tmp_path.iterdir():
                file.unlink()
    finally:
        stop.set()
        watcher.join()
    assert seen <= {20_000_000}


async def test_a_fake_delivery_fails_as_often_as_told_and_then_keeps_everything() -> None:
    deliver = FakeDeliver(failures=2, outcome="quarantined")
    message = Message(b"x")
    for _ in range(2):
        with pytest.raises(StoreError):
            await deliver([message])
    assert deliver.delivered == []
    receipt = await deliver([message])
    assert (list(receipt.ids), list(receipt.duplicates)) == ([message.id], [False])
    assert await receipt.outcome(1) == "quarantined"
    await deliver.refuse(message, "no")
    assert (deliver.delivered, deliver.refused) == ([message], [(message, "no")])


def test_a_fake_delivery_from_a_thread_fails_as_often_as_told_too() -> None:
    deliver = FakeDeliver(failures=1)
    with pytest.raises(StoreError):
        deliver.threadsafe([Message(b"x")])
    assert deliver.delivered == []
    assert deliver.threadsafe([Message(b"x")]).ids

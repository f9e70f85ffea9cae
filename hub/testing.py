"""What plugin authors inherit in their tests (extra `clinic-hub[testing]`).

    from hub.testing import ConnectorContract
    from acme_folder import Folder

    class TestFolder(ConnectorContract):
        connector = Folder
        config = {"path": "{tmp_path}"}

runs the whole contract against a real instance.  Which tests there are follows from what the connector is: a `Source`, a
`Destination`, or both.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from hub.connector import AnyConnector, Destination, Source
from hub.errors import ConnectionDown, HubError, StoreError
from hub.message import Message, new_id

F = TypeVar("F", bound=Callable[..., Any])
CANARY = "ZZCANARYPATIENT"
"""Stands for patient data: it must never appear in logs, errors or reprs."""
SAMPLE = (
    "MSH|^~\\&|SIM|RIVER|HUB|RIVER|20261123090000||ADT^A04|C1|P|2.5||||||8859/1\r"
    f"PID|1||00042^^^RIVER^MR||{CANARY}^JÄNE||19800229|F\rNTE|1||line ends as\r\nNTE|2||some systems send them\r"
).encode("latin-1")
"""Bytes that come out different when somebody decodes them, or tidies their line ends."""
PATIENCE = 10.0
"""Seconds in which what must happen has to happen."""
CLOSING = 2.0
"""Seconds a connection may take to let go of everything."""
SECRET_WORDS = ("password", "passphrase", "secret", "api_key", "token", "credential")


@dataclass
class FakeReceipt:
    """A receipt of FakeDeliver."""

    ids: list[str]
    duplicates: list[bool]
    state: str = "delivered"
    remarks: list[tuple[str, str, str]] = field(default_factory=list)
    """Id, what and text of each."""

    async def outcome(self, timeout: float) -> str:
        return self.state

    async def outcomes(self, timeout: float, *, sent_on: bool = False) -> list[str]:
        return [self.state] * len(self.ids)

    def remark(self, number: int, what: str, text: str) -> None:
        self.remarks.append((self.ids[number], what, text))


@dataclass
class FakeDeliver:
    """A hub that keeps messages in a list, and can be told to fail."""

    delivered: list[Message] = field(default_factory=list)
    refused: list[tuple[Message, str]] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    """Why what was no message was turned away."""
    failures: int = 0
    """So many deliveries fail first, as on a full disk."""
    outcome: str = "delivered"

    async def __call__(self, messages: Sequence[Message]) -> FakeReceipt:
        return self.threadsafe(messages)

    async def refuse(self, message: Message, reason: str) -> None:
        self.refused.append((message, reason))

    def turned_away(self, reason: str) -> None:
        self.away.append(reason)

    def threadsafe(self, messages: Sequence[Message]) -> FakeReceipt:
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is full")
        self.delivered += messages
        return FakeReceipt([m.id for m in messages], [False] * len(messages), self.outcome)


def _only_for(part: type) -> Callable[[F], F]:
    """Marks a test that makes sense for sources, or for destinations, only."""

    def mark(function: F) -> F:
        function.only_for = part  # type: ignore[attr-defined]  # read in __init_subclass__
        return function

    return mark


class ConnectorContract:
    """Everything the hub relies on, as tests.  Set `connector` and `config`; override the helpers that do not fit.

    In `config`, `{tmp_path}` stands for a fresh folder.
    """

    connector: ClassVar[type[AnyConnector]]
    config: ClassVar[dict[str, Any]]
    sample: ClassVar[bytes] = SAMPLE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Sources have nothing to send and destinations nothing to receive: tests that do not apply are not there."""
        super().__init_subclass__(**kwargs)
        for name, function in vars(ConnectorContract).items():
            part = getattr(function, "only_for", None)
            if part is not None and not issubclass(cls.connector, part):
                setattr(cls, name, None)

    # Helpers to override.

    async def far_side(self, config: dict[str, Any]) -> Any:
        """Starts the partner before the connection is made; may change `config` (a port). An async context manager, or None."""
        return None

    async def bring(self, connection: Any, tmp_path: Path) -> None:
        """Makes `sample` arrive at a source; the default writes a file into a folder."""
        draft = tmp_path / "sample.hl7.part"
        await asyncio.to_thread(draft.write_bytes, self.sample)
        draft.rename(tmp_path / "sample.hl7")

    def arrived(self, connection: Any, tmp_path: Path) -> bytes | None:
        """What arrived at the partner; the default reads the only file of a folder."""
        files = [file for file in tmp_path.iterdir() if file.is_file()]
        return files[0].read_bytes() if files else None

    def outgoing(self) -> Message:
        """What a destination is given to send; the default is `sample` as HL7 v2."""
        return Message(self.sample, "hl7v2", "ADT^A04", id=new_id())

    # Fixtures.

    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        filled = {k: v.replace("{tmp_path}", str(tmp_path)) if isinstance(v, str) else v for k, v in self.config.items()}
        return {"kind": self.connector.kind, **filled}

    def make(self, settings: dict[str, Any]) -> Any:
        return self.connector("contract", self.connector.Config.model_validate(settings))

    # Settings.

    def test_an_unknown_setting_is_refused(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            self.connector.Config.model_validate({**settings, "no_such_setting": "1"})

    def test_every_setting_is_described(self) -> None:
        missing = [f"{model.__name__}.{name}" for model in _models(self.connector.Config) for name in _undescribed(model)]
        assert not missing, f"write a string under: {', '.join(missing)}"

    def test_secrets_are_hidden(self, settings: dict[str, Any]) -> None:
        plain = [f"{model.__name__}.{name}" for model in _models(self.connector.Config) for name in _plain_secrets(model)]
        assert not plain, f"make a SecretStr of: {', '.join(plain)}"

    def test_it_has_a_kind(self) -> None:
        assert self.connector.kind, "a connector has a kind"
        assert self.connector.__doc__, "a connector has a docstring"

    # Life.

    async def test_it_can_be_closed_twice_and_without_having_been_opened(self, settings: dict[str, Any]) -> None:
        connection = self.make(settings)
        await _close(connection)
        await _close(connection)

    async def test_its_repr_names_it_and_no_secret(self, settings: dict[str, Any]) -> None:
        connection = self.make(settings)
        assert "contract" in repr(connection)
        assert not [secret for secret in _secrets(connection.config) if secret in repr(connection)], "its repr shows a secret"

    # Sources.

    @_only_for(Source)
    async def test_what_arrives_is_delivered_with_its_bytes(self, settings: dict[str, Any], tmp_path: Path) -> None:
        deliver = FakeDeliver()
        async with _opened(self.make(settings), deliver) as connection:
            await self.bring(connection, tmp_path)
            await _until(lambda: bool(deliver.delivered))
        assert deliver.delivered[0].body == self.sample

    @_only_for(Source)
    async def test_a_message_stays_with_the_sender_until_it_is_stored(self, settings: dict[str, Any], tmp_path: Path) -> None:
        """The first delivery fails; the message must still come to the hub afterwards, or not have been answered."""
        deliver = FakeDeliver(failures=1)
        async with _opened(self.make(settings), deliver) as connection:
            await self.bring_again(connection, tmp_path)
            await _until(lambda: bool(deliver.delivered))
        assert deliver.delivered[0].body == self.sample

    async def bring_again(self, connection: Any, tmp_path: Path) -> None:
        """Brings the sample; for protocols where the sender has to try again, again after a failure."""
        await self.bring(connection, tmp_path)

    @_only_for(Source)
    async def test_closing_ends_listening_within_two_seconds(self, settings: dict[str, Any]) -> None:
        before = asyncio.all_tasks()
        async with _opened(self.make(settings), FakeDeliver()):
            pass
        left = asyncio.all_tasks() - before
        _, running = await asyncio.wait(left, timeout=CLOSING) if left else (set(), set())
        assert not running, f"still at work after it was closed: {', '.join(sorted(task.get_name() for task in running))}"

    # Destinations.

    @_only_for(Destination)
    async def test_what_is_sent_arrives_unchanged(self, settings: dict[str, Any], tmp_path: Path) -> None:
        async with _Partner(await self.far_side(settings)):
            async with _opened(self.make(settings)) as connection:
                await connection.send(self.outgoing())
            assert self.arrived(connection, tmp_path) == self.sample

    @_only_for(Destination)
    async def test_a_partner_that_is_not_there_is_a_connection_that_is_down(self, settings: dict[str, Any]) -> None:
        async with _opened(self.make(self.without_partner(settings))) as connection:
            with pytest.raises(ConnectionDown) as caught:
                await connection.send(self.outgoing())
        assert "contract" in str(caught.value), "the error names the connection"
        assert CANARY not in str(caught.value)

    def without_partner(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings that lead nowhere; the default changes a folder, an address or a port."""
        if "url" in settings:
            return {**settings, "url": "http://127.0.0.1:1"}
        if "path" in settings:
            return {**settings, "path": str(Path(settings["path"]) / "missing" / "deeper")}
        return {**settings, "host": "127.0.0.1", "port": 1}

    async def test_no_patient_data_is_logged(self, settings: dict[str, Any], tmp_path: Path) -> None:
        with _everything_written() as written:
            await self._use(settings, tmp_path)
        assert CANARY not in written.getvalue(), "what was received or sent is in the log"

    async def _use(self, settings: dict[str, Any], tmp_path: Path) -> None:
        """Once each way; what goes wrong is for other tests, as long as it is worded without patient data."""
        async with _Partner(await self.far_side(settings)):
            try:
                if issubclass(self.connector, Source):
                    deliver = FakeDeliver()
                    async with _opened(self.make(settings), deliver) as connection:
                        await self.bring(connection, tmp_path)
                        await _until(lambda: bool(deliver.delivered))
                if issubclass(self.connector, Destination):
                    async with _opened(self.make(settings)) as connection:
                        await connection.send(self.outgoing())
            except HubError as error:
                assert CANARY not in str(error)


@contextlib.contextmanager
def _everything_written() -> Iterator[io.StringIO]:
    """What a connector writes, by structlog, by the standard library down to debugging, or by print."""
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(written))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
            yield written
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        structlog.reset_defaults()


@contextlib.asynccontextmanager
async def _opened(connection: Any, deliver: FakeDeliver | None = None) -> AsyncIterator[Any]:
    """A connection at work: a source when it gets a `deliver`, else a destination."""
    try:
        async with asyncio.timeout(PATIENCE):
            await (connection.open_destination() if deliver is None else connection.open(deliver))
        yield connection
    finally:
        await _close(connection)


async def _close(connection: Any) -> None:
    begin = time.monotonic()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(connection.close(), CLOSING)
    assert time.monotonic() - begin < CLOSING, f"close took more than {CLOSING:.0f} s"


class _Partner:
    """`async with` for a far side that may be None."""

    def __init__(self, partner: Any) -> None:
        self._partner = partner

    async def __aenter__(self) -> None:
        if self._partner is not None:
            await self._partner.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        if self._partner is not None:
            await self._partner.__aexit__(*error)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - waits for something outside
            await asyncio.sleep(0.01)


def _parts(annotation: Any) -> list[Any]:
    """The types an annotation is made of: `list[Lock] | None` of Lock and None."""
    inner = typing.get_args(annotation)
    return [part for argument in inner for part in _parts(argument)] if inner else [annotation]


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    found = [model]
    for info in model.model_fields.values():
        for part in _parts(info.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel) and part not in found:
                found += _models(part)
    return found


def _undescribed(model: type[BaseModel]) -> list[str]:
    return [name for name, info in model.model_fields.items() if not info.description]


def _plain_secrets(model: type[BaseModel]) -> list[str]:
    """Settings that are named like a secret and would be shown like everything else; the URL of a token is none."""
    named = {name: info for name, info in model.model_fields.items() if any(word in name for word in SECRET_WORDS)}
    return [name for name, info in named.items() if SecretStr not in _parts(info.annotation) and not name.endswith("_url")]


def _secrets(value: Any) -> list[str]:
    """The values of all secrets in settings."""
    if isinstance(value, SecretStr):
        return [value.get_secret_value()] if value.get_secret_value() else []
    inner = dict(value).values() if isinstance(value, BaseModel | dict) else value if isinstance(value, list | tuple) else ()
    return [secret for part in inner for secret in _secrets(part)]

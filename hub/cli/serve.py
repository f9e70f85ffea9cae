"""A hub in this process, from start to stop, with its control socket and signals."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import structlog

from hub import logs
from hub.bus.hub import Hub
from hub.bus.operations import Operations
from hub.cli import OK, UNREACHABLE
from hub.cli.output import say
from hub.clinic import Clinic
from hub.console.api import ControlSocket
from hub.console.metrics import MetricsPort
from hub.errors import HubError, LeaseLost, StoreError

log = structlog.get_logger(__name__)


def serve(clinic: Clinic) -> int:
    """Runs until a signal, or until the store breaks."""
    logs.configure(clinic.settings.log.level, clinic.settings.log.format)
    try:
        import uvloop
    except ImportError:  # Windows: the same on the standard event loop
        return asyncio.run(_serve(clinic))
    return uvloop.run(_serve(clinic))


async def _serve(clinic: Clinic) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        _on_signal(loop, number, stop.set)
    while (failure := await _run(clinic, stop)) is not None:
        say(f"stopped: {failure}")
        if stop.is_set() or not isinstance(failure, LeaseLost):
            return UNREACHABLE
    say("stopped")
    return OK


async def _run(clinic: Clinic, stop: asyncio.Event) -> StoreError | None:
    """One hub, until it is told to stop or its store fails."""
    started = time.monotonic()
    hub = Hub(clinic, apart=os.name == "posix")
    await hub.start()
    operations = Operations(hub.core, hub)
    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, operations)
    control = ControlSocket(hub, operations)
    metrics = MetricsPort(hub, clinic.settings.metrics)
    told = asyncio.create_task(stop.wait())
    try:
        await control.open()
        await metrics.open()
        hub.on_settled = spare_the_collector
        spare_the_collector()
        say(f"ready in {time.monotonic() - started:.1f} s: {', '.join(_places(hub)) or 'no connections'}")
        ends: list[asyncio.Future[Any]] = [told, hub.failed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        await metrics.close()
        await control.close()
        await hub.stop()
    return hub.failed.result() if hub.failed.done() else None


def spare_the_collector() -> None:
    """What was made to start lives as long as the hub: Python's garbage collector looks through it no more, and less often
    through the rest.  Otherwise it takes 50 ms every second under load, and every message under way waits.
    """
    gc.unfreeze()  # what an earlier clinic file has left
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _on_signal(loop: asyncio.AbstractEventLoop, number: signal.Signals, act: Callable[[], None]) -> None:
    """Windows has no signal handlers on the event loop; there a plain one tells the loop."""
    try:
        loop.add_signal_handler(number, act)
    except NotImplementedError:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(act))


_reloading: set[asyncio.Task[None]] = set()


def _reload(operations: Operations) -> None:
    """SIGHUP does what `hub reload` does; what came of it is said."""

    async def run() -> None:
        try:
            await operations.run("reload", {}, "SIGHUP")
        except HubError as error:
            log.error("the clinic file was not taken; the old one counts on", code=error.code, reason=str(error))

    task = asyncio.get_running_loop().create_task(run())
    _reloading.add(task)
    task.add_done_callback(_reloading.discard)


def _places(hub: Hub) -> list[str]:
    def place(name: str, connection: Any) -> str:
        port = getattr(connection, "port", None)
        return f"{name} ({connection.config.host}:{port})" if port is not None else name

    sources = [place(name, source) for name, source in hub.sources.items()]
    return [*sources, *(name for name in hub.clinic.settings.connections if name not in hub.sources)]

"""Threads of their own for what blocks.

They are daemons: a library that is stuck (in a name server, in a handshake) must not keep the hub from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[object]", Callable[[], object]]


class Worker:
    """Runs one job after another in a thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] | None = None

    async def run(self, job: Callable[[], T]) -> T:
        """What the job returns or raises; when nobody waits any more, it is told to nobody."""
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, done, job))  # type: ignore[arg-type]  # a future of T is one of object
        return await done

    def stop(self, last: Callable[[], object] | None = None) -> None:
        """The thread ends after the job it is at, and after a last one that lets go of everything; nobody waits for that."""
        if self._jobs is not None:
            if last is not None:
                loop = asyncio.get_running_loop()
                self._jobs.put((loop, loop.create_future(), last))
            self._jobs.put(None)
            self._jobs = None


async def in_a_thread(name: str, job: Callable[[], T]) -> T:
    """What one job returns or raises, in a thread that ends with it."""
    worker = Worker(name)
    try:
        return await worker.run(job)
    finally:
        worker.stop()


def _work(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (next_job := jobs.get()) is not None:
        loop, done, job = next_job
        if done.cancelled():
            continue
        result: object = None
        failure: BaseException | None = None
        try:
            result = job()
        except BaseException as error:  # it is for the one who waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_tell, done, result, failure)
        del next_job, done, job, result, failure


def _tell(done: asyncio.Future[object], result: object, failure: BaseException | None) -> None:
    if done.cancelled():
        return
    if failure is not None:
        done.set_exception(failure)
    else:
        done.set_result(result)

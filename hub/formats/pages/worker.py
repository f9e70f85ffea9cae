"""Inside the limited process: takes one request, answers it, ends.  Nothing here runs in the hub.

Once the limits hold it can open no file and no connection and begin no process, whatever a document makes of it: what it needs
is loaded before.
"""

from __future__ import annotations

import encodings.utf_16_le  # noqa: F401 - as PDFium has its text
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import PIL.MpoImagePlugin
import PIL.PdfImagePlugin
import PIL.TiffImagePlugin  # noqa: F401 - Pillow loads it when it is first needed, which is too late
from PIL import Image

from hub.formats.pages.making import cover, join, part, to_pdf, to_tiff
from hub.formats.pages.reading import look
from hub.formats.pages.words import CannotRead, Limits

_FILES = 3
"""Open files it may have: those it was given."""


def main() -> None:
    Image.preinit()  # the usual formats, which Pillow too loads only when they are needed
    line, _, rest = _everything().partition(b"\n")
    request = json.loads(line)
    limits = Limits(**request.pop("limits"))
    documents = _cut(rest, request.pop("sizes"))
    del rest
    limit_this_process(limits, sum(map(len, documents)))
    try:
        made = _WORK[request.pop("do")](documents, limits, **request)
        say({"state": "whole" if len(made) <= limits.result else "too_large"}, made[: limits.result])
    except CannotRead as error:
        say({"state": error.state})
    except (MemoryError, OverflowError):
        say({"state": "too_large"})
    except Exception:
        say({"state": "broken"})


def say(line: dict[str, Any], made: bytes = b"") -> None:
    """A line of the answer, with what was made behind the last one."""
    for data in (json.dumps(line).encode() + b"\n", made):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]


def _look(documents: list[bytes], limits: Limits) -> bytes:
    for line in look(documents[0], limits):
        say(line)
    return b""


_WORK: dict[str, Callable[..., bytes]] = {
    "look": _look,
    "to_pdf": lambda documents, limits: to_pdf(documents[0], limits),
    "to_tiff": lambda documents, limits, **how: to_tiff(documents[0], limits, **how),
    "part": lambda documents, limits, **which: part(documents[0], limits, **which),
    "join": join,
    "cover": lambda _, __, **what: cover(**what),
}


def _everything() -> bytes:
    size = os.fstat(0).st_size
    with os.fdopen(0, "rb", buffering=0, closefd=False) as given:
        return given.read(size) or b""


def _cut(rest: bytes, sizes: list[int]) -> list[bytes]:
    documents, start = [], 0
    for size in sizes:
        documents.append(rest[start : start + size])
        start += size
    return documents


def limit_this_process(limits: Limits, given: int) -> None:
    """As far as the system knows these limits; the clock on the wall is watched by the hub too."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limits.wall)  # also when the hub is gone
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        "RLIMIT_CPU": limits.seconds,
        "RLIMIT_AS": limits.memory + 2 * given,
        "RLIMIT_FSIZE": limits.result,
        "RLIMIT_NOFILE": _FILES,
        "RLIMIT_NPROC": 0,
        "RLIMIT_CORE": 0,
    }
    for name, most in wanted.items():
        number = getattr(resource, name, None)
        if number is None:
            continue
        try:
            resource.setrlimit(number, (most, most + 1 if name == "RLIMIT_CPU" else most))
        except (ValueError, OSError):  # already lower, or not known here
            continue

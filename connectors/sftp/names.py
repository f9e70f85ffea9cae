"""Names of files on the partner's server: not trusted, never shown in errors or logs, kept as bytes.

A file that the hub has claimed is called `.hub-OWNER-DIGEST-NAME`: which hub has it, a digest of its whole name, and the name
itself, cut where it would get too long.
"""

from __future__ import annotations

import hashlib
import re
from fnmatch import fnmatchcase
from typing import NamedTuple

from hub.net.files import UNFINISHED

LONGEST = 255
"""Bytes of a name on the usual file systems."""
HEAD, TAIL = 100, 100
"""Bytes of a long name that are kept at its begin and end."""
_CLAIM = re.compile(rb"\.hub-([0-9a-f]{12})-([0-9a-f]{32})-(.+)", re.DOTALL)


class Claim(NamedTuple):
    """What the name of a claimed file says."""

    owner: str
    digest: str
    """Of the name the partner gave it."""
    name: bytes
    """That name, or what was kept of it."""


def is_plain(name: bytes) -> bool:
    """False for names that are none: with a path in them, empty, or with what no file system has."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\\" not in name and b"\0" not in name


def digest_of(name: bytes) -> str:
    return hashlib.sha256(name).hexdigest()[:32]


def claimed_as(name: bytes, owner: str) -> bytes:
    return f".hub-{owner}-{digest_of(name)}-".encode() + short(name)


def claim_of(name: bytes) -> Claim | None:
    found = _CLAIM.fullmatch(name)
    return Claim(found[1].decode(), found[2].decode(), found[3]) if found else None


def short(name: bytes) -> bytes:
    """A name that fits beside what a claim adds to it; its ending, and so what a pattern asks for, stays."""
    return name if len(name) <= HEAD + TAIL + 1 else name[:HEAD] + b"~" + name[-TAIL:]


def is_wanted(name: bytes, pattern: str) -> bool:
    text = as_text(name)
    return fnmatchcase(text, pattern) and not text.startswith(".") and not text.endswith(UNFINISHED)


def as_text(name: bytes) -> str:
    """For a header; what is no UTF-8 is shown as escapes."""
    return name.decode("utf-8", "backslashreplace")


def another(name: bytes, moment: int) -> bytes:
    """The name with a number before its ending, for a folder where its own is taken."""
    stem, dot, ending = short(name).rpartition(b".")
    return b"%s.%d.%s" % (stem, moment, ending) if dot and stem else b"%s.%d" % (short(name), moment)

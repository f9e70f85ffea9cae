"""What the hub says on stderr: structured, and only fields that are known to hold no patient data."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

ALLOWED = frozenset(
    [
        "event",
        "level",
        "timestamp",
        "attempt",
        "bytes",
        "code",
        "commits",
        "connection",
        "connections",
        "count",
        "error",
        "failpoints",
        "file",
        "final",
        "flow",
        "hook",
        "job",
        "kind",
        "limit",
        "line",
        "message",
        "name",
        "path",
        "peer",
        "plugin",
        "port",
        "reason",
        "seconds",
        "seq",
        "state",
        "step",
        "target",
        "version",
        "where",
    ]
)
"""Fields that may be logged; others are dropped.  `message` is an id, never a body."""


LONGEST = 500
PLAIN = (bool, int, float, type(None))


def _only_allowed(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: value if isinstance(value, PLAIN) else _one_line(value) for key, value in event.items() if key in ALLOWED}


def _one_line(value: Any) -> str:
    """What others chose must neither begin a line that looks like one of ours nor steer a terminal."""
    text = value if isinstance(value, str) else str(value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:LONGEST])[:LONGEST]


def configure(level: str = "info", format: str = "text") -> None:
    """Sets up logging for this process: text for people, json for programs."""
    colors = format == "text" and sys.stderr.isatty()
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_allowed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger().handlers = [
        logging.NullHandler()
    ]  # libraries log request lines with addresses; errors reach us as exceptions

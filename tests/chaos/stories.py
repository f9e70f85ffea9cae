"""Telling many stories of a simulation, each by its seed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import structlog


def tell_all(tell: Callable[[int], object], first: int, last: int) -> int:
    """1 when any went wrong; the first of these are told in full."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    wrong = []
    for seed in range(first, last + 1):
        try:
            tell(seed)
        except AssertionError as error:
            wrong.append(seed)
            if len(wrong) <= 5:
                traceback.print_exception(error, limit=-3)
            print(error)
    print(f"{last - first + 1} stories, {len(wrong)} went wrong{': ' if wrong else ''}{wrong}")
    return 1 if wrong else 0

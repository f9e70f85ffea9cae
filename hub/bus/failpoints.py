"""Named ways to break the bus on purpose, so that tests can prove that they would notice.

Switched on by CLINIC_HUB_FAILPOINTS (names separated by commas), never by a configuration file; a hub that runs with one
says so in its log with every start.
"""

from __future__ import annotations

import os

KNOWN = frozenset({"ack_before_commit", "ordering_key_dropped"})


def active() -> frozenset[str]:
    """The failpoints of this process; raises ValueError for a name that does not exist."""
    names = frozenset(name for name in os.environ.get("CLINIC_HUB_FAILPOINTS", "").split(",") if name)
    if unknown := names - KNOWN:
        raise ValueError(f"there is no failpoint {', '.join(sorted(unknown))}; there are {', '.join(sorted(KNOWN))}")
    return names

"""States that only move forward: a fax, an envelope, a text, a call, as its partner tells of it.

Partners tell of one thing several times, late, and in any order.  Whatever the order, the same state is reached in the end,
because what was said is not taken back: of two states the later one counts, and of two ends the one that is named first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """The states of one kind of thing, in their order.

    FAX = Progress(["ordered", "unknown", "queued", "sending"], ends=["sent", "failed"])
    FAX.advance("sending", "queued") == "sending"
    FAX.advance("failed", "sent") == "sent"     # `sent` is named first: a late success counts, a late failure does not
    """

    steps: Sequence[str]
    """From the first on.  `unknown` (a doubtful send) stands before all that a partner can tell: its word settles it."""
    ends: Sequence[str]
    """States after which nothing follows, the strongest first."""
    _ranks: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for rank, state in enumerate([*self.steps, *reversed(self.ends)]):
            if state in self._ranks:
                raise ValueError(f"the state {state!r} is named twice")
            self._ranks[state] = rank

    def advance(self, known: str, said: str) -> str:
        """The state after something was said: the same whatever comes first.  Raises ValueError for a state that is none."""
        return max(known, said, key=self._rank)

    def is_over(self, state: str) -> bool:
        """True when nothing is expected any more."""
        return self._rank(state) >= len(self.steps)

    def _rank(self, state: str) -> int:
        try:
            return self._ranks[state]
        except KeyError:
            raise ValueError(f"{state!r} is no state; there are {', '.join(self._ranks)}") from None

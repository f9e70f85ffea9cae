"""The tables of `tables.py` as a tree of loops and places, and the way from one segment to the next.

A `Place` is one segment where it may stand.  From a place `step` tells where a following segment belongs, which loops it opens
and which required segments it leaves out; steps are worked out once and kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache

from hub.formats.x12 import codes, tables
from hub.formats.x12.service_types import SERVICE_TYPES

_CODE_SETS = {**vars(codes), "SERVICE_TYPES": SERVICE_TYPES}


@dataclass(frozen=True, slots=True)
class Rule:
    """What one element, or one part of it, must look like."""

    reference: str
    """Number of the data element or composite; empty for one nobody uses here."""
    kind: str = ""
    """ID, AN, DT, TM, R or N; empty for a composite."""
    shortest: int = 0
    longest: int = 0
    demanded: str = ""
    """`standard` or `implementation`."""
    codes: Collection[str] | None = None
    repeats: int = 1
    parts: tuple[Rule, ...] = ()
    conditions: tuple[tuple[str, tuple[int, ...]], ...] = ()
    used: bool = True
    plain: bool = True
    """Whether its length is all there is to check."""


@dataclass(eq=False, slots=True)
class Place:
    """A segment where it may stand."""

    id: str
    loop: Loop
    required: bool
    most: int
    """0: any number."""
    rules: tuple[Rule, ...]
    conditions: tuple[tuple[str, tuple[int, ...]], ...]
    last_demanded: int
    """Number of the last element that must be there."""
    key: str = ""
    """What it is found under: its id, for an HL with its code."""
    begins: bool = False
    """Whether it is the first of its loop."""
    order: int = 0
    steps: dict[str, Step | None] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Loop:
    """Segments that belong together."""

    name: str
    parent: Loop | None
    required: bool
    most: int
    level: str = ""
    """HL03 of the level it is."""
    children: list[Place | Loop] = field(default_factory=list)
    limited: tuple[Loop, ...] = ()
    """Loops directly within it that may come only so often."""

    @property
    def first(self) -> Place:
        child = self.children[0]
        return child if isinstance(child, Place) else child.first


@dataclass(frozen=True, slots=True)
class Step:
    """The way from one place to another."""

    to: Place
    opens: tuple[Loop, ...]
    missing: tuple[Place, ...]
    """What must be there and was passed over."""


@dataclass(slots=True)
class Schema:
    """One kind of transaction set."""

    set: str
    root: Loop
    places: dict[str, list[Place]]
    """By segment id."""

    @property
    def start(self) -> Place:
        return self.root.first


@cache
def schema(kind: str) -> Schema | None:
    """The schema of a transaction set; None for one the hub does not read."""
    lines = tables.SETS.get(kind)
    if lines is None:
        return None
    root = _tree([line for line in lines.splitlines() if line.strip()])
    places: dict[str, list[Place]] = {}
    for order, place in enumerate(_places(root)):
        place.order = order
        places.setdefault(place.id, []).append(place)
    return Schema(kind, root, places)


def step(place: Place, key: str) -> Step | None:
    """Where a segment of this key belongs after this place; None when nowhere."""
    try:
        return place.steps[key]
    except KeyError:
        pass
    found = _step(place, key)
    if len(place.steps) < 1000:
        place.steps[key] = found
    return found


def _step(place: Place, key: str) -> Step | None:
    """Looks in the loop of the place, then in those around it: from where it stands to its end, then from its beginning."""
    if place.key == key and not place.begins:
        return Step(place, (), ())
    passed: list[Place] = []
    inside: Place | Loop = place
    loop: Loop | None = place.loop
    while loop is not None:
        children = loop.children
        for child in children[children.index(inside) + 1 :]:
            if (found := _enter(child, key)) is not None:
                return Step(found[0], found[1], (*passed, *found[2]))
            passed += _demanded(child)
        if loop.first.key == key and loop.parent is not None:
            return Step(loop.first, (loop,), tuple(passed))
        inside, loop = loop, loop.parent
    return None


def _enter(child: Place | Loop, key: str) -> tuple[Place, tuple[Loop, ...], tuple[Place, ...]] | None:
    """The place of this key in a child, when it can be reached by opening loops."""
    if isinstance(child, Place):
        return (child, (), ()) if child.key == key else None
    if child.first.key == key:
        return child.first, (child,), ()
    return None


def _demanded(child: Place | Loop) -> Iterator[Place]:
    if isinstance(child, Place):
        if child.required:
            yield child
    elif child.required:
        yield child.first


def _places(loop: Loop) -> Iterator[Place]:
    for child in loop.children:
        if isinstance(child, Place):
            yield child
        else:
            yield from _places(child)


# Reading the tables.


def _tree(lines: list[str]) -> Loop:
    root = Loop("", None, True, 1)
    open_loops = [root]
    for line in lines:
        depth = len(line) - len(line.lstrip())
        del open_loops[depth + 1 :]
        name, usage, most, *rest = line.split()
        parent = open_loops[-1]
        count = 0 if most == "-" else int(most)
        if name[0].isdigit():
            level = next((word.removeprefix("HL*") for word in rest if word.startswith("HL*")), "")
            loop = Loop(name, parent, usage == "R", count, level)
            parent.children.append(loop)
            open_loops.append(loop)
        else:
            parent.children.append(_place(name, parent, usage == "R", count, rest))
    _finish(root)
    return root


def _finish(loop: Loop) -> None:
    loop.limited = tuple(child for child in loop.children if isinstance(child, Loop) and child.most > 1)
    for number, child in enumerate(loop.children):
        if isinstance(child, Loop):
            _finish(child)
        else:
            child.begins = number == 0 and loop.parent is not None
            child.key = f"HL{loop.level}" if child.id == "HL" else child.id


def _place(id: str, loop: Loop, required: bool, most: int, narrower: list[str]) -> Place:
    rules, conditions = _segments()[id]
    own = list(rules)
    for word in narrower:
        number = int("".join(c for c in word.split("=")[0] if c.isdigit()))
        own[number - 1] = _narrowed(own[number - 1], word)
    demanded = max((number for number, rule in enumerate(own, 1) if rule.demanded), default=0)
    return Place(id, loop, required, most, tuple(own), conditions, demanded)


def _narrowed(rule: Rule, word: str) -> Rule:
    from dataclasses import replace

    if word.endswith("-"):
        return replace(rule, used=False, plain=False)
    if word.endswith("!"):
        return rule if rule.demanded else replace(rule, demanded="implementation")
    allowed = word.split("=", 1)[1]
    known: Collection[str] = _CODE_SETS[allowed[1:]] if allowed[0] == "@" else allowed.split(",")
    return replace(rule, codes=frozenset(known), plain=False)


@cache
def _elements() -> dict[str, tuple[str, int, int]]:
    found = {}
    for entry in tables.ELEMENTS.replace("\n", "|").split("|"):
        if entry:
            number, kind, shortest, longest = entry.split()
            found[number] = (kind[0] if kind[0] == "N" else kind, int(shortest), int(longest))
    return found


@cache
def _composites() -> dict[str, tuple[tuple[Rule, ...], tuple[tuple[str, tuple[int, ...]], ...]]]:
    return {line.split()[0]: _read_line(line, {}) for line in tables.COMPOSITES.strip().splitlines()}


@cache
def _segments() -> dict[str, tuple[tuple[Rule, ...], tuple[tuple[str, tuple[int, ...]], ...]]]:
    return {line.split()[0]: _read_line(line, _composites()) for line in tables.SEGMENTS.strip().splitlines()}


def _read_line(
    line: str, composites: dict[str, tuple[tuple[Rule, ...], tuple[tuple[str, tuple[int, ...]], ...]]]
) -> tuple[tuple[Rule, ...], tuple[tuple[str, tuple[int, ...]], ...]]:
    words, _, conditions = line.partition("|")
    rules = tuple(_rule(word, composites) for word in words.split()[1:])
    pairs = tuple((word[0], tuple(int(word[n : n + 2]) for n in range(1, len(word), 2))) for word in conditions.split())
    return rules, pairs


def _rule(word: str, composites: dict[str, tuple[tuple[Rule, ...], tuple[tuple[str, tuple[int, ...]], ...]]]) -> Rule:
    word, _, repeats = word.partition("*")
    reference = word.rstrip("!")
    demanded = "standard" if word.endswith("!") else ""
    times = int(repeats or 1)
    if reference in composites:
        parts, conditions = composites[reference]
        return Rule(reference, demanded=demanded, repeats=times, parts=parts, conditions=conditions, plain=False)
    kind, shortest, longest = _elements().get(reference, ("AN", 1, 80))
    return Rule(reference, kind, shortest, longest, demanded, repeats=times, plain=kind in ("ID", "AN") and times == 1)

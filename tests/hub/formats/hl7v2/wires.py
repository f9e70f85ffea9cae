"""HL7 v2 messages of any shape for properties: made from their parts, so that what they say is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

Component = list[str]
"""Subcomponents, as a person reads them."""
Field = list[list[Component]]
"""Repetitions of components."""

PUNCTUATION = "!\"#$%&'()*+,-/:;<=>?@[\\]^_`{|}~"
"""Any of these may be a separator.  Letters, digits and the full stop also stand in escape sequences."""

separators = st.lists(st.sampled_from(PUNCTUATION), min_size=5, max_size=5, unique=True).map("".join)
"""Field, component, repetition, escape, subcomponent: the usual ones now and then."""
usual_or_any = st.one_of(st.just("|^~\\&"), separators)

plain = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
"""Text without line ends."""


@dataclass(slots=True)
class Wire:
    """A message taken apart."""

    five: str
    segments: list[tuple[str, list[Field]]]
    ends: list[str]

    def encoded(self) -> bytes:
        lines = [f"MSH{self.five[0]}{self.five[1:]}{self.five[0]}X"]
        lines += [self.five[0].join([name, *map(self.field, fields)]) for name, fields in self.segments]
        return "".join(line + end for line, end in zip(lines, self.ends, strict=True)).encode()

    def field(self, field: Field) -> str:
        return self.five[2].join(
            self.five[1].join(self.five[4].join(map(self.escaped, component)) for component in repetition)
            for repetition in field
        )

    def escaped(self, text: str) -> str:
        f, c, r, e, s = self.five
        letters = {f: "F", c: "S", r: "R", e: "E", s: "T"}
        return "".join(f"{e}{letters[character]}{e}" if character in letters else character for character in text)

    def put(self, at: Sequence[int], text: str) -> None:
        """What `Hl7.set` must do: segment, field, repetition, component and subcomponent count from 0."""
        segment, field, repetition, component, subcomponent = at
        found = self.segments[segment][1]
        _fill(found, field, lambda: [[[""]]])
        _fill(found[field], repetition, lambda: [[""]])
        _fill(found[field][repetition], component, lambda: [""])
        _fill(found[field][repetition][component], subcomponent, str)
        found[field][repetition][component][subcomponent] = text


def _fill(parts: list, index: int, empty) -> None:  # type: ignore[no-untyped-def, type-arg]
    while len(parts) <= index:
        parts.append(empty())


def _lists(of: st.SearchStrategy, most: int) -> st.SearchStrategy:  # type: ignore[type-arg]
    return st.lists(of, min_size=1, max_size=most)


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    field = _lists(_lists(_lists(plain, 2), 3), 3)
    names = st.sampled_from(["PID", "PV1", "OBX", "IN1", "ZPD"])
    segments = draw(_lists(st.tuples(names, st.lists(field, max_size=4)), 4))
    ends = draw(st.lists(st.sampled_from(["\r", "\n", "\r\n"]), min_size=len(segments) + 1, max_size=len(segments) + 1))
    return Wire(draw(usual_or_any), segments, ends)

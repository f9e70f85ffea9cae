"""Transaction sets made from the hub's tables, with everything they may hold, and the interchange around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from hypothesis import strategies as st

from hub.formats.x12.schema import Loop, Place, Rule, schema
from hub.formats.x12.tokens import Delimiters

PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .'-&#/()"
DELIMITERS = [
    Delimiters(),
    Delimiters("|", ">", "}", "!"),
    Delimiters("\x1d", "\x1f", "\x1e", "\x1c"),
    Delimiters("*", ":", "^", "\n"),
]
days = st.dates(date(1900, 1, 1), date(2099, 12, 31)).map(lambda day: day.strftime("%Y%m%d"))
amounts = st.one_of(
    st.decimals(0, 99_999, places=2, allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(["0", ".5", ".00", "1.", "25"]),
)


@dataclass
class Made:
    """A transaction set as it is made: segments as lists of elements, which are texts, lists (repeated) or tuples (parts)."""

    draw: st.DrawFn
    kind: str
    lines: list[list] = field(default_factory=list)  # type: ignore[type-arg]
    above: list[int] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)


@st.composite
def bodies(draw: st.DrawFn, kind: str) -> list[list]:  # type: ignore[type-arg]
    """What stands between ST and SE."""
    made = Made(draw, kind)
    root = schema(kind).root  # type: ignore[union-attr]
    for child in root.children:
        if isinstance(child, Loop):
            for _ in range(times(made, child)):
                add_loop(made, child)
        elif child.id not in ("ST", "SE"):
            made.lines.append(line(made, child))
    if kind == "999":
        made.verdicts = [one[1] for one in made.lines if one[0] == "IK5"]
        accepted = sum(verdict in "AE" for verdict in made.verdicts)
        count = len(made.verdicts) or 1
        made.lines[-1] = ["AK9", "P", str(count), str(count), str(accepted)]
    return made.lines


def times(made: Made, child: Loop | Place) -> int:
    return made.draw(st.integers(1 if child.required else 0, min(child.most or 2, 2)))


def add_loop(made: Made, loop: Loop) -> None:
    draw = made.draw
    begin = len(made.lines)
    wrapped = None
    for child in loop.children:
        if isinstance(child, Place) and child.id in ("LS", "LE"):
            wrapped = draw(st.booleans()) if child.id == "LS" else wrapped
            if wrapped:
                made.lines.append([child.id, "2120"])
        elif isinstance(child, Loop):
            count = times(made, child)
            if child.name.startswith("2120"):
                count = max(count, 1) if wrapped else 0
            if child.name.startswith("2110") and made.kind in ("270", "271"):
                count = max(count, 1)  # a patient is asked for, or told about
            for _ in range(count):
                add_loop(made, child)
        elif child.id == "HL":
            add_level(made, child)
        else:
            made.lines += [line(made, child) for _ in range(1 if child.begins else times(made, child))]
    if loop.level:
        number = made.above.pop()
        below = any(one[0] == "HL" and one[2] == str(number) for one in made.lines[begin:])
        made.lines[begin][4:] = ["1" if below else "0"]
        if made.kind in ("276", "277") and loop.level == "23":
            del made.lines[begin][4:]


def add_level(made: Made, place: Place) -> None:
    number = 1 + sum(one[0] == "HL" for one in made.lines)
    made.lines.append(["HL", str(number), str(made.above[-1]) if made.above else "", place.loop.level, ""])
    made.above.append(number)


def line(made: Made, place: Place) -> list:  # type: ignore[type-arg]
    draw = made.draw
    if place.id == "EQ":
        return ["EQ", repeated(made, place.rules[0])]
    wanted = {number for number, rule in enumerate(place.rules, 1) if rule.demanded}
    free = [number for number, rule in enumerate(place.rules, 1) if rule.used and rule.reference not in ("-", "C001", "C052")]
    wanted |= set(draw(st.lists(st.sampled_from(free), max_size=5)))
    if place.id == "NM1" and made.kind == "270":
        wanted |= {3, 8, 9}
    wanted = fulfilled(wanted, place.conditions, set(free))
    elements = [element(made, rule) if number in wanted else "" for number, rule in enumerate(place.rules, 1)]
    found = [place.id, *elements]
    return fitted(made, found)


def fulfilled(wanted: set[int], conditions, free: set[int]) -> set[int]:  # type: ignore[no-untyped-def]
    """The numbers that fulfil the conditions between elements too."""
    for _ in range(4):
        for kind, members in conditions:
            there = [number in wanted for number in members]
            if not set(members) <= free:
                wanted -= set(members)
            elif (kind == "P" and any(there)) or (kind == "C" and there[0]):
                wanted |= set(members)
            elif (kind == "R" and not any(there)) or (kind == "L" and there[0] and not any(there[1:])):
                wanted |= {members[0], members[-1]}
            elif kind == "E" and sum(there) > 1:
                wanted -= set(members[1:])
    return wanted


def fitted(made: Made, found: list) -> list:  # type: ignore[type-arg]
    """Elements whose form depends on another."""
    draw = made.draw
    for form, value in {"DTP": [(2, 3)], "DMG": [(1, 2)], "INS": [(11, 12)], "MPI": [(6, 7)]}.get(found[0], []):
        if found[value]:
            found[form] = "RD8" if found[0] == "DTP" and draw(st.booleans()) else "D8"
            found[value] = "-".join(sorted([draw(days), draw(days)])) if found[form] == "RD8" else draw(days)
    if found[0] == "NM1" and found[8] == "XX":
        found[9] = draw(st.integers(1_000_000_000, 1_999_999_999).map(str))
    return found


def element(made: Made, rule: Rule):  # type: ignore[no-untyped-def]
    if rule.repeats > 1:
        return repeated(made, rule)
    return composite(made, rule) if rule.parts else made.draw(value(rule))


def repeated(made: Made, rule: Rule) -> list:  # type: ignore[type-arg]
    count = made.draw(st.integers(1, 3))
    return [composite(made, rule) if rule.parts else made.draw(value(rule)) for _ in range(count)]


def composite(made: Made, rule: Rule) -> tuple[str, ...]:
    wanted = {number for number, part in enumerate(rule.parts, 1) if part.demanded} or {1}
    wanted = fulfilled(wanted, rule.conditions, set(range(1, len(rule.parts) + 1)))
    return tuple(made.draw(value(part)) if n in wanted else "" for n, part in enumerate(rule.parts, 1))


def value(rule: Rule) -> st.SearchStrategy[str]:
    if rule.codes is not None:
        return st.sampled_from(sorted(rule.codes))
    match rule.kind:
        case "DT":
            return days
        case "TM":
            return st.times().map(lambda time: time.strftime("%H%M"))
        case "R":
            return amounts.filter(lambda text: len(text.replace(".", "")) <= rule.longest)
        case "N":
            return st.integers(10 ** (rule.shortest - 1) if rule.shortest > 1 else 0, 10 ** min(rule.longest, 6) - 1).map(str)
    letters = st.text(PLAIN, min_size=rule.shortest, max_size=max(rule.shortest, min(rule.longest, 14)))
    return letters.filter(lambda text: text.strip() == text and text)

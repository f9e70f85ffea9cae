"""Whether a transaction set has the form its implementation asks for (tables.py), with places as IK3 and IK4 name them.

What the standard itself forbids, or what cannot be understood, is an error; what only the implementation narrows is a warning,
for payers send such things every day.  Nothing here stops the reading.  No finding repeats what was sent, but for a code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hub.formats.x12.envelope import Transaction
from hub.formats.x12.rules import WATCHED, Rules
from hub.formats.x12.schema import Loop, Place, Rule, Schema, Step, schema, step
from hub.formats.x12.tokens import Finding, Findings, Segment
from hub.formats.x12.values import NUMBER, TIME, WHOLE, is_day

_ECHOED = {("EB", 1): "X12-EB01"}
"""Codes that are repeated in the finding, under a finding of their own."""
Conditions = Sequence[tuple[str, tuple[int, ...]]]


def check(transaction: Transaction) -> Findings:
    """Everything wrong with the form of one transaction set; nothing when the hub has no tables for it."""
    found = schema(transaction.set)
    if found is None or not transaction.readable:
        return Findings()
    return _Check(transaction, found).run()


class _Check:
    """Walks the segments through the loops."""

    def __init__(self, transaction: Transaction, found: Schema) -> None:
        self.transaction = transaction
        self.schema = found
        self.findings = Findings()
        self.place = found.start
        self.count = 0
        """How often the segment of this place came."""
        self.loops: Counter[Loop] = Counter()
        """How often the limited loops of the open ones came."""
        self.adrift = False
        """Below a level nobody knows nothing can be said of the loops."""
        self.broken_wrapper = False
        """Inside LS and LE without a name the order says nothing any more, up to the next benefit."""
        self.wrapped_at = 0
        self.displaced: set[str] = set()
        """Ids that came too early or too late and so are not missing."""
        self.rules = Rules(transaction, self.find)

    def find(
        self,
        code: str,
        text: str,
        position: int,
        id: str,
        *,
        level: str = "warning",
        element: int | None = None,
        component: int | None = None,
        repetition: int | None = None,
        loop: str | None = None,
        ik3: str = "8",
        ik4: str | None = None,
        reference: str | None = None,
    ) -> None:
        where = loop if loop is not None else self.place.loop.name
        self.findings.add(
            Finding(level, code, text, position, id, element, component, repetition, where or None, ik3, ik4, reference)
        )

    def run(self) -> Findings:
        for position, segment in enumerate(self.transaction.segments, 1):
            id = segment.id
            if not id:
                continue
            key = f"HL{segment[3]}" if id == "HL" else id
            if self.adrift and id not in ("HL", "SE"):
                continue
            found = self.place.steps.get(key) or step(self.place, key)
            place = self.go(found, position) if found else self.lost(position, segment, key)
            if place is not None:
                self.look(position, segment, place)
                if id in WATCHED:
                    self.rules.take(position, segment, place)
        self.rules.finish()
        return self.findings

    def go(self, found: Step, position: int) -> Place:
        """One step on, with what it leaves out or has too often."""
        place = found.to
        if place is self.place and not found.opens:
            self.count += 1
            if self.count == place.most + 1 and place.most and position > 1:
                text = f"{place.id} comes more than {place.most} times here"
                self.find("X12-USE", text, position, place.id, ik3="5")
            return place
        self.count = 1
        if found.opens or self.wrapped_at:
            self.enter(found, position)
        for missing in found.missing:
            if missing.id not in self.displaced:
                self.miss(missing, position)
        self.place = place
        if place.id == "LS":
            self.wrapped_at = position
        return place

    def enter(self, found: Step, position: int) -> None:
        id = found.to.id
        if self.place.id == "LS" and id != "NM1":
            self.find("X12-2120", "LS/LE wraps a loop 2120 without its NM1", self.wrapped_at, "LS", level="error", ik3="I6")
        if self.wrapped_at and id in ("EB", "HL", "SE") and not self.broken_wrapper:
            self.find("X12-REQUIRED", "the LE that ends a loop 2120 is missing", position, "LE", ik3="3")
        if id in ("LE", "EB", "HL", "SE"):
            self.wrapped_at = 0
            self.broken_wrapper = False
        for loop in found.opens:
            self.displaced.clear()
            if loop.most > 1:
                self.loops[loop] += 1
                if self.loops[loop] == loop.most + 1:
                    text = f"the loop {loop.name} comes more than {loop.most} times here"
                    self.find("X12-USE", text, position, id, loop=loop.name, ik3="4")
            for child in loop.limited:
                self.loops[child] = 0

    def miss(self, place: Place, position: int) -> None:
        if place.loop.name == "2100C" and place.id == "NM1":
            code, text = "X12-2100C", "the subscriber has no NM1"
        else:
            code, text = "X12-REQUIRED", f"{place.id} is missing in {place.loop.name or 'the transaction set'}"
        self.find(code, text, position, place.id, level="error", loop=place.loop.name, ik3="3")

    def lost(self, position: int, segment: Segment, key: str) -> Place | None:
        """A segment that cannot follow here: where it may have been meant to stand."""
        id = segment.id
        if id == "HL":
            return self.lost_level(position, segment, key)
        if self.place.id in ("ST", "BHT"):
            self.find("X12-NO-HL", f"{id} stands before the first HL", position, id, level="error", ik3="2")
            return None
        if id not in self.schema.places:
            text = f"{id} does not belong into a {self.schema.set}"
            self.find("X12-SEGMENT", text, position, id, ik3="6" if len(id) < 4 and id != "ZZZ" else "1")
            return None
        place = self.earlier(id)
        if self.place.id == "LS":
            self.broken_wrapper = True
            self.find("X12-2120", "LS/LE wraps a loop 2120 without its NM1", self.wrapped_at, "LS", level="error", ik3="I6")
            self.place = next(p for p in self.schema.places["LE"] if p.loop is self.place.loop)
            self.count = 0
            return place
        if place is None:
            self.find("X12-SEGMENT", f"{id} does not belong into this loop", position, id, ik3="2")
        elif not self.broken_wrapper:
            self.find("X12-ORDER", f"{id} stands too late in its loop", position, id, loop=place.loop.name, ik3="7")
        self.displaced.add(id)
        return place

    def earlier(self, id: str) -> Place | None:
        """The place of this segment in the loops that are open."""
        loop: Loop | None = self.place.loop
        while loop is not None:
            for child in loop.children:
                if isinstance(child, Place) and child.id == id:
                    return child
            if loop.level:
                return None
            loop = loop.parent
        return None

    def lost_level(self, position: int, segment: Segment, key: str) -> Place | None:
        known = [place for place in self.schema.places.get("HL", []) if place.key == key]
        if not known:
            expected = ", ".join(place.loop.level for place in self.schema.places.get("HL", []))
            text = f"HL03 is {segment[3][:3]!r}; a {self.schema.set} has {expected}"
            self.find("X12-HL03", text, position, "HL", level="error", element=3, ik4="7", reference="735")
            self.adrift = True
            return None
        self.adrift = False
        if self.place.id == "ST":
            self.find("X12-REQUIRED", "BHT is missing in the transaction set", position, "BHT", level="error", ik3="3")
        text = f"a level {known[0].loop.level} stands where none can, for the level above it is missing"
        self.place = known[0]
        self.count = 1
        self.find("X12-HL", text, position, "HL", level="error", element=3, ik3="2")
        return self.place

    # Elements.

    def look(self, position: int, segment: Segment, place: Place) -> None:
        """Most segments are seen to be right at a glance."""
        elements = segment.elements
        rules = place.rules
        glance = place.last_demanded <= len(elements) <= len(rules)
        if glance:
            for value, rule in zip(elements, rules, strict=False):
                if value:
                    if rule.codes is not None:
                        if value not in rule.codes:
                            glance = False
                            break
                    elif rule.plain:
                        if not rule.shortest <= len(value) <= rule.longest:
                            glance = False
                            break
                    elif rule.kind != "R" or len(value) > rule.longest or not NUMBER.fullmatch(value):
                        glance = False
                        break
                elif rule.demanded:
                    glance = False
                    break
        if not glance:
            self.look_closely(position, segment, place)
        if place.conditions:
            self.look_at_conditions(position, segment, elements, place.conditions)

    def look_closely(self, position: int, segment: Segment, place: Place) -> None:
        elements, rules = segment.elements, place.rules
        for number, rule in enumerate(rules, 1):
            value = elements[number - 1].strip() if number <= len(elements) else ""
            if not value:
                if rule.demanded:
                    self.missing_element(position, place, number, rule)
            elif not rule.used:
                text = f"{place.id}{number:02d} is not used in {place.loop.name or 'this set'}"
                self.find("X12-UNUSED", text, position, place.id, element=number, ik4="I10", reference=rule.reference)
            else:
                self.look_at_element(position, place, number, rule, value)
        if len(elements) > len(rules) and any(element.strip() for element in elements[len(rules) :]):
            text = f"{place.id} has {len(elements)} elements, but at most {len(rules)}"
            self.find("X12-ELEMENTS", text, position, place.id, level="error", element=len(rules) + 1, ik4="3")

    def missing_element(self, position: int, place: Place, number: int, rule: Rule) -> None:
        level = "error" if rule.demanded == "standard" else "warning"
        text = f"{place.id}{number:02d} is missing"
        code = _ECHOED.get((place.id, number), "X12-REQUIRED")
        self.find(code, text, position, place.id, level=level, element=number, ik4="1", reference=rule.reference)

    def look_at_element(self, position: int, place: Place, number: int, rule: Rule, value: str) -> None:
        separator = self.transaction.delimiters.repetition
        repeated = value.split(separator) if separator and rule.repeats > 1 else [value]
        if len(repeated) > rule.repeats:
            text = f"{place.id}{number:02d} is repeated more than {rule.repeats} times"
            self.find("X12-USE", text, position, place.id, element=number, ik4="12", reference=rule.reference)
        for repetition, one in enumerate(repeated[: rule.repeats], 1):
            again = repetition if len(repeated) > 1 else None
            if rule.parts:
                self.look_at_composite(position, place, number, rule, one, again)
            elif one.strip():
                self.look_at_value(position, place, number, rule, one.strip(), repetition=again)

    def look_at_composite(
        self, position: int, place: Place, number: int, rule: Rule, value: str, repetition: int | None
    ) -> None:
        parts = value.split(self.transaction.delimiters.component)
        for component, part in enumerate(rule.parts, 1):
            given = parts[component - 1].strip() if component <= len(parts) else ""
            if given:
                self.look_at_value(position, place, number, part, given, repetition=repetition, component=component)
            elif part.demanded:
                text = f"{place.id}{number:02d}-{component} is missing"
                self.find(
                    "X12-REQUIRED", text, position, place.id, element=number, component=component, repetition=repetition,
                    ik4="1", reference=part.reference,
                )  # fmt: skip
        if len(parts) > len(rule.parts) and any(part.strip() for part in parts[len(rule.parts) :]):
            text = f"{place.id}{number:02d} has {len(parts)} parts, but at most {len(rule.parts)}"
            self.find("X12-ELEMENTS", text, position, place.id, level="error", element=number, repetition=repetition, ik4="13")

    def look_at_value(
        self,
        position: int,
        place: Place,
        number: int,
        rule: Rule,
        value: str,
        *,
        repetition: int | None = None,
        component: int | None = None,
    ) -> None:
        code, text, level, ik4 = _wrong(rule, value)
        if not code:
            return
        name = f"{place.id}{number:02d}{f'-{component}' if component else ''}"
        if (place.id, number) in _ECHOED:
            code, text, level = _ECHOED[place.id, number], f"is {value[:3]!r}, which is no benefit code", "error"
        self.find(
            code, f"{name} {text}", position, place.id, level=level, element=number, component=component,
            repetition=repetition, ik4=ik4, reference=rule.reference,
        )  # fmt: skip

    def look_at_conditions(self, position: int, segment: Segment, elements: list[str], conditions: Conditions) -> None:
        count = len(elements)
        for kind, members in conditions:
            if kind == "P" and len(members) == 2:  # the usual case, at a glance
                first, second = members
                if bool(first <= count and elements[first - 1]) == bool(second <= count and elements[second - 1]):
                    continue
            there = [number <= count and bool(elements[number - 1]) for number in members]
            if not _broken(kind, there):
                continue
            named = ", ".join(f"{segment.id}{number:02d}" for number in members)
            ik4 = "10" if kind == "E" else "2"
            missing = members[there.index(False)] if False in there else members[-1]
            self.find("X12-PAIR", f"{_CONDITION[kind]}: {named}", position, segment.id, element=missing, ik4=ik4)


_CONDITION = {
    "P": "these come together or not at all",
    "R": "at least one of these must be there",
    "E": "only one of these may be there",
    "C": "the first of these needs the others",
    "L": "the first of these needs one of the others",
}


def _broken(kind: str, there: list[bool]) -> bool:
    match kind:
        case "P":
            return any(there) and not all(there)
        case "R":
            return not any(there)
        case "E":
            return sum(there) > 1
        case "C":
            return there[0] and not all(there)
        case _:
            return there[0] and not any(there[1:])


_FINE = ("", "", "", "")


def _wrong(rule: Rule, value: str) -> tuple[str, str, str, str]:
    """What is wrong with a value: code, words, level, IK403."""
    if rule.codes is not None:
        return _FINE if value in rule.codes else ("X12-CODE", "is none of the codes that may stand here", "warning", "7")
    digits = value.lstrip("-").replace(".", "") if rule.kind in ("R", "N") else value
    if len(digits) > rule.longest:
        return "X12-LENGTH", f"is longer than {rule.longest} characters", "warning", "5"
    match rule.kind:
        case "R" if not NUMBER.fullmatch(value):
            return "X12-NUMBER", "is no number", "error", "6"
        case "N" if not WHOLE.fullmatch(value):
            return "X12-NUMBER", "is no whole number", "error", "6"
        case "DT" if not is_day(value):
            return "X12-DATE", "is no day of the form CCYYMMDD", "error", "8"
        case "TM" if not TIME.fullmatch(value):
            return "X12-TIME", "is no time of the form HHMM", "warning", "9"
    if len(digits) < rule.shortest:
        return "X12-LENGTH", f"is shorter than {rule.shortest} characters", "warning", "4"
    return _FINE

"""Interchanges, groups and transaction sets, with every count and control number checked (X12.5, X12.6).

`stream` gives one transaction set after the other and keeps none; `read` keeps everything a file says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from hub.formats.x12.tokens import (
    Delimiters,
    Finding,
    Findings,
    Header,
    Segment,
    Text,
    decode,
    tokenise,
    transport_error,
    whole_number,
)

MAX_SEGMENTS = 200_000
FUNCTIONAL_IDS = {"270": "HS", "271": "HB", "276": "HR", "277": "HN", "999": "FA", "997": "FA"}
"""GS01 by transaction set."""
VERSIONS = {
    "270": ("005010X279A1", "005010X279"),
    "271": ("005010X279A1", "005010X279"),
    "276": ("005010X212",),
    "277": ("005010X212",),
    "999": ("005010X231A1", "005010X231"),
}
"""GS08 the hub reads; the first is the one in force."""
_ENVELOPE = frozenset(["ISA", "GS", "ST", "SE", "GE", "IEA", "TA1"])


@dataclass(slots=True)
class Transaction:
    """One ST..SE."""

    set: str
    control_number: str
    delimiters: Delimiters
    segments: list[Segment] = field(default_factory=list)
    """Everything from ST to SE."""
    findings: Findings = field(default_factory=Findings)
    readable: bool = True
    """False when its version is not one the hub reads."""
    group: Group | None = None
    version: str = ""
    """GS08, or ST03 where that is not said."""


@dataclass(slots=True)
class Group:
    """One GS..GE."""

    header: Segment
    position: int
    """Of its GS in the interchange; 0 when there is none."""
    interchange: Interchange
    transactions: list[Transaction] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    count: int = 0
    """How many transaction sets it has."""

    @property
    def version(self) -> str:
        return self.header[8]


@dataclass(slots=True)
class Interchange:
    """One ISA..IEA."""

    header: Segment
    delimiters: Delimiters
    groups: list[Group] = field(default_factory=list)
    acknowledgements: list[Segment] = field(default_factory=list)
    """TA1 segments."""
    findings: Findings = field(default_factory=Findings)
    """About the interchange itself."""
    count: int = 0
    """How many groups it has."""


@dataclass(slots=True)
class X12File:
    """Everything one file says, and everything wrong with it."""

    interchanges: list[Interchange] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    def transactions(self) -> list[Transaction]:
        return [t for i in self.interchanges for g in i.groups for t in g.transactions]


def read(source: bytes | BinaryIO) -> X12File:
    """Reads a file.  Total: any bytes give an answer, none an exception."""
    reader = _Reader(keep=True)
    for _ in reader.run(Text(source)):
        pass
    return reader.file


def stream(source: bytes | BinaryIO, findings: Findings | None = None) -> Iterator[Transaction]:
    """The transaction sets of a file, one by one; only the one in hand is in memory.

    A finding that comes after a set (a wrong GE01) is only in `findings`, where one is given: it has all of them at the end.
    """
    reader = _Reader(keep=False)
    if findings is not None:
        reader.file.findings = findings
    yield from reader.run(Text(source))


class _Reader:
    """Takes segments one by one and knows which envelope is open."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.file = X12File()
        self.interchange: Interchange | None = None
        self.group: Group | None = None
        self.transaction: Transaction | None = None
        self.finished: list[Transaction] = []
        """Those that ended and were not handed on yet."""
        self.position = 0
        """Of the segment in its interchange, from ISA = 1."""
        self.interchanges = 0
        self.about_isa: list[Finding] = []
        """What was found about the ISA that comes next."""
        self.sets_of_group: set[str] = set()
        """The kinds of transaction set that were compared with the open group."""

    def run(self, text: Text) -> Iterator[Transaction]:
        for item in tokenise(text):
            if isinstance(item, Finding):
                self.notice(item)
                continue
            self.take(item)
            if self.finished:
                yield from self.finished
                self.finished.clear()
        self.close_all()
        yield from self.finished
        if not self.interchanges:
            self.file.findings.add(Finding("error", "X12-NOT-X12", transport_error(decode(text.head))))
        elif text.has_mark:
            self.file.findings.add(Finding("warning", "X12-BOM", "the file begins with a byte order mark"))

    def find(
        self, code: str, text: str, segment: str, element: int | None = None, *, level: str = "error", at: int = 0
    ) -> None:
        finding = Finding(level, code, text, at or self.place, segment, element)
        self.file.findings.add(finding)
        if segment in ("ST", "SE") and self.transaction is not None:
            self.transaction.findings.add(finding)
        elif segment in ("GS", "GE") and self.group is not None:
            self.group.findings.add(finding)
        elif segment in ("ISA", "IEA") and self.interchange is not None:
            self.interchange.findings.add(finding)
        elif self.transaction is not None:
            self.transaction.findings.add(finding)

    @property
    def place(self) -> int:
        return len(self.transaction.segments) if self.transaction is not None else self.position

    def notice(self, finding: Finding) -> None:
        """What the tokeniser saw of the segment that comes next."""
        if finding.code == "X12-OUTSIDE":
            self.file.findings.add(finding)
            return
        found = replace(finding, segment=finding.segment or self.place + 1)
        self.file.findings.add(found)
        if finding.id == "ISA":
            self.about_isa.append(found)
        elif self.transaction is not None:
            self.transaction.findings.add(found)

    def take(self, segment: Segment) -> None:
        self.position += 1
        if segment.id not in _ENVELOPE:
            self.inside(segment)
            return
        match segment.id:
            case "ISA" if isinstance(segment, Header):
                self.open_interchange(segment)
            case "GS":
                self.open_group(segment)
            case "ST":
                self.open_transaction(segment)
            case "SE":
                self.close_transaction(segment)
            case "GE":
                self.close_group(segment)
            case "IEA":
                self.close_interchange(segment)
            case "TA1" if self.interchange is not None and self.transaction is None:
                self.interchange.acknowledgements.append(segment)
            case _:
                self.inside(segment)

    def inside(self, segment: Segment) -> None:
        if self.transaction is None:
            if segment.id:
                self.find("X12-STRAY", f"the segment {segment.id} stands outside of any transaction set", segment.id)
        elif len(self.transaction.segments) < MAX_SEGMENTS:
            self.transaction.segments.append(segment)
        elif self.transaction.readable:
            self.transaction.readable = False
            self.find("X12-TOO-LONG", f"a transaction set has more than {MAX_SEGMENTS} segments", segment.id)

    def open_interchange(self, segment: Header) -> None:
        self.close_all()
        self.position = 1
        self.interchanges += 1
        self.interchange = Interchange(segment, segment.delimiters)
        self.interchange.findings.add(*self.about_isa)
        self.about_isa.clear()
        if self.keep:
            self.file.interchanges.append(self.interchange)

    def open_group(self, segment: Segment) -> None:
        self.end_transaction_without_se()
        if self.group is not None:
            self.find("X12-GE-MISSING", "a new group begins, but the one before has no GE", "GS")
        if self.interchange is None:
            return
        self.begin_group(Group(segment, self.position, self.interchange), self.interchange)
        if not _readable(segment[8]):
            self.find("X12-VERSION", f"version {segment[8]} is not supported; the hub reads 005010", "GS", 8)

    def begin_group(self, group: Group, interchange: Interchange) -> Group:
        self.group = group
        self.sets_of_group = set()
        interchange.count += 1
        if self.keep:
            interchange.groups.append(group)
        return group

    def open_transaction(self, segment: Segment) -> None:
        self.end_transaction_without_se()
        group = self.group
        if group is None:
            self.find("X12-GS-MISSING", "a transaction set begins outside of any group", "ST")
            if self.interchange is None:
                return
            group = self.begin_group(Group(Segment("GS", [""] * 8), 0, self.interchange), self.interchange)
        version = group.version or segment[3]
        delimiters = group.interchange.delimiters
        transaction = Transaction(segment[1], segment[2], delimiters, [segment], group=group, version=version)
        transaction.readable = _readable(version)
        group.count += 1
        if self.keep:
            group.transactions.append(transaction)
        if group.position and transaction.set not in self.sets_of_group:
            self.sets_of_group.add(transaction.set)
            self.check_group_fits(transaction.set, group)
        self.transaction = transaction

    def check_group_fits(self, kind: str, group: Group) -> None:
        """Once for each kind of transaction set in a group."""
        expected, sent = FUNCTIONAL_IDS.get(kind), group.header[1]
        if expected and sent != expected:
            self.find("X12-GS01", f"GS01 is {sent!r}, but a {kind} goes under {expected!r}", "GS", 1, at=group.position)
        version, versions = group.version, VERSIONS.get(kind)
        if versions is None or not _readable(version):
            return
        if version not in versions:
            text = f"GS08 is {version!r}, but a {kind} is {versions[0]}"
            self.find("X12-GS08", text, "GS", 8, at=group.position)
        elif version != versions[0]:
            text = f"GS08 is {version!r}; the version in force is {versions[0]}"
            self.find("X12-GS08", text, "GS", 8, level="warning", at=group.position)

    def close_transaction(self, segment: Segment) -> None:
        if self.transaction is None:
            self.find("X12-SE", "an SE stands where no transaction set is open", "SE")
            return
        self.transaction.segments.append(segment)
        sent = len(self.transaction.segments)
        if whole_number(segment[1]) != sent:
            self.find("X12-SE01", f"SE01 says {segment[1] or 'nothing'} segments, {sent} were sent", "SE", 1)
        if segment[2] != self.transaction.control_number:
            self.find("X12-SE02", f"SE02 {segment[2]!r} differs from ST02 {self.transaction.control_number!r}", "SE", 2)
        self.end_transaction()

    def end_transaction_without_se(self) -> None:
        if self.transaction is not None:
            self.find("X12-SE-MISSING", "the transaction set has no SE", "SE")
            self.end_transaction()

    def end_transaction(self) -> None:
        if self.transaction is not None:
            self.finished.append(self.transaction)
            self.transaction = None

    def close_group(self, segment: Segment) -> None:
        self.end_transaction_without_se()
        if self.group is None:
            self.find("X12-GE", "a GE stands where no group is open", "GE")
            return
        sent = self.group.count
        if whole_number(segment[1]) != sent:
            self.find("X12-GE01", f"GE01 says {segment[1] or 'nothing'} transaction sets, {sent} were sent", "GE", 1)
        if segment[2] != self.group.header[6]:
            self.find("X12-GE02", f"GE02 {segment[2]!r} differs from GS06 {self.group.header[6]!r}", "GE", 2)
        self.group = None

    def close_interchange(self, segment: Segment) -> None:
        self.end_transaction_without_se()
        self.end_group_without_ge()
        if self.interchange is None:
            return
        sent = self.interchange.count
        if whole_number(segment[1]) != sent:
            self.find("X12-IEA01", f"IEA01 says {segment[1] or 'nothing'} groups, {sent} were sent", "IEA", 1)
        if segment[2] != self.interchange.header[13]:
            self.find("X12-IEA02", f"IEA02 {segment[2]!r} differs from ISA13 {self.interchange.header[13]!r}", "IEA", 2)
        self.interchange = None

    def end_group_without_ge(self) -> None:
        if self.group is not None:
            self.find("X12-GE-MISSING", "the group has no GE", "GE")
            self.group = None

    def close_all(self) -> None:
        if self.interchange is not None:
            self.end_transaction_without_se()
            self.end_group_without_ge()
            self.find("X12-IEA-MISSING", "the interchange has no IEA", "IEA")
            self.interchange = None


def _readable(version: str) -> bool:
    """A version that is not said is taken for ours."""
    return not version or version.startswith("005010")

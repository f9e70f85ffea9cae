"""Interchanges, groups and transaction sets, with every count and control number checked (X12.5, X12.6)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hub.formats.x12.tokens import (
    Delimiters,
    Finding,
    Findings,
    Segment,
    decode,
    tokenise,
    transport_error,
    whole_number,
)

MAX_SEGMENTS = 200_000
FUNCTIONAL_IDS = {"270": "HS", "271": "HB", "276": "HR", "277": "HN", "999": "FA", "997": "FA"}
"""GS01 by transaction set."""
VERSIONS = {"270": ("005010X279A1", "005010X279"), "271": ("005010X279A1", "005010X279"), "999": ("005010X231A1", "005010X231")}
"""GS08 the hub reads; the first is the one in force."""


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


@dataclass(slots=True)
class Group:
    """One GS..GE."""

    header: Segment
    position: int
    """Of its GS in the interchange; 0 when there is none."""
    transactions: list[Transaction] = field(default_factory=list)

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


@dataclass(slots=True)
class X12File:
    """Everything one file says, and everything wrong with it."""

    interchanges: list[Interchange] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    def transactions(self) -> list[Transaction]:
        return [t for i in self.interchanges for g in i.groups for t in g.transactions]


def read(data: bytes) -> X12File:
    """Reads a file.  Total: any bytes give an answer, none an exception."""
    text = decode(data)
    reader = _Reader()
    for token in tokenise(text):
        if isinstance(token, Finding):
            reader.file.findings.add(token)
        else:
            reader.notice(token.findings, token.segment)
            reader.take(token.segment, token.delimiters)
    reader.close_all()
    if not reader.file.interchanges:
        reader.file.findings.add(Finding("error", "X12-NOT-X12", transport_error(text)))
    elif data[:3] == b"\xef\xbb\xbf":
        reader.file.findings.add(Finding("warning", "X12-BOM", "the file begins with a byte order mark"))
    return reader.file


class _Reader:
    """Takes segments one by one and knows which envelope is open."""

    def __init__(self) -> None:
        self.file = X12File()
        self.interchange: Interchange | None = None
        self.group: Group | None = None
        self.transaction: Transaction | None = None
        self.position = 0
        """Of the segment in its interchange, from ISA = 1."""
        self.sets_of_group: set[str] = set()
        """The kinds of transaction set that were compared with the open group."""

    def find(
        self, code: str, text: str, segment: str, element: int | None = None, *, level: str = "error", at: int = 0
    ) -> None:
        finding = Finding(level, code, text, at or self.place, segment, element)
        self.file.findings.add(finding)
        if self.transaction is not None:
            self.transaction.findings.add(finding)

    @property
    def place(self) -> int:
        return len(self.transaction.segments) if self.transaction is not None else self.position

    def notice(self, findings: list[Finding], segment: Segment) -> None:
        for finding in findings:
            at = finding.segment or self.place + 1
            self.file.findings.add(replace(finding, segment=at, id=finding.id or segment.id or None))

    def take(self, segment: Segment, delimiters: Delimiters) -> None:
        self.position += 1
        match segment.id:
            case "ISA":
                self.open_interchange(segment, delimiters)
            case "GS":
                self.open_group(segment)
            case "ST":
                self.open_transaction(segment, delimiters)
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

    def open_interchange(self, segment: Segment, delimiters: Delimiters) -> None:
        self.close_all()
        self.position = 1
        self.interchange = Interchange(segment, delimiters)
        self.file.interchanges.append(self.interchange)

    def open_group(self, segment: Segment) -> None:
        self.end_transaction_without_se()
        if self.group is not None:
            self.find("X12-GE-MISSING", "a new group begins, but the one before has no GE", "GS")
        if self.interchange is None:
            return
        self.begin_group(Group(segment, self.position), self.interchange)
        if not _readable(segment[8]):
            self.find("X12-VERSION", f"version {segment[8]} is not supported; the hub reads 005010", "GS", 8)

    def begin_group(self, group: Group, interchange: Interchange) -> Group:
        self.group = group
        self.sets_of_group = set()
        interchange.groups.append(group)
        return group

    def open_transaction(self, segment: Segment, delimiters: Delimiters) -> None:
        self.end_transaction_without_se()
        group = self.group
        if group is None:
            self.find("X12-GS-MISSING", "a transaction set begins outside of any group", "ST")
            if self.interchange is None:
                return
            group = self.begin_group(Group(Segment("GS", [""] * 8), 0), self.interchange)
        transaction = Transaction(segment[1], segment[2], delimiters, [segment])
        transaction.readable = _readable(group.version or segment[3])
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
        self.transaction = None

    def end_transaction_without_se(self) -> None:
        if self.transaction is not None:
            self.find("X12-SE-MISSING", "the transaction set has no SE", "SE")
            self.transaction = None

    def close_group(self, segment: Segment) -> None:
        self.end_transaction_without_se()
        if self.group is None:
            self.find("X12-GE", "a GE stands where no group is open", "GE")
            return
        sent = len(self.group.transactions)
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
        sent = len(self.interchange.groups)
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

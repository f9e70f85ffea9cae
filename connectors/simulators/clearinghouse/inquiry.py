"""What is asked of the clearinghouse, whichever way it came: read from a 270 here, or made by a façade of another form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Inquiry:
    """What the simulator understood of a question."""

    control_number: str = ""
    """ISA13, or what a façade has in its place."""
    reference: str = ""
    """BHT03."""
    payer: str = ""
    payer_name: str = ""
    provider: str = ""
    """The NM1 segment of the provider, whole."""
    trace: list[str] = field(default_factory=list)
    """The elements of TRN."""
    subscriber: list[str] = field(default_factory=list)
    """The elements of NM1*IL."""
    dependent: list[str] = field(default_factory=list)
    """The elements of NM1*03; empty when it is about the subscriber."""
    birth_dates: list[str] = field(default_factory=list)
    """`22:CCYYMMDD` of the subscriber, `23:CCYYMMDD` of the dependent."""
    service_date: str = ""
    service_types: list[str] = field(default_factory=list)
    sender: str = ""
    receiver: str = ""

    @classmethod
    def about(
        cls,
        payer: str,
        member_id: str,
        *,
        family: str = "",
        given: str = "",
        birth_date: str = "",
        dependent: tuple[str, str, str] | None = None,
        control_number: str = "000000001",
        trace: str = "",
        service_date: str = "",
        service_types: Sequence[str] = ("30",),
        npi: str = "1234567893",
    ) -> Inquiry:
        """A question that came in another form than X12; `dependent` is given name, family name and birth date."""
        found = cls(control_number, trace or control_number, payer, "PAYER", f"NM1*1P*2*PROVIDER*****XX*{npi}")
        found.trace = ["TRN", "1", trace or control_number, "9CLINIC001"]
        found.subscriber = ["NM1", "IL", "1", family.upper(), given.upper(), "", "", "", "MI", member_id]
        found.birth_dates = [f"22:{birth_date}"] if birth_date else []
        if dependent is not None:
            found.dependent = ["NM1", "03", "1", dependent[1].upper(), dependent[0].upper()]
            found.birth_dates.append(f"23:{dependent[2]}")
        found.service_date, found.service_types = service_date, list(service_types)
        found.sender, found.receiver = "CLINIC", "CLEARINGHOUSE"
        return found

    @property
    def member_id(self) -> str:
        return self.subscriber[9] if len(self.subscriber) > 9 else ""

    @property
    def trace_number(self) -> str:
        """TRN02."""
        return self.trace[2] if len(self.trace) > 2 else ""

    @property
    def question(self) -> tuple[str, ...]:
        """Equal for two inquiries that ask the same, under whatever numbers."""
        dependent = self.dependent[3:5]
        return (self.payer, *self.subscriber[3:5], self.member_id, *dependent, self.service_date, *sorted(self.service_types))


def read_270(text: str) -> Inquiry:
    """The first, or only, question of a file."""
    return next(read_270s(text), Inquiry())


def read_270s(text: str) -> Iterator[Inquiry]:
    """One for each transaction set; a file without any gives one with what its envelope says."""
    envelope = found = Inquiry()
    level, sets = "", 0
    for raw in text.split("~"):
        s = raw.strip().split("*")
        match s[0]:
            case "ISA" if len(s) > 13:
                envelope = found = Inquiry(sender=s[6], receiver=s[8], control_number=s[13])
            case "ST":
                sets += 1
                found = Inquiry(sender=envelope.sender, receiver=envelope.receiver, control_number=envelope.control_number)
                level = ""
            case "SE" if sets:
                yield found
            case "HL" if len(s) > 3:
                level = s[3]
            case _:
                _note(found, level, raw.strip(), s)
    if not sets:
        yield envelope


def _note(found: Inquiry, level: str, raw: str, s: list[str]) -> None:
    match s[0]:
        case "BHT" if len(s) > 3:
            found.reference = s[3]
        case "NM1" if s[1] == "PR" and len(s) > 9:
            found.payer, found.payer_name = s[9], s[3]
        case "NM1" if s[1] == "1P":
            found.provider = raw
        case "NM1" if s[1] == "IL":
            found.subscriber = s
        case "NM1" if s[1] == "03":
            found.dependent = s
        case "TRN":
            found.trace = s
        case "DMG" if len(s) > 2:
            found.birth_dates.append(f"{level}:{s[2]}")
        case "DTP" if s[1] == "291" and len(s) > 3:
            found.service_date = s[3]
        case "EQ" if len(s) > 1:
            found.service_types.append(s[1])

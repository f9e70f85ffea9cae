"""A clinic's night: many visits of one day, payers who know their patients, and the share of questions that go wrong.

For the nightly benchmark and for tests that kill the hub meanwhile.  Everything follows from the number of visits: a night is
the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from connectors.simulators.clearinghouse import Member
from connectors.simulators.ehr import header, message, segment

CLINIC = """
organisation: {name: Riverside Family Practice, npi: "1234567893"}
sites:
  main: {timezone: UTC}
store: sqlite:///hub.db
log: {level: error}
payers: payers.csv
connections:
  ehr: {kind: mllp_listener, port: "@IN@"}
  clearinghouse:
    vendor: availity
    kind: http
    url: "@HOUSE@/x12/270"
    auth: {token_url: "@HOUSE@/token", client_id: demo, client_secret: {$file: secret}}
    parallel: "@PARALLEL@"
    timeout: @TIMEOUT@
    retry: {first: 50ms, most: 500ms, attempts: "5"}
flows:
  registrations:
    from: ehr
    when: {type: ADT^*, not: {type: [ADT^A23, ADT^A29]}}
    steps: [{map: adt_to_patient}, {save: patient}]
  bookings:
    from: ehr
    when: {type: SIU^*}
    steps: [{map: siu_to_appointment}, {save: appointment}, {plan_checks: {fresh_for: 24h, retry_after: [@AGAIN@]}}]
  eligibility:
    from: {due: eligibility}
    steps: [{map: visit_to_270}, {ask: clearinghouse}, {map: 271_to_coverage}, {save: coverage_check}, {worklist: front_desk}]
  eligibility_failures:
    from: {failed: eligibility}
    steps: [check_failed, {worklist: it}]
"""
PAYERS = "payer,name,clearinghouse_id,service_types,at_once\n60054,Aetna,60054,30,@AT_ONCE@\n"


@dataclass(frozen=True, slots=True)
class Night:
    """The visits, and who is behind them."""

    visits: int
    day: date
    """The day of the visits."""
    unavailable_each: int = 20
    """One question in so many is answered with AAA 42 the first time; 0 for none."""
    silent_each: int = 50
    """One question in so many is taken and never answered the first time; 0 for none."""

    def clinic(self, *, port: int, house: str, parallel: int, timeout: str, again: str) -> str:
        """The clinic file; `again` is the wait before a payer that could not answer is asked again."""
        text = CLINIC
        for name, value in {"IN": port, "HOUSE": house, "PARALLEL": parallel, "TIMEOUT": timeout, "AGAIN": again}.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    @staticmethod
    def payers(at_once: int = 0) -> str:
        """The payer list; `at_once` questions may be out at the payer, 0 for as many as the connection takes."""
        return PAYERS.replace("@AT_ONCE@", str(at_once or ""))

    def members(self) -> list[Member]:
        """Who the payer knows, and what goes wrong with the first question about each."""
        return [
            Member(
                "60054",
                f"W{number:06d}",
                f"FAMILY{number:06d}" if self.expected(number) != "mismatch" else "SOMEBODY",
                "JANE",
                "19800229",
                "F",
                "CHOICE PPO",
                active=self.expected(number) != "inactive",
                co_payment="25",
                deductible_remaining="310.50",
                faults=self._faults(number),
            )
            for number in range(self.visits)
            if self.expected(number) != "not_found"
        ]

    def expected(self, number: int) -> str:
        """The outcome the visit of this number has to reach."""
        return {3: "inactive", 4: "mismatch", 5: "not_found"}.get(number % 25, "covered")

    def _faults(self, number: int) -> tuple[str, ...]:
        if self.is_unavailable(number):
            return ("aaa 42 2100A R",)
        return ("silent after commit",) if self.is_silent(number) else ()

    def is_unavailable(self, number: int) -> bool:
        return self._is_one_of(self.unavailable_each, number)

    def is_silent(self, number: int) -> bool:
        return self._is_one_of(self.silent_each, number) and not self.is_unavailable(number)

    def _is_one_of(self, each: int, number: int) -> bool:
        """Whether it is the one of so many neighbours; another one each time, or faults would fall into step with something."""
        if not each or self.expected(number) == "not_found":
            return False  # of whom nobody knows nothing can be told
        return number % each == random.Random(f"{each} {number // each}").randrange(each)

    def outcomes(self) -> dict[str, str]:
        """By appointment."""
        return {appointment(number): self.expected(number) for number in range(self.visits)}

    def ideal(self, *, delay: float, parallel: int, timeout: float) -> float:
        """Seconds the questions take when no place is ever idle: an answer its delay, a silence its time-out and a repeat."""
        numbers = range(self.visits)
        unavailable, silent = sum(map(self.is_unavailable, numbers)), sum(map(self.is_silent, numbers))
        return ((self.visits + unavailable) * delay + silent * (timeout + delay)) / parallel

    def registrations(self) -> Iterator[bytes]:
        """A chart with its insurance for each patient."""
        for number in range(self.visits):
            in1 = segment("IN1", f1="1", f2="PPO", f3="60054", f4="AETNA", f17="SEL", f22="1", f36=f"W{number:06d}")
            yield message(header("ADT^A04", f"A{number:06d}"), segment("EVN", f1="A04"), _pid(number), in1)

    def bookings(self) -> Iterator[bytes]:
        """A visit for each."""
        for number in range(self.visits):
            starts = f"{self.day:%Y%m%d}{8 + number % 9:02d}{number % 60:02d}"
            sch = segment("SCH", f1=f"P{number:06d}", f2=appointment(number), f8="OFFICE", f11=f"^^^{starts}", f25="Booked")
            yield message(header("SIU^S12", f"S{number:06d}"), sch, _pid(number))


def appointment(number: int) -> str:
    return f"F-{number:06d}"


def _pid(number: int) -> str:
    return segment("PID", f1="1", f3=f"{number:06d}^^^RIVER^MR", f5=f"FAMILY{number:06d}^JANE", f7="19800229", f8="F")

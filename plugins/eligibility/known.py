"""One visit with everything that is known about its coverage, as lists, cards and day sheets show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hub import Appointment, Context, CoverageCheck, Patient
from hub.errors import NotFound, Refused
from hub.records import GONE, Chosen, Outcome, Owes
from plugins.eligibility.follow_up import open_notes
from plugins.eligibility.people import Verification, verification_of
from plugins.eligibility.visits import chart_of, site_of

MOST_A_DAY = 5000
"""Visits of a day that are listed."""
AUTHORIZATION = {"Y": "required", "N": "not required", "U": "unclear"}
"""EB11 in words."""


@dataclass(frozen=True, slots=True)
class KnownVisit:
    """An appointment, its patient, and what is known about the coverage."""

    appointment: Appointment
    patient: Patient | None
    check: CoverageCheck
    starts_at: datetime | None
    """Where the visit takes place."""
    verified: Verification | None = None
    """What somebody found out by phone, while it counts: then it is what the front desk goes by."""
    notes: tuple[str, ...] = ()
    """What is to be looked at although the outcome stands."""

    @property
    def needs_somebody(self) -> bool:
        return self.action is not None or bool(self.notes)

    @property
    def outcome(self) -> Outcome:
        return self.verified.outcome if self.verified is not None else self.check.outcome

    @property
    def action(self) -> str | None:
        return None if self.verified is not None else self.check.action

    @property
    def who(self) -> str | None:
        return None if self.verified is not None else self.check.who

    @property
    def owes(self) -> Owes:
        if self.verified is None:
            return self.check.owes
        return Owes(co_payment=self.verified.co_payment)

    @property
    def authorization(self) -> str | None:
        """In words; None when the payer did not say."""
        said = self.check.chosen.authorization if self.verified is None else None
        return AUTHORIZATION.get(said.value or "U", "unclear") if said is not None else None

    @property
    def number(self) -> str | None:
        """The chart number."""
        return self.patient.identifiers[0].value if self.patient is not None and self.patient.identifiers else None

    @property
    def name(self) -> str | None:
        if self.patient is None:
            return None
        return " ".join(part for part in (self.patient.name.given, self.patient.name.family) if part) or None

    @property
    def member_id(self) -> str | None:
        """As the chart has it."""
        return self.patient.coverages[0].member_id if self.patient is not None and self.patient.coverages else None

    def in_words(self, chosen: Chosen | None) -> str | None:
        """An amount, or why there is none; None where no payer was asked for it."""
        if self.verified is not None or self.check.status not in ("active", "active_review"):
            return None
        if chosen is None:
            return "payer did not say"
        return chosen.value if chosen.value is not None else f"not clear: {chosen.why}"


async def known_visit(appointment: Appointment, context: Context) -> KnownVisit:
    starts = appointment.starts_at.astimezone(site_of(appointment, context).zone) if appointment.starts_at else None
    check = await context.get(CoverageCheck, appointment.id) or CoverageCheck(id=appointment.id)
    patient = await chart_of(appointment, context)
    verified = await verification_of(appointment, check, context) if check.outcome != "withdrawn" else None
    noted = await open_notes(check, context) if verified is None and appointment.status not in GONE else {}
    texts = tuple(note.action or "" for note in noted.values())
    return KnownVisit(appointment, patient, check, starts, verified, texts)


async def visits_of(day: date, context: Context, site: str | None = None) -> list[KnownVisit]:
    """All visits of a day where they take place, in its order, or those of one site; those that will not take place too.

    Raises Refused for a site that is none.
    """
    if site is not None and site not in context.sites:
        raise Refused(f"there is no site {site!r}; there are {', '.join(context.sites)}", code="CLI-004")
    found: dict[str, Appointment] = {}
    for near in (day - timedelta(days=1), day, day + timedelta(days=1)):  # days are filed in the zone the sender used
        for appointment in await context.find(Appointment, "day", near.isoformat(), limit=MOST_A_DAY):
            found[appointment.id] = appointment
    wanted = [one for one in found.values() if site is None or site_of(one, context).name == site]
    visits = [await known_visit(appointment, context) for appointment in wanted]
    timed = [(visit.starts_at, visit) for visit in visits if visit.starts_at is not None and visit.starts_at.date() == day]
    return [visit for _, visit in sorted(timed, key=lambda pair: (pair[0], pair[1].appointment.id))]


async def appointment_named(id: str, context: Context) -> Appointment:
    """Raises NotFound."""
    appointment = await context.get(Appointment, id)
    if appointment is None:
        raise NotFound(f"there is no appointment {id!r}; `hub eligibility list` shows those of a day")
    return appointment

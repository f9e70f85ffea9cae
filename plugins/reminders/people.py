"""Whom a reminder reaches: number, language and zone of a patient, and whether they want reminders."""

from __future__ import annotations

from datetime import tzinfo
from zoneinfo import ZoneInfo

from hub import Appointment, Context, Patient
from hub.records_reminders import OptOut, Reminder
from plugins.reminders.policies import Policies


def e164(number: str | None, country: str) -> str | None:
    """A telephone number as carriers want it; None when it is none."""
    text = (number or "").partition("x")[0].strip()
    digits = "".join(c for c in text if c in "0123456789")
    if text.startswith("+") or (text.startswith("00") and len(digits) > 11):
        digits = digits.removeprefix("00")
        return f"+{digits}" if 8 <= len(digits) <= 15 else None
    code = country[1:]
    if code == "1":
        digits = digits.removeprefix("1") if len(digits) == 11 else digits
        good = len(digits) == 10 and digits[0] not in "01" and digits[3] not in "01"
        return f"+1{digits}" if good else None
    digits = digits.removeprefix("0")
    return f"+{code}{digits}" if 6 <= len(digits) <= 14 - len(code) else None


def zone_of(number: str | None, site: tzinfo, policies: Policies) -> tzinfo:
    """Where a patient is: by how the number begins, the longest that fits; else where the visit is."""
    fitting = [begin for begin in policies.zones if number is not None and number.startswith(begin)]
    return ZoneInfo(policies.zones[max(fitting, key=len)]) if fitting else site


async def number_of(reminder: Reminder, chart: Patient | None, policies: Policies) -> str | None:
    return e164(reminder.number or (chart.phone if chart is not None else None), policies.country)


def site_zone(appointment: Appointment | None, context: Context) -> tzinfo:
    site = context.sites.get(appointment.site or "", context.site) if appointment is not None else context.site
    return site.zone


# The ledger of those who want none.


def ledger_id(number: str, context: Context) -> str:
    return context.digest("opt_out", number)


async def is_out(number: str, context: Context) -> bool:
    """Asked in the run that makes an order: an opt-out that comes at the same moment makes the run go again."""
    known = await context.get(OptOut, ledger_id(number, context))
    return known is not None and known.out


async def note_wish(number: str, out: bool, how: str, context: Context) -> None:
    await context.put(OptOut(id=ledger_id(number, context), out=out, at=context.now, how=how))
    context.note("opted out" if out else "opted in", f"Reminders are {'off' if out else 'on again'} ({how})", plain=True)

"""What is known of a referral.  How far it is, its fax or mail knows, and nothing else does."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from hub import Record
from hub.records import Text
from hub.records_fax import Fax
from hub.records_mail import Mail

Way = Literal["fax", "mail"]
ReferralState = Literal["ordered", "not_sent", "on_its_way", "sent", "arrived", "failed", "unknown"]


class Referral(Record):
    """The documents of a visit, for one specialist."""

    id: str
    appointment: Text
    patient_id: Text
    to: Text
    """The specialist, as the directory names them."""
    way: Way | None = None
    """How it is to be sent; None for the way the clinic prefers."""
    documents: list[Text]
    """Ids, in the order in which they are sent."""
    ordered_at: AwareDatetime
    """As the clock on the wall of the clinic shows it."""
    ordered_by: Text = ""
    fax: Text = ""
    """Id of the fax, when it went by one."""
    mail: Text = ""
    """Id of the mail, when it went by one."""
    why: Text = ""
    """Why it was not sent."""


def state_of(referral: Referral, fax: Fax | None, mail: Mail | None) -> tuple[ReferralState, str]:
    """How far it is, and in which word of its fax or mail."""
    if referral.why:
        return "not_sent", referral.why
    known: dict[str, ReferralState]
    if fax is not None:
        known = {"sent": "arrived", "failed": "failed", "cancelled": "failed", "unknown": "unknown"}
        return known.get(fax.state, "on_its_way"), f"fax {fax.state}"
    if mail is None:
        return "ordered", ""
    if mail.missed or mail.state == "failed":
        return "failed", f"mail {mail.state}" + (f", not {mail.missed} in time" if mail.missed else "")
    known = {"unknown": "unknown", "dispatched": "arrived"}
    if not mail.receipts:
        known["sent"] = "sent"
    elif mail.dispatched_within is None:
        known["processed"] = "arrived"
    return known.get(mail.state, "on_its_way"), f"mail {mail.state}"

"""What both kinds of fax lines share: how numbers are written, and a carrier's words for why a fax failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from hub.message import Message
from hub.records_fax import FaxError, FaxReport

E164 = re.compile(r"\+[1-9]\d{6,14}")
"""A number as the hub has it (ITU-T E.164): a plus, the country, no blanks."""


def our_error(word: str | None, errors: Mapping[str, FaxError]) -> FaxError:
    """Our word for a carrier's; of several patterns that fit the longest counts."""
    if not word:
        return "other"
    if word in errors:
        return errors[word]
    fitting = [known for known in errors if "*" in known and fnmatchcase(word, known)]
    return errors[max(fitting, key=len)] if fitting else "other"


def told(report: FaxReport, message: Message, line: str) -> Message:
    """The answer of a line to an order or a look."""
    reference = report.reference or message.headers.get("reference", "")
    known = report.model_copy(update={"fax": message.headers.get("fax", ""), "reference": reference, "line": line})
    return Message(known, "fax_report", headers={"answer": report.state})

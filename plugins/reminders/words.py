"""What is said and what is answered: templates filled in, days and times as people write them, answers understood.  Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from plugins.reminders.policies import ALWAYS_STOP, Language

Meaning = Literal["confirmed", "change", "stop", "start", "unclear"]
_BLANK = re.compile(r"\{([a-z_]+)\}")
_SPACE = re.compile(r"[ \t]{2,}")
_LOUD = re.compile(r"[^\w\s]|_")


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its blanks filled in; what is not known leaves no gap."""
    return _SPACE.sub(" ", _BLANK.sub(lambda found: _plain(values.get(found[1], "")), template)).strip()


def _plain(text: str) -> str:
    """A name as it may stand in a text: no braces, no line ends."""
    return " ".join(text.replace("{", "").replace("}", "").split())


def day_in_words(moment: datetime, language: Language) -> str:
    """`moment` is a time where the visit is."""
    parts = {
        "weekday": language.weekdays[moment.weekday()],
        "month": language.months[moment.month - 1],
        "number": str(moment.day),
    }
    return _BLANK.sub(lambda found: parts.get(found[1], ""), language.day)


def time_in_words(moment: datetime, language: Language) -> str:
    if language.clock == "24h":
        return f"{moment:%H:%M}"
    return f"{moment.hour % 12 or 12}:{moment:%M} {'AM' if moment.hour < 12 else 'PM'}"


def meaning_of(text: str, languages: Mapping[str, Language]) -> Meaning:
    """What an answer means, in any of the languages.  A wish to hear no more counts however much else is said."""
    words = _normal(text).split()
    if not words:
        return "unclear"
    whole, first = " ".join(words), words[0]
    stops = {*ALWAYS_STOP, *(_normal(word) for language in languages.values() for word in language.stop)}
    if whole in stops or "".join(words) in ALWAYS_STOP or any(word in ("stop", "stopall", "unsubscribe") for word in words):
        return "stop"
    for meaning in ("start", "confirmed", "change"):
        known = {_normal(word) for language in languages.values() for word in getattr(language, meaning)}
        if whole in known or (len(words) <= 3 and first in known):
            return meaning
    return "unclear"


def _normal(text: str) -> str:
    """Without case, accents and punctuation."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(_LOUD.sub(" ", bare).split())


def segments_of(text: str) -> int:
    """How many messages a carrier makes of a text (GSM 03.38: 160 or 153 septets; other characters: 70 or 67)."""
    if all(c in _GSM or c in _GSM_TWICE for c in text):
        length = sum(2 if c in _GSM_TWICE else 1 for c in text)
        return 1 if length <= 160 else -(-length // 153)
    length = len(text.encode("utf-16-be")) // 2
    return 1 if length <= 70 else -(-length // 67)


_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ÄÖÑÜ§¿äöñüà"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)
_GSM_TWICE = frozenset("^{}\\[~]|€")

"""The policy file: who is reminded when, by which ways, in which words, and what patients may answer.

    quiet: {from: "20:00", to: "09:00"}
    reminders:
      office:
        steps:
          - {before: 5d, at: "10:00", template: visit}
          - {before: 2h, template: soon, channels: [text]}
    templates:
      visit:
        text: {en: "{clinic}: your visit is on {day} at {time}. Reply C to confirm, R for another time, STOP for no reminders."}

It is read with the clinic file; `hub check` tells every mistake with its place.  Its cases stand beside it, in
`NAME.test.yaml`.
"""

from __future__ import annotations

import functools
import re
from datetime import time, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hub.errors import ConfigError
from hub.records_reminders import Channel
from hub.units import Duration, TimeOfDay, Zone, parse_time_of_day
from hub.yaml_text import Document, load_file

FREE = ("clinic", "site", "day", "time", "link", "weekday")
"""What every text may say."""
PRIVATE = ("given_name", "family_name", "practitioner", "visit_type")
"""What a text may say when `may_say` names it."""
LONGEST_TEXT = 1600
"""Characters; carriers take no more."""
_BLANK = re.compile(r"\{([^{}]*)\}")
_DAY = 86400.0
ALWAYS_STOP = ("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout")
"""Words that carriers in the US take for an opt-out, in every language (CTIA Messaging Principles 5.1.3; 47 CFR
64.1200(a)(10))."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True, validate_default=True)


class Quiet(_Part):
    """Hours in which nobody is reminded, where the patient is; none when both are the same."""

    begins: TimeOfDay = Field(default=parse_time_of_day("20:00"), validation_alias=AliasChoices("from", "begins"))
    """From."""
    ends: TimeOfDay = Field(default=parse_time_of_day("09:00"), validation_alias=AliasChoices("to", "ends"))
    """To."""

    @property
    def hours(self) -> tuple[time, time]:
        return self.begins, self.ends


class ReminderStep(_Part):
    """One reminder of a visit."""

    before: Duration = Field(gt=0)
    """How long before the visit: 5d, 2h."""
    at: TimeOfDay | None = None
    """Time of day where the patient is; then `before` is in whole days."""
    template: str
    """What it says."""
    channels: list[Channel] = []
    """Ways to try, one after another; those of the file when empty."""
    unless_confirmed: bool = False
    """Leave it out when the patient has confirmed the visit."""

    @model_validator(mode="after")
    def _whole_days(self) -> ReminderStep:
        if self.at is not None and self.before % _DAY:
            raise ValueError("`before` is in whole days where `at` gives the time of day")
        return self

    @property
    def name(self) -> str:
        """`5d`, `2h`, `90m`: by what the reminder is known."""
        for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
            if self.before % size == 0:
                return f"{self.before / size:.0f}{unit}"
        return f"{self.before:g}s"

    @property
    def lead(self) -> timedelta:
        return timedelta(seconds=self.before)


class Policy(_Part):
    """The reminders of some visits."""

    types: list[str] = []
    """Types of appointments; all when empty."""
    not_types: list[str] = []
    """Types that are not reminded by this policy."""
    sites: list[str] = []
    """Sites of the clinic file; all when empty."""
    steps: list[ReminderStep]
    """The reminders, none for visits nobody is reminded of."""

    @field_validator("steps")
    @classmethod
    def _named_once(cls, steps: list[ReminderStep]) -> list[ReminderStep]:
        names = [step.name for step in steps]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two reminders come {twice} before the visit")
        return sorted(steps, key=lambda step: -step.before)

    def fits(self, type: str | None, site: str | None) -> bool:
        kind = (type or "").strip().upper()
        if self.sites and (site or "") not in self.sites:
            return False
        if kind in {name.upper() for name in self.not_types}:
            return False
        return not self.types or kind in {name.upper() for name in self.types}


class Template(_Part):
    """What a reminder says, by way and language."""

    text: dict[str, str] = {}
    """By language: en, es ..."""
    call: dict[str, str] = {}
    """Spoken, by language."""

    def words(self, channel: Channel, language: str, otherwise: str) -> str | None:
        """In the patient's language, else in that of the clinic; None when it has no words for this way."""
        said = self.text if channel == "text" else self.call
        return said.get(language) or said.get(otherwise)


class Language(_Part):
    """How days and times are written, and what patients answer."""

    voice: str
    """IETF tag of the voice of calls: en-US."""
    weekdays: list[str] = Field(min_length=7, max_length=7)
    """From Monday on."""
    months: list[str] = Field(min_length=12, max_length=12)
    """From January on."""
    day: str = "{weekday}, {month} {number}"
    """How a day is written."""
    clock: Literal["12h", "24h"] = "12h"
    """How a time is written."""
    confirmed: list[str] = ["c", "1"]
    """Answers that confirm the visit; digits are pressed on the telephone."""
    change: list[str] = ["r", "2"]
    """Answers that ask for another time."""
    stop: list[str] = ["9"]
    """Answers that want no more reminders, besides those of every language."""
    start: list[str] = ["start", "unstop"]
    """Answers that want reminders again."""


_ENGLISH = Language(
    voice="en-US",
    weekdays=["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    months=["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
            "December"],
    confirmed=["c", "confirm", "confirmed", "yes", "y", "1"],
    change=["r", "reschedule", "change", "2"],
)  # fmt: skip
_SPANISH = Language(
    voice="es-US",
    weekdays=["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    months=["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre",
            "diciembre"],
    day="{weekday} {number} de {month}",
    confirmed=["c", "confirmar", "confirmo", "si", "1"],
    change=["r", "cambiar", "2"],
    stop=["9", "alto", "basta", "parar"],
    start=["start", "unstop", "empezar"],
)  # fmt: skip


class Telehealth(_Part):
    """The link in the reminder of a virtual visit."""

    types: list[str]
    """Types of appointments that are virtual."""
    room: str = Field(pattern=r"^https?://[^\s]+$")
    """Address of the room; `?pid=` with an opaque token follows."""


class Recall(_Part):
    """People on a list who shall be asked to make an appointment."""

    template: str
    """What is said; of a visit it knows nothing, so no day and time."""
    channels: list[Channel] = []
    """Ways to try, one after another."""
    at: TimeOfDay = parse_time_of_day("10:00")
    """Time of day, where the first site is; on the day the list came when that is still ahead, else the day after."""
    most_a_day: int = Field(default=100, ge=1)
    """How many are reminded on one day; the others on those that follow."""


class Policies(_Part):
    """A policy file."""

    language: str = "en"
    """Language of patients whose chart says none."""
    languages: dict[str, Language] = {}
    """Further languages, or other words for en and es, which are built in."""
    country: str = Field(default="+1", pattern=r"^\+[1-9][0-9]{0,2}$")
    """Country code of numbers that come without one."""
    site_names: dict[str, str] = {}
    """What {site} says, by the site's name in the clinic file; that name when it is not here."""
    zones: dict[str, Zone] = {}
    """Time zones of patients by how their numbers begin ("+1808": Pacific/Honolulu); others are where their visit is."""
    quiet: Quiet = Quiet()
    """Hours in which nobody is reminded, where the patient is."""
    channels: list[Channel] = ["text", "call"]
    """Ways to try, one after another, until one reaches the patient."""
    may_say: list[Literal["given_name", "family_name", "practitioner", "visit_type"]] = []
    """What texts may say of a patient; nothing when empty."""
    reminders: dict[str, Policy] = {}
    """Policies by name; for a visit the first that fits counts."""
    recalls: dict[str, Recall] = {}
    """Kinds of recalls by name."""
    templates: dict[str, Template]
    """What is said."""
    telehealth: Telehealth | None = None
    """Rooms of virtual visits."""
    stays: Duration = Field(default=900.0, gt=0, le=6 * 3600)
    """How long an order may wait to leave; then everything is looked at again."""
    looks: list[Duration] = [300.0, 3600.0, 14400.0]
    """When a text or call is looked after, since nothing was heard of it."""
    answers_for: Duration = Field(default=14 * _DAY, gt=0)
    """How long after a reminder an answer is taken to be about it."""

    def language_of(self, name: str) -> tuple[str, Language]:
        """A language by its name (`es`, `es-MX`, `spa`, `Spanish`); that of the file when it is not known."""
        known = {"en": _ENGLISH, "es": _SPANISH, **self.languages}
        short = _NAMES.get(name.strip().lower(), name.strip().lower()[:2])
        return (short, known[short]) if short in known else (self.language, known[self.language])

    @property
    def all_languages(self) -> dict[str, Language]:
        return {"en": _ENGLISH, "es": _SPANISH, **self.languages}

    def policy_for(self, type: str | None, site: str | None) -> tuple[str, Policy] | None:
        return next(((name, policy) for name, policy in self.reminders.items() if policy.fits(type, site)), None)


_NAMES = {"eng": "en", "english": "en", "spa": "es", "spanish": "es", "español": "es", "castilian": "es"}


# Reading.


def read_policies(path: Path) -> tuple[Policies | None, list[str]]:
    """The file and everything that is wrong with it, as `FILE:LINE:COLUMN: words`."""
    document = load_file(path)
    if document.data is None or document.problems.found:
        return None, [f"{p.place}: {p.text}" for p in document.problems.found] or [f"{path}: the file is empty"]
    try:
        policies = Policies.model_validate(document.data)
    except ValidationError as error:
        return None, [_told(document, mistake) for mistake in error.errors(include_input=False, include_url=False)]
    return policies, list(_mistakes(document, policies))


def load_policies(path: Path) -> Policies:
    """Raises ConfigError when something is wrong with it; read once for each state of the file."""
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(f"{path}: the policy file cannot be read: {error.strerror}", code="REM-001") from None
    return _loaded(path, stamp)


@functools.lru_cache(maxsize=8)
def _loaded(path: Path, _: int) -> Policies:
    policies, wrong = read_policies(path)
    if policies is None or wrong:
        raise ConfigError("; ".join(wrong), code="REM-001")
    return policies


def _told(document: Document, mistake: Any) -> str:
    key = tuple(part for part in mistake["loc"] if part not in ("begins", "ends"))
    text = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        text = f"unknown field {key[-1]!r}"
    return _at(document, key, f"{'.'.join(map(str, key))}: {text[0].lower()}{text[1:]}")


def _at(document: Document, key: tuple[Any, ...], text: str) -> str:
    place = document.place(key)
    return f"{place.file}:{place.line}:{place.column}: {text}"


def _mistakes(document: Document, policies: Policies) -> Any:
    """What the parts say together."""
    known = policies.all_languages
    if policies.language not in known:
        yield _at(document, ("language",), f"there is no language {policies.language!r}; there are {', '.join(known)}")
    for name, template in policies.templates.items():
        yield from _wrong_in_template(document, policies, name, template)
    for name, policy in policies.reminders.items():
        for number, step in enumerate(document.data["reminders"][name]["steps"]):
            if (template := step["template"]) not in policies.templates:
                yield _at(document, ("reminders", name, "steps", number, "template"), _no_template(template, policies))
        del policy
    for name, recall in policies.recalls.items():
        if recall.template not in policies.templates:
            yield _at(document, ("recalls", name, "template"), _no_template(recall.template, policies))
            continue
        said = policies.templates[recall.template]
        for text in (*said.text.values(), *said.call.values()):
            if {"day", "time", "weekday", "practitioner", "visit_type"} & set(_BLANK.findall(text)):
                yield _at(document, ("recalls", name, "template"), "the template of a recall knows no visit: no day, no time")


def _no_template(name: str, policies: Policies) -> str:
    return f"there is no template {name!r}; there are {', '.join(policies.templates)}"


def _wrong_in_template(document: Document, policies: Policies, name: str, template: Template) -> Any:
    if not template.text and not template.call:
        yield _at(document, ("templates", name), "the template says nothing; give it `text` or `call`")
    for way, said in (("text", template.text), ("call", template.call)):
        if said and policies.language not in said:
            yield _at(
                document, ("templates", name, way), f"there are no words in {policies.language!r}, the language of the file"
            )
        for language, text in said.items():
            here = ("templates", name, way, language)
            if language not in policies.all_languages:
                yield _at(document, here, f"there is no language {language!r}; add it under `languages`")
            if len(text) > LONGEST_TEXT:
                yield _at(document, here, f"the text has {len(text)} characters; carriers take {LONGEST_TEXT}")
            yield from (_at(document, here, wrong) for wrong in _wrong_blanks(text, policies.may_say))


def _wrong_blanks(text: str, may_say: Any) -> Any:
    for blank in _BLANK.findall(text):
        if blank in PRIVATE and blank not in may_say:
            yield f"{{{blank}}} is of the patient, and `may_say` does not name it"
        elif blank not in (*FREE, *PRIVATE):
            yield f"there is no {{{blank}}}; there are {', '.join((*FREE, *PRIVATE))}"
    if "{" in _BLANK.sub("", text) or "}" in _BLANK.sub("", text):
        yield "a brace stands alone"

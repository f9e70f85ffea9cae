"""Reminders are planned, taken back, sent by the first way that reaches the patient, and answered."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from hub import Appointment, Patient, WorklistItem
from hub.errors import MessageUnusable
from hub.message import Message
from hub.records_reminders import CALL, TEXT, Call, Reply, TextMessage, VisitReply
from plugins.reminders.people import e164
from plugins.reminders.policies import Policies, read_policies
from plugins.reminders.times import LEAD, due_moment, is_quiet, quiet_ends
from plugins.reminders.words import day_in_words, meaning_of, segments_of, time_in_words
from tests.plugins.reminders_world import FOLDER, NUMBERS, ZONES, World, in_days, utc

BEGIN = utc(2027, 3, 1, 15)
CHICAGO = ZONES["chicago"]
VISIT = datetime(2027, 3, 10, 14, 30, tzinfo=CHICAGO)
QUIET = (time(20), time(9))


@pytest.fixture
def world() -> World:
    world = World(BEGIN)
    world.patient("P-1", NUMBERS["chicago"])
    return world


# Planning.


def test_a_visit_has_a_reminder_for_each_step_at_its_local_time(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    times = {key: due.at.astimezone(CHICAGO).isoformat(timespec="minutes") for (_, key), due in world.due.items()}
    assert times == {
        "F-1/5d": "2027-03-05T10:00-06:00",
        "F-1/1d": "2027-03-09T18:00-06:00",
        "F-1/2h": "2027-03-10T12:30-06:00",
    }


def test_what_is_late_at_booking_is_left_out_and_said(world: World) -> None:
    world.book("F-1", "P-1", in_days(BEGIN, 2))
    assert world.reminder("F-1", "5d").why == "its time was over when the visit was booked"
    assert {key for _, key in world.due} == {"F-1/1d", "F-1/2h"}


def test_a_visit_that_moves_is_reminded_of_anew_and_one_that_is_cancelled_not_at_all(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -4.9))
    assert len(world.out) == 1
    world.book("F-1", "P-1", in_days(VISIT, 7), "rescheduled")
    world.until(in_days(VISIT, 5))
    assert [out.starts_at for out in world.out] == [VISIT, in_days(VISIT, 7)]
    world.book("F-1", "P-1", None, "cancelled")
    assert not [key for job, key in world.due if job == "reminder"]
    world.until(in_days(VISIT, 30))
    assert len(world.out) == 2
    assert world.reminder("F-1", "1d").state == "withdrawn"


def test_an_update_of_a_visit_at_the_same_time_changes_nothing_that_has_gone_out(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -4.9))
    world.says(world.out[0], "delivered")
    world.book("F-1", "P-1", VISIT, "changed", location="Room 4")
    assert world.reminder("F-1", "5d").state == "delivered"
    assert {key for job, key in world.due if job == "reminder"} == {"F-1/1d", "F-1/2h"}


def test_a_cancellation_nobody_planned_for_is_seen_when_the_reminder_is_due(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.keep(world.get(Appointment, "F-1").model_copy(update={"status": "cancelled"}))
    world.until(VISIT)
    assert world.out == []
    assert world.reminder("F-1", "5d").why == "visit cancelled"


def test_a_merged_chart_is_reminded_at_the_number_of_the_one_that_survives(world: World) -> None:
    world.patient("P-2", NUMBERS["new york"])
    world.book("F-1", "P-1", VISIT)
    world.keep(world.get(Patient, "P-1").model_copy(update={"merged_into": "P-2"}))
    world.until(in_days(VISIT, -4))
    assert [out.to for out in world.out] == [NUMBERS["new york"]]


# By which way.


def test_a_text_that_fails_is_followed_by_a_call_and_then_by_a_person(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.says(world.out[0], "queued")
    world.says(world.out[0], "failed", "landline")
    world.until(world.now)
    assert [out.channel for out in world.out] == ["text", "call"]
    world.says(world.out[1], "failed", "no_answer")
    world.until(world.now)
    assert world.reminder("F-1", "5d").state == "failed"
    items = [item for item in world.all_of(WorklistItem) if item.open]
    assert [item.cause for item in items] == ["not reached: no way reached anybody"]


def test_nobody_with_a_number_is_a_person_to_call(world: World) -> None:
    world.patient("P-2", "555")
    world.book("F-1", "P-2", VISIT)
    world.until(in_days(VISIT, -5))
    assert world.out == []
    assert "no telephone number" in world.all_of(WorklistItem)[0].text


def test_a_doubtful_order_is_shown_and_never_sent_again_and_the_partners_word_settles_it(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.fails(world.out[0], doubtful=True)
    assert world.get(TextMessage, world.out[0].id).state == "unknown"
    assert world.reminder("F-1", "5d").state == "unknown"
    world.until(in_days(VISIT, -2))
    assert len(world.out) == 1
    assert [item.open for item in world.all_of(WorklistItem)] == [True]
    world.says(world.out[0], "delivered")
    assert world.reminder("F-1", "5d").state == "delivered"
    assert [item.open for item in world.all_of(WorklistItem)] == [False]


def test_an_order_that_was_refused_goes_by_the_next_way(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.fails(world.out[0], doubtful=False)
    world.until(world.now)
    assert [out.channel for out in world.out] == ["text", "call"]


def test_what_could_not_leave_in_time_is_looked_at_again_and_not_sent_in_quiet_hours(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(datetime(2027, 3, 9, 18, 0, tzinfo=CHICAGO))
    last = world.out[-1]
    world.now = datetime(2027, 3, 9, 21, 0, tzinfo=CHICAGO).astimezone(UTC)
    world.says(last, "failed", "late")
    world.until(world.now)
    assert world.out[-1] is last
    world.until(in_days(world.now, 0.6))
    assert world.out[-1].channel == "text"
    assert world.out[-1].at.astimezone(CHICAGO) == datetime(2027, 3, 10, 9, 0, tzinfo=CHICAGO)


def test_a_partner_that_knows_of_an_opt_out_is_believed(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.says(world.out[0], "failed", "opted_out")
    assert world.is_out(NUMBERS["chicago"])
    world.until(VISIT)
    assert len(world.out) == 1
    assert {world.reminder("F-1", step).why for step in ("5d", "1d", "2h")} == {"wants no reminders"}


def test_looks_go_on_until_the_end_is_known(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.says(world.out[0], "queued")
    world.until(world.now + timedelta(minutes=6))
    assert [look.headers["partner_id"] for look in world.looks] == [f"SM{world.out[0].id}"]
    world.says(world.out[0], "sent")
    world.says(world.out[0], "delivered")
    assert not [key for job, key in world.due if job == "reminder_look"]


@pytest.mark.parametrize("channel", ["text", "call"])
def test_every_order_of_what_a_partner_says_ends_in_the_same_state(channel: str) -> None:
    progress, words = (
        (TEXT, ["queued", "sent", "delivered"]) if channel == "text" else (CALL, ["queued", "ringing", "answered"])
    )
    ends = set()
    for order in itertools.permutations([*words, words[-1]]):
        world = World(BEGIN)
        world.patient("P-1", NUMBERS["chicago"])
        world.book("F-1", "P-1", VISIT)
        world.until(in_days(VISIT, -5))
        if channel == "call":
            world.says(world.out[0], "failed", "landline")
            world.until(world.now)
        out = world.out[-1]
        for state in order:
            world.says(out, state)
        kind = TextMessage if channel == "text" else Call
        ends.add((world.get(kind, out.id).state, world.reminder("F-1", "5d").state, len(world.out)))
    assert len(ends) == 1
    assert progress.is_over(next(iter(ends))[0])


# What is answered.


def test_a_confirmation_is_an_item_and_goes_on_to_the_ehr(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.says(world.out[0], "delivered")
    told = world.replies(NUMBERS["chicago"], "C")
    assert told.format == "visit_reply"
    assert (told.record.answer, told.record.appointment.id) == ("confirmed", "F-1")
    assert [item.text for item in world.all_of(WorklistItem)] == ["The patient confirmed the visit. Enter it in the EHR."]
    assert world.get(VisitReply, "F-1").appointment is None, "the reply itself keeps nothing of the chart"


def test_a_digit_that_is_faster_than_the_answer_to_the_order_is_about_its_call(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.fails(world.out[0], doubtful=False)
    world.until(world.now)
    call = world.out[1]
    reply = Reply(channel="call", number=call.to, text="1", partner_id="CA-unheard-of")
    told = world.run(world.reply_step, reply, "reply", {"resource": call.id})
    assert told.record.answer == "confirmed"
    assert world.get(Call, call.id).answered


def test_stop_reaches_everything_planned_and_start_what_comes_after(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -5))
    world.replies(NUMBERS["chicago"], "Stop texting me please")
    assert world.is_out(NUMBERS["chicago"])
    world.until(VISIT)
    assert len(world.out) == 1
    world.replies(NUMBERS["chicago"], "START")
    world.book("F-2", "P-1", in_days(VISIT, 20))
    world.until(in_days(VISIT, 16))
    assert len(world.out) == 2


def test_an_answer_that_could_be_about_several_visits_is_for_a_person(world: World) -> None:
    world.patient("P-2", NUMBERS["chicago"])
    world.book("F-1", "P-1", VISIT)
    world.book("F-2", "P-2", VISIT + timedelta(hours=1))
    world.until(in_days(VISIT, -4.9))
    assert len(world.out) == 2
    assert world.replies(NUMBERS["chicago"], "C") is None
    assert [item.cause for item in world.all_of(WorklistItem)] == ["reply: several"]


def test_an_answer_after_the_visit_moved_is_for_a_person(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(in_days(VISIT, -4.9))
    world.keep(world.get(Appointment, "F-1").model_copy(update={"starts_at": in_days(VISIT, 1)}))
    assert world.replies(NUMBERS["chicago"], "yes") is None
    assert [item.cause for item in world.all_of(WorklistItem)] == ["reply: moved"]


def test_a_stranger_is_shown_and_a_reply_from_nowhere_refused(world: World) -> None:
    world.replies("+13125550199", "hello?")
    assert world.all_of(WorklistItem)[0].cause.startswith("reply: nobody")
    with pytest.raises(MessageUnusable, match="no telephone number"):
        world.replies("anonymous", "hello?")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("C", "confirmed"), (" yes! ", "confirmed"), ("c thanks", "confirmed"), ("Sí", "confirmed"), ("1", "confirmed"),
        ("R", "change"), ("Cambiar", "change"), ("2", "change"), ("STOP", "stop"), ("Unsubscribe", "stop"), ("Cancel", "stop"),
        ("please stop", "stop"), ("ALTO", "stop"), ("9", "stop"), ("opt out", "stop"), ("start", "start"), ("", "unclear"),
        ("can I come at noon and bring my dog", "unclear"), ("👍", "unclear"), ("yes but only if my mother comes", "unclear"),
    ],
)  # fmt: skip
def test_what_an_answer_means(text: str, meaning: str) -> None:
    assert meaning_of(text, Policies(templates={}).all_languages) == meaning


# Rooms of virtual visits, and confirmed visits.

VIDEO = """
reminders:
  video:
    types: [video]
    steps: [{before: 1d, at: "10:00", template: room}, {before: 1h, template: room, unless_confirmed: "yes"}]
templates: {room: {text: {en: "Your room: {link}. {given_name}"}}}
may_say: [given_name]
telehealth: {types: [VIDEO], room: "https://rooms.example/river?lang=en"}
"""


@pytest.fixture
def video() -> World:
    (FOLDER / "video.yaml").write_text(VIDEO, encoding="utf-8")
    world = World(BEGIN, "video.yaml")
    world.patient("P-1", NUMBERS["chicago"])
    return world


def test_a_virtual_visit_has_a_room_with_an_opaque_token_that_stays_the_same(video: World) -> None:
    video.book("F-1", "P-1", VISIT, type="Video")
    video.book("F-2", "P-1", in_days(VISIT, 1), type="VIDEO")
    video.book("F-3", "P-1", VISIT, type="OFFICE")
    video.until(in_days(VISIT, 2))
    links = [out.text.partition("room: ")[2].partition(". ")[0] for out in video.out]
    assert len(links) == 4
    by_visit = {out.headers["appointment"]: link for out, link in zip(video.out, links, strict=True)}
    assert set(by_visit) == {"F-1", "F-2"}, "no policy fits the other visit"
    assert len(set(links)) == 2, "each visit has one room"
    for visit, link in by_visit.items():
        token = link.removeprefix("https://rooms.example/river?lang=en&pid=")
        assert len(token) >= 20
        assert visit not in token
    assert video.out[0].text.endswith("Quetzal"), "the policy allows the given name"


def test_a_confirmed_visit_is_left_alone_where_the_policy_says_so(video: World) -> None:
    video.book("F-1", "P-1", VISIT, type="VIDEO")
    video.until(in_days(VISIT, -0.9))
    video.replies(NUMBERS["chicago"], "yes")
    video.until(VISIT)
    assert len(video.out) == 1
    assert video.reminder("F-1", "1h").why == "the visit is confirmed"


# Times.

ANY_ZONE = st.sampled_from(
    ["America/Chicago", "America/New_York", "Pacific/Honolulu", "America/Los_Angeles", "America/Phoenix", "Australia/Lord_Howe",
     "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca"]
).map(ZoneInfo)  # fmt: skip
MINUTES = st.integers(0, 95).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))


@given(
    zone=ANY_ZONE, minute=st.integers(0, 527_040), before=st.integers(1, 40), days=st.booleans(), at=MINUTES,
    quiet=st.tuples(MINUTES, MINUTES),
)  # fmt: skip
@settings(max_examples=300, deadline=None, database=None)
def test_no_reminder_is_planned_into_quiet_hours_in_any_zone_and_over_any_change_of_clocks(
    zone: ZoneInfo, minute: int, before: int, days: bool, at: time, quiet: tuple[time, time]
) -> None:
    starts = utc(2027, 1, 1) + timedelta(minutes=minute)
    lead = timedelta(days=before % 8 or 1) if days else timedelta(hours=before)
    moment = due_moment(starts, lead, at if days else None, zone, quiet)
    assert not is_quiet(moment, zone, quiet)
    if not is_quiet(starts - lead, zone, quiet) and not days:
        assert moment == starts - lead
    ends = quiet_ends(moment, zone, quiet)
    assert ends == moment
    if not days:
        assert moment <= max(starts - lead, starts - LEAD) + timedelta(0)


def test_a_reminder_for_an_early_visit_comes_the_evening_before() -> None:
    starts = datetime(2027, 3, 10, 8, 0, tzinfo=CHICAGO)
    moment = due_moment(starts, timedelta(hours=2), None, CHICAGO, QUIET)
    assert moment.astimezone(CHICAGO) == datetime(2027, 3, 9, 19, 30, tzinfo=CHICAGO)


# Numbers, words, files.


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("(312) 555-0142", "+13125550142"), ("1-312-555-0142", "+13125550142"), ("+44 20 7946 0018", "+442079460018"),
        ("3125550142 x12", "+13125550142"), ("011", None), ("112-555-0142", None), ("", None), (None, None), ("n/a", None),
    ],
)  # fmt: skip
def test_numbers_as_charts_have_them(written: str | None, number: str | None) -> None:
    assert e164(written, "+1") == number


def test_days_and_times_are_in_the_patients_language() -> None:
    policies = Policies(templates={})
    moment = datetime(2027, 3, 10, 0, 5, tzinfo=CHICAGO)
    english, spanish = policies.language_of("ENG")[1], policies.language_of("es-MX")[1]
    assert (day_in_words(moment, english), time_in_words(moment, english)) == ("Wednesday, March 10", "12:05 AM")
    assert day_in_words(moment, spanish) == "miércoles 10 de marzo"
    assert policies.language_of("Hmong")[0] == "en", "a language without words is that of the file"


def test_a_text_says_how_many_messages_it_becomes() -> None:
    assert [segments_of("a" * n) for n in (160, 161, 306, 307)] == [1, 2, 2, 3]
    assert [segments_of("ş" * n) for n in (70, 71)] == [1, 2]


GOOD = 'templates: {visit: {text: {en: "{clinic} {day}"}}}\nreminders: {a: {steps: [{before: 1d, template: visit}]}}\n'


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('templates: {visit: {text: {en: "{given_name}"}}}', "1:32: {given_name} is of the patient, and `may_say` does not"),
        ('templates: {visit: {text: {en: "{mrn}"}}}', "there is no {mrn}"),
        ('templates: {visit: {text: {en: "{day"}}}', "a brace stands alone"),
        ('templates: {visit: {text: {es: "hola"}}}', "there are no words in 'en'"),
        ('templates: {visit: {text: {en: "a", xx: "b"}}}', "there is no language 'xx'"),
        (GOOD.replace("visit}", "vist}"), "2:48: there is no template 'vist'; there are visit"),
        (GOOD.replace("1d", "1d, at: soon"), "expected a time of day"),
        (GOOD.replace("before: 1d", 'before: 2h, at: "10:00"'), "`before` is in whole days"),
        (GOOD.replace("1d, ", "1d, chanels: [text], "), "unknown field 'chanels'"),
        (GOOD + 'recalls: {flu: {template: visit}}\n', "the template of a recall knows no visit"),
        ("", "the file is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_policy_file_is_told_with_its_place(wrong: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "reminders.yaml"
    file.write_text(wrong, encoding="utf-8")
    found = "\n".join(read_policies(file)[1])
    assert told in found
    assert str(file) in found


def test_words_of_a_patient_are_only_said_where_the_policy_allows_it(world: World) -> None:
    world.book("F-1", "P-1", VISIT)
    world.until(VISIT)
    assert world.out
    assert not [out for out in world.out if "Quetzal" in out.text or "Canarius" in out.text]
    assert world.out[0].text.startswith("Test Clinic: your visit is on Wednesday, March 10 at 2:30 PM. Reply C to confirm,")


def test_steps_refuse_what_they_cannot_work_on(world: World) -> None:
    for step in (world.plan_step, world.remind_step, world.report_step, world.reply_step, world.failed_step):
        with pytest.raises(MessageUnusable):
            world.wait(step.run(Message(b"{}", "x"), world.context()))

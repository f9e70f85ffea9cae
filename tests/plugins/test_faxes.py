"""Faxes through a hub: tried again by why they failed, none sent twice whatever is lost, and what came in goes on once."""

from __future__ import annotations

import base64
import io
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings, strategies as st

from connectors.fax.connector import FaxLine
from connectors.simulators.fax_carrier import Carrier
from connectors.simulators.hooks import Hook
from hub import calls
from hub.clinic import load_clinic
from hub.errors import ConfigError
from hub.message import Message
from hub.records_fax import Fax, FaxPolicy, FaxReport, FaxTry
from plugins.faxes.ordering import before_of, in_e164, next_page
from plugins.faxes.progress import reported
from tests.plugins.clinic import quick_hub
from tests.support import ask, clinic_folder, port_of, settled, until

CLINIC = """
connections:
  line:
    vendor: srfax
    kind: fax
    url: http://127.0.0.1:@PORT@
    secrets: {access_id: "12345", access_pwd: {$env: FAX_SECRET}}
    values: {caller_id: "3125550199", email: fax@clinic.example}
    timeout: 300ms
    every: 50ms
    retry: {first: 20ms, most: 50ms, attempts: "3"}
  hooks:
    kind: webhook_listener
    port: "0"
    path: /hooks/fax
    verify: {how: unsigned, reason: the carrier signs nothing}
    event: {field: SentStatus}
    resource: {field: FaxDetailsID}
  sink: {kind: folder, path: sink, name: "{id}.pdf"}
flows:
  faxes_out:
    from: {due: fax}
    steps: [fax_order, {ask: line}, save_fax]
  faxes_not_out:
    from: {failed: faxes_out}
    steps: [fax_failed]
  fax_looks:
    from: {due: fax_look}
    steps: [{ask: line}, save_fax]
  fax_hooks:
    from: hooks
    steps: [fax_event, {ask: line}, save_fax, {send: sink}]
  faxes_in:
    from: line
    steps: [save_fax, {send: sink}]
"""
DOCUMO = """
connections:
  line:
    vendor: documo
    kind: fax
    url: http://127.0.0.1:@PORT@/documo
    auth: {api_key: {$env: FAX_KEY}}
    timeout: 300ms
    retry: {first: 20ms, most: 50ms, attempts: "3"}
  hooks:
    vendor: documo
    kind: webhook_listener
    port: "0"
    path: /hooks/fax
    verify: {user: hub, secrets: [{$env: HOOK_SECRET}]}
""" + CLINIC[CLINIC.index("  sink:") :]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FAST = {"busy": ["30ms", "30ms", "30ms"], "no_answer": ["30ms"], "partial": ["30ms"], "other": ["10s"], "look": ["60ms"] * 40}
SLOW = {**FAST, "look": ["1h"]}
"""The carrier is never asked by itself: only webhooks tell."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(calls, "LOOKS", (0.01, 0.02))
    monkeypatch.setenv("FAX_SECRET", "srfax-password")
    monkeypatch.setenv("FAX_KEY", "Basic documo-key")
    monkeypatch.setenv("HOOK_SECRET", "hook-secret")


def pdf(pages=1):
    from reportlab.pdfgen.canvas import Canvas

    written = io.BytesIO()
    canvas = Canvas(written)
    for number in range(pages):
        canvas.drawString(72, 72, f"page {number + 1}")
        canvas.showPage()
    canvas.save()
    return written.getvalue()


@asynccontextmanager
async def faxing(folder, *, hooks=True, text=CLINIC):
    async with Carrier() as carrier:
        (folder / "sink").mkdir(parents=True)
        file = clinic_folder(folder, text.replace("@PORT@", str(carrier.port)))
        async with quick_hub(file) as hub:
            if hooks:
                carrier.hooks.url = f"http://127.0.0.1:{port_of(hub, 'hooks')}/hooks/fax"
            yield hub, carrier


async def send(hub, to, *, pages=1, policy=FAST, **more):
    content = base64.b64encode(pdf(pages)).decode()
    return (await ask(hub, "faxes.send", content=content, to=to, policy=policy, **more))["fax"]


async def shown(hub, id):
    return await ask(hub, "faxes.show", fax=id)


def is_in(hub, id, *states):
    async def look():
        return (await shown(hub, id))["state"] in states

    return look


async def to_do(hub):
    return await ask(hub, "worklist.list")


@pytest.mark.parametrize(
    ("digit", "state", "tries", "error"),
    [
        ("0", "sent", 1, None),
        ("1", "failed", 4, "busy"),
        ("2", "sent", 3, None),
        ("3", "failed", 2, "no_answer"),
        ("6", "failed", 1, "bad_number"),
        ("7", "failed", 1, "refused"),
        ("9", "sent", 2, None),
    ],
)
async def test_a_fax_is_tried_again_by_why_it_failed(tmp_path, digit, state, tries, error):
    async with faxing(tmp_path) as (hub, carrier):
        id = await send(hub, f"(312) 555-010{digit}", appointment="F-77")
        await until(is_in(hub, id, "sent", "failed"))
        await settled(hub)
        found = await shown(hub, id)
        assert (found["state"], found["tries"], found["error"]) == (state, tries, error)
        assert len(carrier.faxes.out) == tries
        assert len({one["reference"] for one in found["history"]}) == tries, "each try has an id of its own"
        assert carrier.faxes.sent_twice() == []
        items = await to_do(hub)
        assert [(item["cause"], item["appointment"], item["topic"]) for item in items] == (
            [(error, "F-77", f"fax {id}")] if error else []
        )


async def test_after_a_line_broke_off_only_the_rest_is_sent(tmp_path):
    async with faxing(tmp_path) as (hub, carrier):
        id = await send(hub, "+13125550104", pages=5)
        await until(is_in(hub, id, "sent"))
        assert [fax.pages for fax in carrier.faxes.out] == [5, 3]
        assert carrier.faxes.pages_to("13125550104") == 5
        assert [one["first_page"] for one in (await shown(hub, id))["history"]] == [1, 3]


async def test_a_mistake_in_a_program_after_it_was_sent_is_a_doubt(tmp_path, monkeypatch):
    bring = FaxLine.send

    async def send_and_fail(self, message):
        await bring(self, message)
        raise KeyError

    monkeypatch.setattr(FaxLine, "send", send_and_fail)
    async with faxing(tmp_path, hooks=False) as (hub, carrier):
        id = await send(hub, "+13125550100", policy=SLOW)
        await until(is_in(hub, id, "unknown", "failed"))
        assert (await shown(hub, id))["state"] == "unknown"
        assert len(carrier.faxes.out) == 1


async def test_other_plugins_hear_what_becomes_of_a_fax(tmp_path, monkeypatch):
    from hub.step import Reaction

    async with faxing(tmp_path) as (hub, _):
        heard = []

        async def note(fax, context):
            heard.append(fax.state)

        monkeypatch.setitem(hub.core.clinic.catalogue.reactions, "test", Reaction("test", "fax", note))
        id = await send(hub, "+13125550109")
        await until(is_in(hub, id, "sent"))
        assert heard[0] == "ordered"
        assert "waiting" in heard
        assert heard[-1] == "sent"


async def test_a_failure_that_was_none_is_found_before_the_next_try(tmp_path):
    """No webhook tells of it, and nobody looks any more: the try before is looked at before anything is sent."""
    async with faxing(tmp_path, hooks=False) as (hub, carrier):
        id = await send(hub, "+13125550105", policy={**FAST, "other": ["500ms"]})
        await until(is_in(hub, id, "sent"))
        await settled(hub)
        assert len(carrier.faxes.out) == 1
        assert await to_do(hub) == []


async def test_a_late_success_counts_and_ends_what_was_planned(tmp_path):
    async with faxing(tmp_path) as (hub, carrier):
        id = await send(hub, "+13125550105")
        await until(is_in(hub, id, "sent"))
        await settled(hub)
        assert len(carrier.faxes.out) == 1
        assert (await shown(hub, id))["tries"] == 1


@pytest.mark.parametrize("words", [["never"], ["twice", "twice"], ["late 0.2"], ["swapped"]])
async def test_webhooks_that_are_lost_doubled_or_late_change_nothing(tmp_path, words):
    async with faxing(tmp_path) as (hub, carrier):
        carrier.hooks.script(*words * 4)
        id = await send(hub, "+13125550102")
        await until(is_in(hub, id, "sent"))
        await carrier.settled()
        await settled(hub)
        assert (await shown(hub, id))["tries"] == 3
        assert carrier.faxes.sent_twice() == []


async def test_webhooks_alone_tell_how_it_ended(tmp_path):
    async with faxing(tmp_path) as (hub, _):
        id = await send(hub, "+13125550102", policy=SLOW)
        await until(is_in(hub, id, "sent"))
        assert (await shown(hub, id))["tries"] == 3


@pytest.mark.parametrize("word", ["silent after commit", "502 after commit", "half", "empty"])
async def test_a_send_without_an_answer_is_found_and_not_repeated(tmp_path, word):
    async with faxing(tmp_path, hooks=False) as (hub, carrier):
        carrier.faults.script(word, to="send")
        carrier.faults.script("503", "503", to="find")  # so that it is `unknown` for a while
        id = await send(hub, "+13125550100")
        await until(is_in(hub, id, "sent"))
        await settled(hub)
        assert len(carrier.faxes.out) == 1
        assert await to_do(hub) == [], "what was open is closed"


async def test_what_nobody_knows_is_shown_until_a_person_decides(tmp_path):
    async with faxing(tmp_path, hooks=False) as (hub, carrier):
        carrier.faults.script("drop", to="send")
        id = await send(hub, "+13125550100", policy={**FAST, "look": ["50ms", "50ms"]})
        await until(is_in(hub, id, "unknown"))

        async def causes():
            return [item["cause"] for item in await to_do(hub)]

        async def given_up():
            return await causes() == ["no report"]

        await until(given_up)
        assert carrier.faxes.out == []
        await ask(hub, "faxes.again", fax=id)
        await until(is_in(hub, id, "sent"))
        assert len(carrier.faxes.out) == 1
        await settled(hub)
        assert await causes() == []


async def test_another_number_is_tried_when_a_person_says_so(tmp_path):
    async with faxing(tmp_path) as (hub, carrier):
        id = await send(hub, "+13125550106")
        await until(is_in(hub, id, "failed"))
        await ask(hub, "faxes.again", fax=id, to="312-555-0200")
        await until(is_in(hub, id, "sent"))
        assert [fax.to for fax in carrier.faxes.out] == ["13125550106", "13125550200"]
        assert [(line["fax"], line["state"], line["to"]) for line in await ask(hub, "faxes.list")] == [
            (id, "sent", "+13125550200")
        ]


async def test_another_number_gets_the_whole_document_after_a_line_broke_off(tmp_path):
    """And what the first number tells then is nothing to the fax."""
    async with faxing(tmp_path) as (hub, carrier):
        id = await send(hub, "+13125550104", pages=5, policy={**FAST, "partial": []})
        await until(is_in(hub, id, "failed"))
        await ask(hub, "faxes.again", fax=id, to="312-555-0200")
        await until(is_in(hub, id, "sent"))
        assert [(fax.to, fax.pages) for fax in carrier.faxes.out] == [("13125550104", 5), ("13125550200", 5)]
        history = (await shown(hub, id))["history"]
        assert [(one["to"], one["first_page"]) for one in history] == [("+13125550104", 1), ("+13125550200", 1)]


def test_only_tries_to_the_number_it_goes_to_now_count():
    from datetime import UTC, datetime

    now = datetime(2026, 11, 25, tzinfo=UTC)
    old = FaxTry(reference="a", to="+13125550104", state="failed", error="partial", pages=2, partner_id="7", ordered_at=now)
    fax = Fax(id="f", to="+13125550200", pages=5, tries=[old], policy=FaxPolicy(partial=[60.0]))
    assert (next_page(fax), before_of(fax)) == (1, {})
    late = reported(fax, FaxReport(reference="a", state="sent"), now)
    assert (late.tries[0].state, late.state) == ("sent", "ordered"), "it waits for its first try to the new number"
    new = old.model_copy(update={"reference": "b", "to": fax.to})
    again = reported(late.model_copy(update={"tries": [*late.tries, new]}), FaxReport(reference="b", state="failed"), now)
    assert (again.state, next_page(again)) == ("waiting", 3), "waits are counted from the start"
    assert before_of(again) == {"before": "b", "before_partner_id": "7"}


async def test_what_came_in_goes_on_once_however_it_is_told(tmp_path):
    async with faxing(tmp_path) as (hub, carrier):
        for number in range(3):
            carrier.faxes.receive(f"+1773555000{number}", pdf(number + 1))
        await until(lambda: len(list((tmp_path / "sink").iterdir())) == 3)
        await until(lambda: all(fax.taken for fax in carrier.faxes.incoming))
        carrier.faxes.incoming[0].taken = False  # listed once more
        await until(lambda: carrier.faxes.incoming[0].taken)
        await settled(hub)
        assert sorted(file.read_bytes() for file in (tmp_path / "sink").iterdir()) == sorted(pdf_of(carrier))
        found = await ask(hub, "faxes.list", state="received")
        assert sorted((line["sender"], line["pages"]) for line in found) == [(f"1773555000{n}", n + 1) for n in range(3)]


async def test_what_a_webhook_tells_and_a_look_finds_goes_on_once(tmp_path):
    async with faxing(tmp_path) as (hub, carrier):
        carrier.faults.script("slow 0.2", to="inbox")  # so that the webhooks are first
        await until(lambda: not carrier.faults._next["inbox"])
        for number in range(4):
            fax = carrier.faxes.receive(f"+1773555000{number}", pdf(number + 1))
            carrier.hooks.tell(Hook(f"FaxDetailsID={fax.id}&SentStatus=Received".encode(), FORM))
        await carrier.hooks.told()
        await until(lambda: all(fax.taken for fax in carrier.faxes.incoming))
        await settled(hub)
        assert sorted(file.read_bytes() for file in (tmp_path / "sink").iterdir()) == sorted(pdf_of(carrier))
        assert len(await ask(hub, "faxes.list", state="received")) == 4
        assert await ask(hub, "messages.list", state="quarantined") == []


SECOND = """  other_line:
    vendor: srfax
    kind: fax
    url: http://127.0.0.1:@OTHER@
    secrets: {access_id: "12345", access_pwd: {$env: FAX_SECRET}}
    values: {caller_id: "3125550199", email: fax@clinic.example}
    every: 50ms
  hooks:
"""
SECOND_FLOW = """  other_faxes_in:
    from: other_line
    steps: [save_fax, {send: sink}]
"""


@asynccontextmanager
async def faxing_with_two_lines(folder):
    """The second carrier counts its faxes as the first does, and tells nothing by webhook."""
    async with Carrier() as other:
        text = CLINIC.replace("  hooks:\n", SECOND, 1).replace("fax_event", "{fax_event: {line: line}}") + SECOND_FLOW
        async with faxing(folder, text=text.replace("@OTHER@", str(other.port))) as (hub, carrier):
            yield hub, carrier, other


async def test_two_lines_may_use_the_same_id_for_what_came_in(tmp_path):
    async with faxing_with_two_lines(tmp_path) as (hub, carrier, other):
        first = other.faxes.receive("+17735550001", pdf(1))
        await until(lambda: first.taken)
        await settled(hub)
        second = carrier.faxes.receive("+17735550002", pdf(2))
        assert second.id == first.id
        carrier.hooks.tell(Hook(f"FaxDetailsID={second.id}&SentStatus=Received".encode(), FORM))
        await until(lambda: second.taken)
        await carrier.hooks.told()
        await settled(hub)
        assert {file.read_bytes() for file in (tmp_path / "sink").iterdir()} == {first.document, second.document}
        found = await ask(hub, "faxes.list", state="received")
        assert sorted(line["sender"] for line in found) == ["17735550001", "17735550002"]


async def test_a_webhook_is_about_a_fax_of_its_own_line(tmp_path):
    """The other line has brought one with the same id already: it is not taken for that."""
    from plugins.faxes.arriving import FaxEvent

    line, other = FaxEvent.Config(line="line"), FaxEvent.Config(line="other_line")
    hook = Message(b"", "webhook", headers={"event": "Received", "resource": "7"})
    async with faxing(tmp_path, hooks=False) as (hub, _):
        context = hub.core.context("test")
        await context.put(Fax(id="f1", direction="in", state="received", line="other_line", partner_id="7"))
        assert await FaxEvent("e", other).run(hook, context) is None
        asked = await FaxEvent("e", line).run(hook, context)
        assert (asked.format, asked.headers["partner_id"]) == ("fetch", "7")


def test_with_several_lines_it_has_to_be_said_whose_webhooks_they_are(tmp_path, monkeypatch):
    text = CLINIC.replace("@PORT@", "1").replace("  hooks:\n", SECOND.replace("@OTHER@", "2"), 1)
    with pytest.raises(ConfigError, match="several fax lines"):
        load_clinic(clinic_folder(tmp_path, text + SECOND_FLOW))
    with pytest.raises(ConfigError, match="no connection 'lime'"):
        load_clinic(clinic_folder(tmp_path, text.replace("fax_event", "{fax_event: {line: lime}}") + SECOND_FLOW))
    assert load_clinic(clinic_folder(tmp_path, text.replace("fax_event", "{fax_event: {line: line}}") + SECOND_FLOW))


def pdf_of(carrier):
    return [fax.document for fax in carrier.faxes.incoming]


@pytest.mark.parametrize("document", [b"%PDF-1.4 broken", b"no document at all", b""])
async def test_a_document_that_cannot_be_faxed_is_refused_at_once(tmp_path, document):
    from hub.errors import Refused

    async with faxing(tmp_path) as (hub, carrier):
        with pytest.raises(Refused) as refused:
            await ask(hub, "faxes.send", content=base64.b64encode(document).decode(), to="+13125550100")
        assert refused.value.code == "FAX-005"
        with pytest.raises(Refused):
            await ask(hub, "faxes.send", content=base64.b64encode(pdf()).decode(), to="911")
        assert carrier.faxes.out == []


# The same at a carrier that signs its webhooks and cannot be asked by our reference.


@pytest.mark.parametrize("words", [["twice", "forged"], ["swapped"], ["forged", "late 0.2", "never"]])
async def test_webhooks_are_believed_only_when_they_are_the_carriers(tmp_path, words):
    async with faxing(tmp_path, text=DOCUMO) as (hub, carrier):
        carrier.hooks.script(*words * 2)
        id = await send(hub, "+13125550102", policy={**SLOW, "look": ["2s"] * 5})
        await until(is_in(hub, id, "sent"))
        await carrier.settled()
        await settled(hub)
        assert (await shown(hub, id))["tries"] == 3
        assert carrier.faxes.sent_twice() == []
        assert carrier.hooks.answers.count(401) == (words * 2)[:6].count("forged")


async def test_what_cannot_be_looked_for_is_unknown_and_shown_and_never_repeated(tmp_path):
    async with faxing(tmp_path, text=DOCUMO) as (hub, carrier):
        carrier.faults.script("502 after commit", to="send")
        id = await send(hub, "+13125550100", policy={**FAST, "look": ["50ms"] * 3})
        await until(is_in(hub, id, "unknown"))
        await carrier.settled()
        await settled(hub)
        assert len(carrier.faxes.out) == 1
        [item] = await to_do(hub)
        assert item["topic"] == f"fax {id}"
        assert (await shown(hub, id))["state"] == "unknown"
        assert carrier.faxes.out[0].fields["subject"] == (await shown(hub, id))["history"][0]["reference"], "for who looks"


async def test_what_came_in_is_told_by_webhook_and_fetched_once(tmp_path):
    async with faxing(tmp_path, text=DOCUMO) as (hub, carrier):
        carrier.hooks.script("forged", "twice", "ok")
        carrier.faults.script("503", "half", to="fetch")
        for number in range(3):
            carrier.receive(f"+1773555000{number}", pdf(number + 1))
        await until(lambda: len(list((tmp_path / "sink").iterdir())) == 3)
        await carrier.settled()
        await settled(hub)
        assert sorted(file.read_bytes() for file in (tmp_path / "sink").iterdir()) == sorted(pdf_of(carrier))
        assert len(await ask(hub, "faxes.list", state="received")) == 3


# Without a hub.


def test_numbers_become_e164():
    for text in ("(312) 555-0100", "312.555.0100", "1 312 555 0100", "+1 312-555-0100", "+13125550100"):
        assert in_e164(text) == "+13125550100"
    assert in_e164("+44 20 7946 0000") == "+442079460000"
    for text in ("", "911", "555-0100", "44 20 7946 0000", "+1312555010O", "0312 555 0100", "+0123456789"):
        with pytest.raises(ValueError, match="no fax number"):
            in_e164(text)


REPORTS = st.builds(
    FaxReport,
    reference=st.sampled_from(["a", "b"]),
    state=st.sampled_from(["unknown", "queued", "sending", "sent", "failed"]),
    error=st.sampled_from([None, "busy", "partial", "other"]),
    reason=st.sampled_from([None, "17", "29"]),
    pages=st.sampled_from([None, 0, 2, 5]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(REPORTS, max_size=8), st.randoms())
def test_every_order_of_what_is_told_ends_in_the_same_state(reports, random):
    from datetime import UTC, datetime

    now = datetime(2026, 11, 25, tzinfo=UTC)
    tries = [FaxTry(reference=name, ordered_at=now) for name in "ab"]
    fax = Fax(id="f", to="+13125550100", pages=5, tries=tries, policy=FaxPolicy())
    one, other = fax, fax
    mixed = [*reports, *random.sample(reports, len(reports) // 2)]  # and some of it twice
    random.shuffle(mixed)
    seen = ["ordered"]
    for report in reports:
        one = reported(one, report, now)
        seen.append(one.state)
    for report in mixed:
        other = reported(other, report, now)
    assert one == other
    assert next_page(one) == next_page(other)
    assert "sent" not in seen or one.state == "sent", "what arrived is not taken back"


def test_a_report_about_another_try_is_none_of_this_fax():
    from datetime import UTC, datetime

    fax = Fax(id="f", tries=[FaxTry(reference="a", ordered_at=datetime(2026, 11, 25, tzinfo=UTC))])
    assert reported(fax, FaxReport(reference="z", state="sent"), datetime(2026, 11, 25, tzinfo=UTC)) is None

"""Sets generated from the tables survive build -> read -> equal, whatever the separators; nothing is found wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hub.formats.x12 import codes, envelope, report
from hub.formats.x12.check import check
from hub.formats.x12.eligibility import read_eligibility
from hub.formats.x12.replies import build_replies
from hub.formats.x12.tokens import Delimiters
from hub.formats.x12.write import Parties, interchange, transaction
from tests.conftest import LONG
from tests.hub.formats.messages import group, interchange as plain_interchange, transaction as plain_transaction
from tests.hub.formats.x12.generated import DELIMITERS, bodies
from tests.hub.formats.x12.test_rejections import PLACES

NOW = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
GENERATED = settings(
    max_examples=400 if LONG else 6,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def built(kind: str, body: list, separators: Delimiters = DELIMITERS[0]) -> bytes:  # type: ignore[type-arg]
    parties = Parties("PAYER", "CLINIC", "T", delimiters=separators)
    return interchange(parties, control_number=7, now=NOW, groups=[(kind, [transaction(kind, "0001", body)])])


def written(element: object, separators: Delimiters) -> str:
    """An element as it should stand in the file, put together without the hub's writer."""
    if isinstance(element, tuple):
        return separators.component.join(element).rstrip(separators.component)
    if isinstance(element, list):
        return separators.repetition.join(written(one, separators) for one in element)
    return str(element)


@pytest.mark.parametrize("kind", ["270", "271", "276", "277", "999"])
def test_what_is_built_from_the_tables_is_read_the_same_and_nothing_is_wrong(kind: str) -> None:
    @GENERATED
    @given(body=bodies(kind), separators=st.sampled_from(DELIMITERS))
    def run(body: list, separators: Delimiters) -> None:  # type: ignore[type-arg]
        file = envelope.read(built(kind, body, separators))
        (found,) = file.transactions()
        expected = [[written(element, separators) for element in line] for line in body]
        for line in expected:
            while not line[-1]:
                line.pop()
        assert [[s.id, *s.elements] for s in found.segments[1:-1]] == expected
        assert file.findings == []
        assert check(found) == []

    run()


@GENERATED
@given(body=bodies("271"))
def test_every_benefit_is_read_with_what_belongs_to_it(body: list) -> None:  # type: ignore[type-arg]
    (found,) = envelope.read(built("271", body)).transactions()
    reply = read_eligibility(found)
    benefits = sorted(
        {id(b): b for p in reply.patients for b in (*p.subscriber.benefits, *p.benefits)}.values(), key=lambda b: b.segment
    )
    expected: list[dict] = []  # type: ignore[type-arg]
    inside = None
    for line in body:
        if line[0] == "HL":
            inside = None
        elif line[0] == "EB":
            inside = {"line": line, "MSG": [], "DTP": 0, "REF": 0, "HSD": 0, "NM1": 0}
            expected.append(inside)
        elif inside is not None and line[0] in inside:
            inside[line[0]] = inside[line[0]] + ([line[1]] if line[0] == "MSG" else 1)
    assert len(benefits) == len(expected)
    for benefit, made in zip(benefits, expected, strict=True):
        line = [*made["line"], *[""] * 14]
        assert (benefit.code, benefit.level, benefit.service_types) == (line[1], line[2], line[3] or [])
        assert (benefit.insurance_type, benefit.plan, benefit.period) == (line[4], line[5], line[6])
        assert (benefit.amount, benefit.percent) == (line[7], line[8])
        assert (benefit.quantity_qualifier, benefit.quantity, benefit.authorization, benefit.network) == tuple(line[9:13])
        assert benefit.messages == made["MSG"]
        counts = (len(benefit.dates), len(benefit.references), len(benefit.delivery), len(benefit.entities))
        assert counts == (made["DTP"], made["REF"], made["HSD"], made["NM1"])


@GENERATED
@given(body=bodies("271"))
def test_every_rejection_is_told_once_with_its_loop(body: list) -> None:  # type: ignore[type-arg]
    data = built("271", body)
    (told,) = (t for i in report.describe(data)["interchanges"] for g in i["groups"] for t in g["transactions"])
    sent = sorted(line[3] for line in body if line[0] == "AAA")
    reply = read_eligibility(envelope.read(data).transactions()[0])
    levels = {id(level): level for p in reply.patients for level in (p.subscriber, p.dependent) if level is not None}
    found = [r.code for r in reply.rejections] + [r.code for level in levels.values() for r in level.rejections]
    assert sorted(found) == sent
    assert len(told["rejections"]) == len(reply.rejections)


@pytest.mark.parametrize("loop", PLACES)
def test_every_reject_reason_in_every_loop_survives(loop: str) -> None:
    before, where = PLACES[loop]
    for code in codes.AAA:
        body = ["BHT*0022*11*REF1*20261130*1430", *(segment.format(f"AAA*N**{code}*C") for segment in before)]
        found = report.answer(plain_interchange(group(plain_transaction("271", *body))), ["30"])
        assert [(r["loop"], r["code"], r["follow_up"]) for r in found["rejections"]] == [(loop, code, "C")]
        assert found["status"] == "rejected"
        assert found["rejections"][0]["text"] == codes.AAA[code].text
    assert where


@GENERATED
@given(
    body=bodies("271"),
    drop=st.integers(0, 200),
    put=st.sampled_from([None, ["ZZZ", "1"], ["EB", "QQ"], ["REF"], ["DTP", "291", "D8", "x"]]),
)
def test_a_damaged_set_gets_a_999_that_can_be_read_and_has_no_faults(body: list, drop: int, put: list | None) -> None:  # type: ignore[type-arg]
    lines = [*body]
    lines[drop % len(lines) : drop % len(lines) + 1] = [put] if put else []
    reply = build_replies(built("271", lines), control_number=9, now=NOW)
    assert reply is not None
    file = envelope.read(reply)
    (verdict,) = file.transactions()
    assert (file.findings, check(verdict)) == ([], [])

"""A 271 and the same answer as JSON come to the same: status, amounts, rejections, everything `hub show` tells.

The rendering is the simulator's, which shares no code with the reader.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, strategies as st

from connectors.simulators.clearinghouse.rendered_v3 import rendered
from hub.formats.describe import describe
from hub.formats.eligibility_v3.answer import answer
from hub.formats.x12 import codes, report
from tests.hub.formats.messages import HEAD_271, PROPERTY, group, interchange, transaction, transactions

WORDS = "ABC123 .'-"
texts = st.text(WORDS, min_size=1, max_size=12).map(str.strip).filter(bool)
days = st.dates().map(lambda day: day.strftime("%Y%m%d"))
amounts = st.sampled_from(["0", "25", "25.00", "310.50", ".5", "1.", "x"])
types = st.lists(st.sampled_from(["30", "98", "UC", "88", "35"]), max_size=3, unique=True).map("^".join)
periods = st.sampled_from(["", "22", "23", "24", "25", "27", "29", "32", "33"])
networks = st.sampled_from(["", "Y", "N", "W", "U"])


def maybe(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), strategy)


@st.composite
def benefits(draw: st.DrawFn) -> list[str]:
    """An EB with what belongs to it: of each date and reference one, because JSON has one place for each."""
    eb = [
        draw(st.sampled_from(sorted(codes.EB01))), draw(maybe(st.sampled_from(["IND", "FAM"]))), draw(types),
        draw(maybe(st.sampled_from(["HM", "MA", "MB", "HN", "MC", "QM", "12", "OT"]))), draw(maybe(texts)), draw(periods),
        draw(maybe(amounts)), draw(maybe(st.sampled_from([".2", "1", "0.35"]))), draw(maybe(st.sampled_from(["VS", "DY"]))),
        draw(maybe(st.sampled_from(["12", "3"]))), draw(maybe(st.sampled_from("YNU"))), draw(networks),
        draw(maybe(st.sampled_from(["HC:99213", "HC:99213:25:59"]))),
    ]  # fmt: skip
    lines = ["*".join(["EB", *eb])]
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(["HSD*VS*35***21*1", "HSD*VS*10***29", "HSD*DY*60*DA**23*1*1*A"])))
    lines += [f"REF*{kind}*{draw(texts)}*{draw(texts)}" for kind in draw(kinds(["18", "6P", "N6"]))]
    lines += [f"REF*{kind}*{draw(texts)}" for kind in draw(kinds(["IG", "F6", "1W", "9F"]))]
    lines += [f"DTP*{kind}*{span}" for kind in draw(kinds(["291", "292", "346", "348", "356"])) for span in [draw(spans())]]
    lines += [f"MSG*{draw(texts)}" for _ in range(draw(st.integers(0, 2)))]
    lines += draw(st.lists(st.sampled_from(["III*ZZ*11", "III*ZZ*22", "III*BK*E11"]), max_size=2))
    if draw(st.booleans()):
        code = draw(st.sampled_from(sorted(codes.NM1_BENEFIT)))
        lines += ["LS*2120", f"NM1*{code}*2*{draw(texts)}*****PI*{draw(texts)}", "N3*1 MAIN ST", "N4*RIVER*IL*60601",
                  "PER*IC**TE*5550100*UR*PLAN.EXAMPLE", "LE*2120"]  # fmt: skip
    return lines


def kinds(known: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(known), max_size=2, unique=True)


@st.composite
def spans(draw: st.DrawFn) -> str:
    first, last = draw(days), draw(days)
    return draw(st.sampled_from([f"D8*{first}", f"RD8*{first}-{last}"]))


@st.composite
def answers(draw: st.DrawFn) -> list[str]:
    """From BHT to before SE, about one patient."""

    def rejected(allowed: frozenset[str]) -> list[str]:
        chosen = (
            draw(st.lists(st.sampled_from(sorted(allowed)), max_size=2, unique=True)) if draw(st.integers(0, 3)) == 0 else []
        )
        return [f"AAA*N**{code}*{draw(st.sampled_from('CNPRSWXY'))}" for code in chosen]

    lines = [*HEAD_271[:3], *rejected(codes.AAA_PAYER), *HEAD_271[3:], *rejected(codes.AAA_PROVIDER)]
    name = f"NM1*IL*1*{draw(texts)}*{draw(texts)}*Q**JR*MI*{draw(texts)}"
    group_number = draw(st.sampled_from([[], ["REF*6P*G1*RIVER"], ["REF*18*P1", "REF*6P*G2"]]))
    plan_days = [f"DTP*{kind}*{draw(spans())}" for kind in draw(kinds(["291", "307", "346", "347", "356"]))]
    if draw(st.booleans()):
        lines += ["HL*3*2*22*0", "TRN*2*TRACE1*9123456789", name, *group_number, *rejected(codes.AAA_SUBSCRIBER),
                  "DMG*D8*19800229*F", *plan_days]  # fmt: skip
    else:
        relation = draw(st.sampled_from(["01", "19", "34", "G8"]))
        lines += ["HL*3*2*22*1", name, *group_number, "HL*4*3*23*0", "TRN*2*TRACE1*9123456789", f"NM1*03*1*{draw(texts)}*TIMMY",
                  *rejected(codes.AAA_DEPENDENT), "DMG*D8*20180607*M", f"INS*N*{relation}", *plan_days]  # fmt: skip
    return lines + [line for one in draw(st.lists(benefits(), max_size=4)) for line in one]


def both(lines: list[str]) -> tuple[bytes, bytes]:
    as_json = rendered(lines, "TRACE1", "60054")
    return interchange(group(transaction("271", *lines))), json.dumps(as_json).encode()


def without_places(found: dict[str, Any]) -> Any:
    """Places are counted otherwise; what was wrong with the form of X12 is not there in JSON; references and dates of JSON
    stand in an object, which has no order."""
    text = json.dumps(found, sort_keys=True)
    text = re.sub(r'"segments?": (\d+|\[[^\]]*\])', '"segment": 0', text)
    return in_order(json.loads(re.sub(r"segment \d+", "segment N", text)))


def in_order(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {name: in_order(one) for name, one in value.items()}
        for name in ("references", "dates"):
            if isinstance(inner.get(name), list):
                inner[name] = sorted(inner[name], key=json.dumps)
        return inner
    return [in_order(one) for one in value] if isinstance(value, list) else value


LEFT_OUT = {"findings", "reference"}


@PROPERTY
@given(lines=answers(), asked=st.sampled_from([[], ["30"], ["98", "30"]]), day=st.sampled_from(["", "20261130"]))
def test_an_answer_comes_to_the_same(lines: list[str], asked: list[str], day: str) -> None:
    as_x12, as_json = both(lines)
    one, other = report.answer(as_x12, asked, day), answer(as_json, asked, day)
    for name in one.keys() - LEFT_OUT:
        assert without_places({name: one[name]}) == without_places({name: other[name]}), name


@PROPERTY
@given(lines=answers())
def test_it_is_shown_the_same(lines: list[str]) -> None:
    as_x12, as_json = both(lines)
    (one,), (other,) = transactions(describe(as_x12)), transactions(describe(as_json))
    other["control_number"] = one["control_number"]
    assert without_places(one) == without_places(other)

"""HL7 v2 messages and X12 interchanges for the tests of the formats, put together without the hub's own code."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st

PROPERTY = settings(
    max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
"""For properties: enough examples to find the usual mistakes, no files left behind."""

MSH = "MSH|^~\\&|EPIC|RIVER|HUB|RIVER|20261130143000||ADT^A04|42|P|2.5"


def hl7(*segments: str, head: str = MSH, end: str = "\r", charset: str = "utf-8") -> bytes:
    """A message with its header."""
    return "".join(segment + end for segment in (head, *segments)).encode(charset)


def with_charset(declared: bytes, *segments: bytes) -> bytes:
    """A message whose MSH-18 says this."""
    return b"\r".join((MSH.encode() + b"||||||" + declared, *segments)) + b"\r"


ISA = "ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         *261130*1430*^*00501*000000007*0*T*:~"
VERSION = {"270": "005010X279A1", "271": "005010X279A1", "999": "005010X231A1"}
CODE = {"270": "HS", "271": "HB", "999": "FA"}


def transaction(kind: str, *segments: str, number: str = "0001") -> list[str]:
    """ST to SE with the right count."""
    return [f"ST*{kind}*{number}*{VERSION[kind]}", *segments, f"SE*{len(segments) + 2}*{number}"]


def group(*transactions: Sequence[str], kind: str = "271", number: str = "7") -> list[str]:
    """GS to GE with the right count."""
    inside = [segment for one in transactions for segment in one]
    head = f"GS*{CODE[kind]}*PAYER*CLINIC*20261130*1430*{number}*X*{VERSION[kind]}"
    return [head, *inside, f"GE*{len(transactions)}*{number}"]


def interchange(*groups: Sequence[str], isa: str = ISA) -> bytes:
    """ISA to IEA with the right count."""
    inside = [segment for one in groups for segment in one]
    return (isa + "".join(segment + "~" for segment in (*inside, f"IEA*{len(groups)}*000000007"))).encode()


HEAD_271 = [
    "BHT*0022*11*REF1*20261130*1430",
    "HL*1**20*1",
    "NM1*PR*2*ACME HEALTH*****PI*60054",
    "HL*2*1*21*1",
    "NM1*1P*2*RIVERSIDE CLINIC*****XX*1234567893",
]
SUBSCRIBER = ["HL*3*2*22*0", "TRN*2*TRACE1*9123456789", "NM1*IL*1*DOE*JANE****MI*W100", "DMG*D8*19800229*F"]
BODY = 2 + len(HEAD_271) + len(SUBSCRIBER)
"""Position of the first segment that `answer_271` is given, from ST = 1."""


def answer_271(*segments: str, member: Sequence[str] = ()) -> bytes:
    """A 271 about one subscriber, who is the patient; `member` stands between the name and the birth date."""
    return interchange(group(transaction("271", *HEAD_271, *SUBSCRIBER[:3], *member, *SUBSCRIBER[3:], *segments)))


def transactions(described: dict[str, Any]) -> list[dict[str, Any]]:
    """All transaction sets of a described file."""
    return [t for i in described["interchanges"] for g in i["groups"] for t in g["transactions"]]


def codes(described: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in described["findings"]]


def assert_linear(work: Callable[[int], Any], size: int) -> None:
    """Four times as much may take ten times as long, not sixteen."""
    small, large = _cost(work, size), _cost(work, 4 * size)
    assert large < 10 * small + 0.1, f"{size}: {small:.3f} s, {4 * size}: {large:.3f} s"


def _cost(work: Callable[[int], Any], size: int) -> float:
    """CPU seconds of the quicker of two runs: neither a busy machine nor the garbage of other tests counts."""
    times = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            start = time.process_time()
            work(size)
            times.append(time.process_time() - start)
    finally:
        gc.enable()
    return min(times)


def any_json(names: Sequence[str], words: Sequence[str]) -> st.SearchStrategy[bytes]:
    """JSON of any shape made of these names and words, and bytes that are no JSON."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from([*words, "\ud800", "²", "9" * 500]),
    )
    documents = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(names), inner, max_size=6)),
        max_leaves=30,
    )
    objects = st.dictionaries(st.sampled_from(names), documents, max_size=8)
    return st.one_of(st.binary(max_size=200), st.one_of(documents, objects).map(lambda said: json.dumps(said).encode()))

"""Claims and payments (835, 837, 834, 820): checked with pyx12, where it is installed (`clinic-hub[claims]`).

pyx12 runs in a process of its own with a limit of size and time: it is made for files of one's own, not for whatever comes.
Only its codes and the names of elements are told, never a value.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from hub.formats.x12 import codes
from hub.formats.x12.tokens import Finding, Findings

SETS = ("820", "834", "835", "837")
"""Transaction sets pyx12 has 005010 tables for and the hub has none."""
MOST_BYTES = 20 * 1024 * 1024
SECONDS = 120.0
"""How long a file may be checked."""


def sets_in(described: dict[str, Any]) -> list[str]:
    """The sets of a file that are for pyx12."""
    found = (t["set"] for i in described["interchanges"] for g in i["groups"] for t in g["transactions"])
    return list(dict.fromkeys(kind for kind in found if kind in SETS))


def installed() -> bool:
    return find_spec("pyx12") is not None


def check_claims(data: bytes, *, seconds: float = SECONDS) -> Findings:
    """What pyx12 finds wrong; a finding that says so where it could not look."""
    import json

    if len(data) > MOST_BYTES:
        return _could_not(f"the file is larger than {MOST_BYTES // (1024 * 1024)} MB")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hub.formats.x12.claims"], input=data, capture_output=True, timeout=seconds, check=False
        )
        return _findings(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return _could_not(f"it was not done after {seconds:g} s")
    except (ValueError, LookupError, TypeError, AttributeError):
        return _could_not("it does not know this version, or gave up")


def _could_not(why: str) -> Findings:
    found = Findings()
    found.add(Finding("warning", "X12-CLAIMS", f"pyx12 could not check the claims: {why}"))
    return found


def _findings(report: dict[str, Any]) -> Findings:
    found = Findings()
    for group in (g for i in report["interchanges"] for g in i["groups"]):
        for one in group["transactions"]:
            found.add(*(_of_set(error) for error in one["errors"]))
            for segment in one["segments"]:
                found.add(*(_of_segment(segment, error) for error in segment["errors"]))
                found.add(*(_of_element(segment, e, error) for e in segment["elements"] for error in e["errors"]))
    return found


def _of_set(error: dict[str, Any]) -> Finding:
    return Finding("error", "X12-CLAIMS", f"the set as a whole is wrong (IK502 {error['err_cde']})", id="SE")


def _of_segment(segment: dict[str, Any], error: dict[str, Any]) -> Finding:
    words = codes.IK3_ERRORS.get(error["err_cde"], "segment error")
    text = f"{segment['seg_id']} {segment['name'] or ''}: {words}"
    return Finding("error", "X12-CLAIMS", text, segment["seg_count"], segment["seg_id"], ik3=error["err_cde"])


def _of_element(segment: dict[str, Any], element: dict[str, Any], error: dict[str, Any]) -> Finding:
    number = element["ele_pos"]
    words = codes.IK4_ERRORS.get(error["err_cde"], "element error")
    text = f"{segment['seg_id']}{number:02d} {element.get('name') or ''}: {words}"
    place = (segment["seg_count"], segment["seg_id"], number)
    return Finding("error", "X12-CLAIMS", text, *place, ik3="8", ik4=error["err_cde"])


def _run_pyx12() -> None:
    """In the process of its own: the file on stdin, pyx12's report as JSON on stdout."""
    import io
    import logging

    from pyx12.params import params
    from pyx12.x12n_document import x12n_document

    logging.disable(logging.CRITICAL)
    text = sys.stdin.buffer.read().decode("latin-1")
    told = io.StringIO()
    x12n_document(params(), io.StringIO(text), None, None, fd_json=told)
    sys.stdout.write(told.getvalue())


if __name__ == "__main__":
    _run_pyx12()

"""The reference page of trigger events: what a message of each says, and what the example clinic file does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.when import parse_when
from hub.yaml_text import load_file

ROOT = Path(__file__).parent.parent
EVENTS = {
    "A01": "admitted",
    "A02": "transferred",
    "A03": "discharged, or the visit has ended",
    "A04": "registered",
    "A05": "pre-admitted",
    "A06": "outpatient becomes inpatient",
    "A07": "inpatient becomes outpatient",
    "A08": "patient data updated",
    "A09": "leaves for another place (tracking)",
    "A10": "arrives at another place (tracking)",
    "A11": "admission cancelled",
    "A12": "transfer cancelled",
    "A13": "discharge cancelled",
    "A14": "admission pending",
    "A15": "transfer pending",
    "A16": "discharge pending",
    "A17": "two patients swap beds",
    "A18": "patients merged (before 2.3.1)",
    "A19": "query",
    "A20": "state of a bed",
    "A21": "goes on leave",
    "A22": "returns from leave",
    "A23": "visit deleted",
    "A24": "patients linked",
    "A25": "pending discharge cancelled",
    "A26": "pending transfer cancelled",
    "A27": "pending admission cancelled",
    "A28": "person added",
    "A29": "person deleted",
    "A30": "persons merged",
    "A31": "person updated",
    "A32": "arrival (tracking) cancelled",
    "A33": "departure (tracking) cancelled",
    "A34": "patients merged (number only)",
    "A35": "accounts merged (number only)",
    "A36": "patients and accounts merged",
    "A37": "patients unlinked",
    "A38": "pre-admission cancelled",
    "A39": "persons merged (by number)",
    "A40": "patients merged",
    "A41": "accounts merged",
    "A42": "visits merged",
    "A43": "number moved to another patient",
    "A44": "account moved to another patient",
    "A45": "visit moved to another patient",
    "A46": "patient number changed",
    "A47": "patient number in the list changed",
    "A48": "alternate patient number changed",
    "A49": "account number changed",
    "A50": "visit number changed",
    "A51": "alternate visit number changed",
    "A52": "leave cancelled",
    "A53": "return from leave cancelled",
    "A54": "attending doctor changed",
    "A55": "change of attending doctor cancelled",
    "A56": "(not given a meaning)",
    "A57": "(not given a meaning)",
    "A58": "(not given a meaning)",
    "A59": "(not given a meaning)",
    "A60": "allergies updated",
    "A61": "consulting doctor changed",
    "A62": "change of consulting doctor cancelled",
    "S12": "booked",
    "S13": "moved to another time",
    "S14": "changed",
    "S15": "cancelled",
    "S16": "discontinued",
    "S17": "deleted",
    "S18": "resource added",
    "S19": "resource changed",
    "S20": "resource cancelled",
    "S21": "resource discontinued",
    "S22": "resource deleted",
    "S23": "time blocked",
    "S24": "time opened",
    "S25": "time taken out of the schedule",
    "S26": "did not come",
}
"""HL7 v2 table 0003, chapters 3 and 10, in words of our own."""
_MEANS = {
    "time_blocked": "a note; no booking is changed",
    "time_opened": "a note; no booking is changed",
    "beds": "a note; no booking is changed",
    "account": "bookings of the old account get the new one",
    "visit": "the booking goes on under the new number",
    "account_of_another": "bookings of the account go to the other patient",
    "visit_of_another": "the booking goes to the other patient",
}


def page() -> str:
    lines = [
        "# HL7 v2 trigger events",
        "",
        "What the built-in mappings make of each event, in the flows of `config/clinic.yaml`.  *Chart* means that what PID,",
        "IN1 and PV1-20 say is saved in the patient's chart; a *state* is that of a booking that is known by PV1-19.",
        "",
        "| Event | Said | Done |",
        "|---|---|---|",
    ]
    lines += [
        f"| {event} | {said} | {'; '.join(done(event)) or 'nothing; no flow wants it'} |" for event, said in EVENTS.items()
    ]
    return "\n".join([*lines, ""])


def done(event: str) -> list[str]:
    """What happens, one entry for each flow that takes the event."""
    type = f"{'SIU' if event[0] == 'S' else 'ADT'}^{event}"
    return [_in_words(flow["steps"][0]["map"], event) for flow in _flows() if _takes(flow, type)]


def _flows() -> list[dict[str, Any]]:
    flows = load_file(ROOT / "config" / "clinic.yaml").data["flows"].values()
    return [flow for flow in flows if flow["from"] == "ehr_schedule"]


def _takes(flow: dict[str, Any], type: str) -> bool:
    when = parse_when(flow["when"], lambda *_: None)
    return when.holds(lambda key: type if key == "type" else "said")


def _in_words(mapping: str, event: str) -> str:
    data = load_file(ROOT / "mappings" / f"{mapping}.yaml").data
    if mapping == "adt_to_patient":
        return "charts merged" if event in data["fields"]["retires"]["when"]["MSH-9.2"] else "chart"
    table = next(table for name, table in data["tables"].items() if name in ("status", "what"))
    means = table[event]
    if mapping == "adt_to_deletion":
        return f"nothing is deleted; a person is told when the {means} is known"
    return _MEANS.get(means, f"state: {means}")

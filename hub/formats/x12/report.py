"""X12 for people and programs: the JSON of `hub show`, and the answer of a 271 as mappings read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hub.formats.x12 import benefits, codes
from hub.formats.x12.accumulators import accumulators
from hub.formats.x12.acknowledgements import ACCEPTED, read_999, read_ta1
from hub.formats.x12.check import check
from hub.formats.x12.claim_status import read_claims
from hub.formats.x12.coordination import other_coverages, programmes
from hub.formats.x12.eligibility import (
    Benefit,
    Eligibility,
    Entity,
    Level,
    Patient,
    Period,
    Rejection,
    read_eligibility,
)
from hub.formats.x12.envelope import Group, Interchange, Transaction, read
from hub.formats.x12.tokens import Findings

ELIGIBILITY = ("270", "271")
CLAIM_STATUS = ("276", "277")


def describe(data: bytes) -> dict[str, Any]:
    """Everything a file says (INTERFACES section 3)."""
    file = read(data)
    findings = file.findings
    interchanges = [_interchange(i, findings) for i in file.interchanges]
    return {"format": "x12", "findings": [f.as_dict() for f in findings], "interchanges": interchanges}


def answer(
    data: bytes, service_types: Sequence[str] = (), service_date: str = "", where: benefits.Where = benefits.IN_OFFICE
) -> dict[str, Any]:
    """The first answer in a file, flat, for mappings: what the payer says about one patient, or why it says nothing.

    `service_types` are those that were asked for, `service_date` is the day of the visit (CCYYMMDD).
    """
    file = read(data)
    findings = file.findings
    result: dict[str, Any] = {"set": None, "status": "unknown", "rejections": [], "failure": None}
    for interchange in file.interchanges:
        for segment in interchange.acknowledgements:
            if (ta1 := read_ta1(segment))["code"] not in ACCEPTED:
                result |= {"set": "TA1", "failure": f"The clearinghouse refused the interchange (TA1 {ta1['note']})."}
    for transaction in file.transactions():
        if transaction.set == "271" and transaction.readable:
            reply = read_eligibility(transaction)
            findings.add(*check(transaction), *reply.findings)
            result |= flat_answer(reply, service_types, service_date, where)
            break
        if transaction.set == "999" and any(verdict.refused for verdict in read_999(transaction)):
            result |= {"set": "999", "failure": "The payer refused the form of our inquiry (999)."}
    if result["set"] is None:
        reason = next((f.text for f in findings if f.level == "error"), "there is no 271 in it")
        result["failure"] = f"The answer could not be read: {reason}."
    result["findings"] = [f"{f.code}: {f.text}" for f in findings]
    return result


def told(
    reply: Eligibility, failure: str | None, service_types: Sequence[str], service_date: str, where: benefits.Where
) -> dict[str, Any]:
    """The same of a reply in another form, with what was found in it; or why it says nothing."""
    findings = [f"{finding.code}: {finding.text}" for finding in reply.findings]
    if failure is not None:
        return {"set": None, "status": "unknown", "rejections": [], "failure": failure, "findings": findings}
    return flat_answer(reply, service_types, service_date, where) | {"findings": findings}


def flat_answer(
    reply: Eligibility, service_types: Sequence[str], service_date: str, where: benefits.Where = benefits.IN_OFFICE
) -> dict[str, Any]:
    """What a reply says about its first patient, flat; however it was sent."""
    rejections = [_rejection(r) for r in reply.rejections]
    found: dict[str, Any] = {"set": "271", "failure": None, "reference": reply.reference, "rejections": rejections}
    if not reply.patients:
        return found | {"status": "rejected" if rejections else "unknown"}
    patient = reply.patients[0]
    coverage = _coverage(patient, service_types, service_date, rejected_above=bool(rejections), where=where)
    instead = benefits.plan_instead(patient)
    coverage["rejections"] = rejections + coverage["rejections"]
    coverage["subscriber"] |= _more_of(patient.subscriber)
    coverage["patient"] |= _more_of(patient.level)
    coverage["other_payer"] = (benefits.entity_names([instead]) or [instead.plan or "another plan"])[0] if instead else None
    owed = (coverage["chosen"][name] for name in ("co_payment", "deductible_remaining"))
    chosen = [entry for entry in owed if entry and entry["amount"] is not None]
    coverage["chosen"]["segments"] = [segment for entry in chosen for segment in entry["segments"]]
    return found | coverage


def _interchange(interchange: Interchange, findings: Findings) -> dict[str, Any]:
    header = interchange.header
    described: dict[str, Any] = {
        "control_number": header[13],
        "sender": header[6] or None,
        "receiver": header[8] or None,
        "version": header[12] or None,
        "groups": [_group(group, findings) for group in interchange.groups],
    }
    if interchange.acknowledgements:
        described["interchange_acknowledgements"] = [read_ta1(s) for s in interchange.acknowledgements]
    return described


def _group(group: Group, findings: Findings) -> dict[str, Any]:
    return {
        "control_number": group.header[6],
        "code": group.header[1],
        "version": group.version,
        "transactions": [_transaction(transaction, findings) for transaction in group.transactions],
    }


def _transaction(transaction: Transaction, findings: Findings) -> dict[str, Any]:
    described: dict[str, Any] = {"set": transaction.set, "control_number": transaction.control_number}
    if not transaction.readable:
        return described
    findings.add(*check(transaction))
    if transaction.set in ELIGIBILITY:
        reply = read_eligibility(transaction)
        findings.add(*reply.findings)
        described |= describe_reply(reply)
    elif transaction.set in CLAIM_STATUS:
        described["claims"] = [claim.as_dict() for claim in read_claims(transaction)]
    elif transaction.set == "999":
        described["acknowledgements"] = [verdict.as_dict() for verdict in read_999(transaction)]
    return described


def describe_reply(reply: Eligibility) -> dict[str, Any]:
    """Everything a 270 or 271 says, however it was sent."""
    described: dict[str, Any] = {"rejections": [_rejection(r) for r in reply.rejections]}
    if reply.set == "270":
        return described | {"inquiries": [_inquiry(patient) for patient in reply.patients]}
    return described | {"coverages": [_coverage(patient) for patient in reply.patients]}


def as_interchange(reply: Eligibility) -> dict[str, Any]:
    """A reply that came in another form, in the shape of an interchange with it alone."""
    number = reply.control_number
    transaction = {"set": "271", "control_number": number, **describe_reply(reply)}
    group = {"control_number": number, "code": "HB", "version": None, "transactions": [transaction]}
    payer = reply.patients[0].payer.entity.id if reply.patients else None
    return {"control_number": number, "sender": payer, "receiver": None, "version": None, "groups": [group]}


def _people(patient: Patient) -> dict[str, Any]:
    payer, provider, subscriber = patient.payer.entity, patient.provider.entity, patient.subscriber
    level = patient.level
    return {
        "trace_numbers": [number for _, number in level.traces or subscriber.traces],
        "payer": {"name": payer.name or None, "id": payer.id or None},
        "provider": {
            "name": provider.name or None,
            "npi": provider.id if provider.qualifier == "XX" and provider.id else None,
            "id": provider.id or None,
        },
        "subscriber": {
            **_person(subscriber.entity, subscriber.birth_date),
            "member_id": subscriber.entity.id or None,
            "group": benefits.group_number(patient),
        },
        "patient": {"relationship": patient.relationship, **_person(level.entity, level.birth_date)},
    }


def _person(entity: Entity, birth_date: str) -> dict[str, Any]:
    return {"family": entity.family or None, "given": entity.given or None, "birth_date": birth_date or None}


def _more_of(level: Level) -> dict[str, Any]:
    """What is compared with the chart beside name and birth date."""
    return {"middle": level.entity.middle or None, "suffix": level.entity.suffix or None, "sex": level.sex or None}


def _inquiry(patient: Patient) -> dict[str, Any]:
    level = patient.level
    return _people(patient) | {
        "service_types": [code for asked in level.inquiries for code in asked],
        "dates": [_date(period) for period in level.dates],
    }


def _coverage(
    patient: Patient,
    service_types: Sequence[str] = (),
    service_date: str = "",
    *,
    rejected_above: bool = False,
    where: benefits.Where = benefits.IN_OFFICE,
) -> dict[str, Any]:
    first, last = benefits.covered_days(patient)
    return {
        "status": benefits.status(
            patient, service_types, service_date=service_date, rejected_above=rejected_above, where=where
        ),
        **_people(patient),
        "plan": benefits.plan_name(patient),
        "dates": [
            _date(period) for period in [*patient.subscriber.dates, *(patient.dependent.dates if patient.dependent else [])]
        ],
        "covered_from": first or None,
        "covered_to": last or None,
        "benefits": [_benefit(benefit) for benefit in patient.benefits],
        "accumulators": [one.as_dict() for one in accumulators(patient.benefits)],
        "other_coverage": [other.as_dict() for other in other_coverages(patient)],
        "programmes": programmes(patient),
        "chosen": {
            "co_payment": _chosen(benefits.co_payment(patient, service_types, where)),
            "co_insurance": _chosen(benefits.co_insurance(patient, service_types, where)),
            "deductible_remaining": _chosen(benefits.deductible_remaining(patient, where)),
            "out_of_pocket_remaining": _chosen(benefits.out_of_pocket_remaining(patient, where)),
            "authorization": _chosen(benefits.authorization(patient, service_types, where)),
        },
        "rejections": [_rejection(r) for r in patient.rejections],
    }


def _chosen(chosen: benefits.Chosen | None) -> dict[str, Any] | None:
    return {"amount": chosen.amount, "segments": list(chosen.segments), "why": chosen.why} if chosen else None


def _benefit(benefit: Benefit) -> dict[str, Any]:
    return {
        "segment": benefit.segment,
        "code": benefit.code,
        "kind": codes.EB01.get(benefit.code, "unknown"),
        "level": benefit.level or None,
        "service_types": benefit.service_types,
        "insurance_type": benefit.insurance_type or None,
        "plan": benefit.plan or None,
        "period": benefit.period or None,
        "amount": benefit.amount or None,
        "percent": benefit.percent or None,
        "quantity": benefit.quantity or None,
        "quantity_qualifier": benefit.quantity_qualifier or None,
        "authorization": {"Y": True, "N": False}.get(benefit.authorization),
        "in_network": {"Y": True, "N": False}.get(benefit.network),
        "network": benefit.network or None,
        "delivery": benefit.delivery,
        "references": [{"qualifier": q, "value": v, "text": t or None} for q, v, t in benefit.references],
        "dates": [_date(period) for period in benefit.dates],
        "places": benefit.places,
        "conditions": benefit.conditions,
        "procedure": benefit.procedure or None,
        "messages": benefit.messages,
        "entity": _entity(benefit.entities[0]) if benefit.entities else None,
        "entities": [_entity(entity) for entity in benefit.entities],
    }


def _entity(entity: Entity) -> dict[str, Any]:
    return {
        "code": entity.code,
        "name": entity.name or None,
        "qualifier": entity.qualifier or None,
        "id": entity.id or None,
        "address": entity.address,
        "contacts": [{"kind": kind, "number": number} for kind, number in entity.contacts],
    }


def _date(period: Period) -> dict[str, Any]:
    return {"qualifier": period.qualifier, "from": period.starts, "to": period.ends or None}


def _rejection(rejection: Rejection) -> dict[str, Any]:
    meaning = codes.rejection(rejection.code, rejection.loop)
    return {
        "loop": rejection.loop,
        "code": rejection.code,
        "follow_up": rejection.follow_up,
        "text": meaning.text,
        "who": meaning.who,
        "action": meaning.action,
    }

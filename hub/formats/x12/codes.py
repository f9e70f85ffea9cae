"""Code sets of the eligibility transactions: what a code is called, and for a rejection, who does what about it."""

from __future__ import annotations

from typing import NamedTuple

ACTIVE = frozenset({"1", "2", "3", "4"})
ACTIVE_PENDING = "5"
INACTIVE = frozenset({"6", "7", "8"})
NO_ANSWER = frozenset({"U", "V"})

EB01: dict[str, str] = {
    "1": "active",
    "2": "active_full_risk_capitation",
    "3": "active_services_capitated",
    "4": "active_services_capitated_to_primary_care",
    "5": "active_pending_investigation",
    "6": "inactive",
    "7": "inactive_pending_eligibility_update",
    "8": "inactive_pending_investigation",
    "A": "co_insurance",
    "B": "co_payment",
    "C": "deductible",
    "CB": "coverage_basis",
    "D": "benefit_description",
    "E": "exclusions",
    "F": "limitations",
    "G": "out_of_pocket",
    "H": "unlimited",
    "I": "non_covered",
    "J": "cost_containment",
    "K": "reserve",
    "L": "primary_care_provider",
    "M": "pre_existing_condition",
    "MC": "managed_care_coordinator",
    "N": "services_restricted_to_provider",
    "O": "not_medically_necessary",
    "P": "benefit_disclaimer",
    "Q": "second_opinion_required",
    "R": "other_or_additional_payer",
    "S": "prior_history",
    "T": "card_reported_lost",
    "U": "contact_payer",
    "V": "cannot_process",
    "W": "other_source_of_data",
    "X": "health_care_facility",
    "Y": "spend_down",
}
"""Eligibility or benefit information (data element 1390)."""

RELATIONSHIP: dict[str, str] = {
    "18": "self",
    "01": "spouse",
    "19": "child",
    "20": "employee",
    "21": "unknown",
    "34": "other_adult",
    "39": "organ_donor",
    "53": "life_partner",
    "G8": "other",
}
"""Individual relationship (data element 1069)."""

PERIOD_VISIT = "27"
PERIOD_REMAINING = "29"
PERIOD_TO_DATE = "24"
PERIODS_OF_A_YEAR = frozenset(["", "22", "23", "25"])
"""EB06 of a base amount."""

MEDICARE = frozenset({"MA", "MB"})
MEDICARE_PARTS = MEDICARE | {"QM"}
"""EB04 of what original Medicare pays: parts A and B, and the cost share of a qualified beneficiary."""
MEDICARE_SECOND = frozenset(["12", "13", "14", "15", "16", "41", "42", "43", "47", "WC"])
"""EB04 of an `EB*R` by which Medicare names who pays before it."""
MEDICAID = "MC"
ADVANTAGE = frozenset({"HN", "HM", "PR", "PS", "IN"})
"""EB04 of an `EB*R` by which Medicare names a plan that has taken its place."""

FOLLOW_UP: dict[str, str] = {
    "C": "please correct and resubmit",
    "N": "resubmission not allowed",
    "P": "please resubmit the original transaction",
    "R": "resubmission allowed",
    "S": "do not resubmit; sent to a third party",
    "W": "please wait 30 days and resubmit",
    "X": "please wait 10 days and resubmit",
    "Y": "do not resubmit; the payer will answer later",
}
"""Follow-up action (data element 889)."""
NOT_AGAIN = frozenset({"N", "S", "W", "X", "Y"})
"""Follow-ups by which the payer does not want the same inquiry again, or not for days."""


class Rejection(NamedTuple):
    """What one AAA03 means to people."""

    text: str
    outcome: str
    """Which visit outcome it leads to."""
    who: str
    action: str


_COMPARE = "Compare {what} with the insurance card, correct, check again."
_PROVIDER = "The payer does not accept how we are named. IT checks NPI and enrolment with this payer."
_AUTHORIZATION = "The payer {what}. Compare the number with the letter of authorization, or call the payer."

AAA: dict[str, Rejection] = {
    "04": Rejection(
        "Authorized Quantity Exceeded",
        "unclear",
        "it",
        "Too many inquiries in one file for this payer. IT sends fewer at once.",
    ),
    "15": Rejection(
        "Required Application Data Missing",
        "unclear",
        "coordinator",
        "The payer needs more to find this patient. Complete name, birth date and member id, check again.",
    ),
    "33": Rejection("Input Errors", "unclear", "it", "The payer could not read the inquiry. IT looks at the message."),
    "35": Rejection(
        "Out of Network", "unclear", "coordinator", "The payer says we are out of network for this patient. Call the payer."
    ),
    "41": Rejection(
        "Authorization/Access Restrictions",
        "unclear",
        "it",
        "We may not ask this payer. IT checks the enrolment with the clearinghouse.",
    ),
    "42": Rejection(
        "Unable to Respond at Current Time",
        "payer_unavailable",
        "hub",
        "The payer is not answering. Nothing is wrong with the data; the hub asks again.",
    ),
    "43": Rejection("Invalid/Missing Provider Identification", "unclear", "it", _PROVIDER),
    "44": Rejection("Invalid/Missing Provider Name", "unclear", "it", _PROVIDER),
    "45": Rejection("Invalid/Missing Provider Specialty", "unclear", "it", _PROVIDER),
    "46": Rejection("Invalid/Missing Provider Phone Number", "unclear", "it", _PROVIDER),
    "47": Rejection("Invalid/Missing Provider State", "unclear", "it", _PROVIDER),
    "48": Rejection("Invalid/Missing Referring Provider Identification Number", "unclear", "it", _PROVIDER),
    "49": Rejection(
        "Provider is Not Primary Care Physician",
        "unclear",
        "coordinator",
        "The payer has another primary care physician on file. Ask the patient to change it, or call the payer.",
    ),
    "50": Rejection(
        "Provider Ineligible for Inquiries", "unclear", "it", "We are not enrolled to ask this payer. IT enrols the provider."
    ),
    "51": Rejection("Provider Not on File", "unclear", "it", "The payer does not know our provider. IT enrols the provider."),
    "52": Rejection(
        "Service Dates Not Within Provider Plan Enrollment",
        "unclear",
        "it",
        "Our enrolment with this payer does not cover the day of the visit. IT checks it.",
    ),
    "53": Rejection(
        "Inquired Benefit Inconsistent with Provider Type",
        "unclear",
        "it",
        "The payer does not answer this service type for our kind of provider. IT changes the service type in the payer list.",
    ),
    "54": Rejection(
        "Inappropriate Product/Service ID Qualifier",
        "unclear",
        "it",
        "The payer does not take this kind of procedure code. IT looks at the message.",
    ),
    "55": Rejection(
        "Inappropriate Product/Service ID",
        "unclear",
        "it",
        "The payer does not take this procedure code. IT looks at the message.",
    ),
    "56": Rejection(
        "Inappropriate Date",
        "unclear",
        "coordinator",
        "The payer does not answer for this day. Check again nearer to the visit.",
    ),
    "57": Rejection(
        "Invalid/Missing Date(s) of Service",
        "unclear",
        "it",
        "The payer could not use the date of the visit. IT looks at the message.",
    ),
    "58": Rejection("Invalid/Missing Date-of-Birth", "mismatch", "coordinator", _COMPARE.format(what="the birth date")),
    "60": Rejection(
        "Date of Birth Follows Date(s) of Service", "mismatch", "coordinator", _COMPARE.format(what="the birth date")
    ),
    "61": Rejection(
        "Date of Death Precedes Date(s) of Service",
        "unclear",
        "coordinator",
        "The payer has a date of death before the visit. Compare the patient's data, call the payer.",
    ),
    "62": Rejection(
        "Date of Service Not Within Allowable Inquiry Period",
        "unclear",
        "coordinator",
        "The payer does not answer for a day so far away. Check again nearer to the visit.",
    ),
    "63": Rejection(
        "Date of Service in Future",
        "unclear",
        "coordinator",
        "The payer does not answer for a future day. Check again on the day of the visit.",
    ),
    "64": Rejection("Invalid/Missing Patient ID", "not_found", "coordinator", _COMPARE.format(what="the member id")),
    "65": Rejection("Invalid/Missing Patient Name", "mismatch", "coordinator", _COMPARE.format(what="the name")),
    "66": Rejection("Invalid/Missing Patient Gender Code", "mismatch", "coordinator", _COMPARE.format(what="the sex")),
    "67": Rejection("Patient Not Found", "not_found", "coordinator", _COMPARE.format(what="name, birth date and member id")),
    "68": Rejection(
        "Duplicate Patient ID Number", "unclear", "coordinator", "The payer has this patient twice. Call the payer."
    ),
    "69": Rejection(
        "Inconsistent with Patient's Age",
        "unclear",
        "coordinator",
        "The payer does not answer this service for the patient's age. Compare the birth date, call the payer.",
    ),
    "70": Rejection(
        "Inconsistent with Patient's Gender",
        "unclear",
        "coordinator",
        "The payer does not answer this service for the patient's sex. Compare it, call the payer.",
    ),
    "71": Rejection(
        "Patient Birth Date Does Not Match That for the Patient on the Database",
        "mismatch",
        "coordinator",
        _COMPARE.format(what="the birth date"),
    ),
    "72": Rejection("Invalid/Missing Subscriber/Insured ID", "not_found", "coordinator", _COMPARE.format(what="the member id")),
    "73": Rejection("Invalid/Missing Subscriber/Insured Name", "mismatch", "coordinator", _COMPARE.format(what="the name")),
    "74": Rejection(
        "Invalid/Missing Subscriber/Insured Gender Code", "mismatch", "coordinator", _COMPARE.format(what="the sex")
    ),
    "75": Rejection(
        "Subscriber/Insured Not Found", "not_found", "coordinator", _COMPARE.format(what="name, birth date and member id")
    ),
    "76": Rejection(
        "Duplicate Subscriber/Insured ID Number",
        "unclear",
        "coordinator",
        "The payer has this member id twice. Call the payer.",
    ),
    "77": Rejection(
        "Subscriber Found, Patient Not Found",
        "not_found",
        "coordinator",
        "The payer knows the subscriber, but not this patient. Compare the patient's name, birth date and relationship with the card.",
    ),
    "78": Rejection(
        "Subscriber/Insured Not in Group/Plan Identified",
        "not_found",
        "coordinator",
        "The payer does not have the member in this group. Ask for the new card.",
    ),
    "79": Rejection(
        "Invalid Participant Identification",
        "payer_unavailable",
        "it",
        "The clearinghouse does not know this payer id, or cannot reach the payer. IT checks the payer list.",
    ),
    "80": Rejection(
        "No Response Received - Transaction Terminated",
        "payer_unavailable",
        "hub",
        "The payer is not answering. Nothing is wrong with the data; the hub asks again.",
    ),
    "97": Rejection("Invalid or Missing Provider Address", "unclear", "it", _PROVIDER),
    "98": Rejection(
        "Experimental Service or Procedure",
        "unclear",
        "coordinator",
        "The payer calls this service experimental. Call the payer.",
    ),
    "AA": Rejection(
        "Authorization Number Not Found",
        "unclear",
        "coordinator",
        _AUTHORIZATION.format(what="does not know the authorization"),
    ),
    "AE": Rejection(
        "Requires Primary Care Physician Authorization",
        "unclear",
        "coordinator",
        "The payer wants the primary care physician to authorize the visit. Ask that practice for the referral.",
    ),
    "AF": Rejection(
        "Invalid/Missing Diagnosis Code(s)",
        "unclear",
        "coordinator",
        "The payer does not answer without a diagnosis it accepts. Ask the clinician for the code, or call the payer.",
    ),
    "AG": Rejection(
        "Invalid/Missing Procedure Code(s)",
        "unclear",
        "coordinator",
        "The payer does not answer without a procedure code it accepts. Ask the clinician for the code, or call the payer.",
    ),
    "AO": Rejection(
        "Additional Patient Condition Information Required",
        "unclear",
        "coordinator",
        "The payer wants to know more about the patient's condition. Call the payer.",
    ),
    "CI": Rejection(
        "Certification Information Does Not Match Patient",
        "unclear",
        "coordinator",
        _AUTHORIZATION.format(what="has the certification under another patient"),
    ),
    "E8": Rejection(
        "Requires Medical Review",
        "unclear",
        "coordinator",
        "The payer reviews this service before it answers. Call the payer and note when the review will be done.",
    ),
    "IA": Rejection(
        "Invalid Authorization Number Format",
        "unclear",
        "coordinator",
        _AUTHORIZATION.format(what="cannot read the authorization number"),
    ),
    "MA": Rejection(
        "Missing Authorization Number", "unclear", "coordinator", _AUTHORIZATION.format(what="needs an authorization number")
    ),
    "T4": Rejection(
        "Payer Name or Identifier Missing", "unclear", "it", "The payer's id is missing. IT completes the payer list."
    ),
}
"""Reject reason (data element 901): meanings and actions."""

OTHER_REJECTION = Rejection(
    "Rejected by the payer", "unclear", "coordinator", "The payer gave a reason the hub has no words for. Call the payer."
)


_IN_LOOP: dict[tuple[str, str], Rejection] = {
    ("15", "2100B"): Rejection("Required Application Data Missing", "unclear", "it", _PROVIDER),
    ("35", "2110"): Rejection(
        "Out of Network", "unclear", "coordinator", "The payer says we are out of network for this service. Call the payer."
    ),
}
"""Codes that mean something else in one loop: `2110` stands for C and D."""

AGAIN_LATER, AGAIN_FEW, STOP_PAYER, STOP_PROVIDER = "again_later", "again_few", "stop_payer", "stop_provider"
MACHINE: dict[str, str] = {
    **dict.fromkeys(("42", "80"), AGAIN_LATER),
    "79": AGAIN_FEW,
    **dict.fromkeys(("41", "T4", "04"), STOP_PAYER),
    **dict.fromkeys(("43", "44", "45", "46", "47", "48", "97", "50", "51"), STOP_PROVIDER),
    **dict.fromkeys(("58", "60", "61", "71"), "after_correction"),
    **dict.fromkeys(("64", "72"), "search_without_id"),
    **dict.fromkeys(("65", "73"), "plain_name"),
    **dict.fromkeys(("66", "74"), "without_sex"),
    **dict.fromkeys(("67", "75"), "other_role"),
    **dict.fromkeys(("68", "76"), "more_data"),
    "77": "as_subscriber",
    "78": "without_group",
    **dict.fromkeys(("56", "57", "62", "63"), "as_of_today"),
    "15": "more_data",
    "33": "fix_template",
}
"""What the hub may do by itself about a reject reason; where the data allows, and once unless it says otherwise.

`again_later`: the same inquiry with growing waits until the visit.  `again_few`: a few times, then nothing more.  `stop_payer`:
ask this payer nothing until IT has acted; `stop_provider`: the same for this payer and provider, one alert for all patients.
`after_correction`: only with other data.  `search_without_id`, `plain_name` (no suffix, no hyphen), `without_sex`, `other_role`
(a dependent as subscriber, and the reverse), `as_subscriber`, `without_group`, `as_of_today`: ask so.  `more_data`: with what is
known besides.  `fix_template`: never again before IT has acted.  What is not listed concerns one benefit: `keep_rest`.
"""


def rejection(code: str, loop: str = "") -> Rejection:
    """What a reject reason means, in its loop where that makes a difference."""
    for place in (loop, loop[:4]):
        if found := _IN_LOOP.get((code, place)):
            return found
    return AAA.get(code, OTHER_REJECTION)


def machine_action(code: str, loop: str = "") -> str:
    """What the hub may do by itself (see MACHINE); an unknown code is for a person."""
    if (code, loop) == ("15", "2100B"):
        return STOP_PROVIDER
    if code not in AAA:
        return "after_correction"
    return MACHINE.get(code, "keep_rest")


TA1_NOTES: dict[str, str] = {
    "000": "No error",
    "001": "The Interchange Control Number in the Header and Trailer Do Not Match",
    "002": "This Standard as Noted in the Control Standards Identifier is Not Supported",
    "003": "This Version of the Controls is Not Supported",
    "004": "The Segment Terminator is Invalid",
    "005": "Invalid Interchange ID Qualifier for Sender",
    "006": "Invalid Interchange Sender ID",
    "007": "Invalid Interchange ID Qualifier for Receiver",
    "008": "Invalid Interchange Receiver ID",
    "009": "Unknown Interchange Receiver ID",
    "017": "Invalid Interchange Version ID Value",
    "018": "Invalid Interchange Control Number Value",
    "020": "Invalid Test Indicator Value",
    "021": "Invalid Number of Included Groups Value",
    "022": "Invalid Control Structure",
    "023": "Improper (Premature) End-of-File (Transmission)",
    "024": "Invalid Interchange Content",
    "025": "Duplicate Interchange Control Number",
}
"""Interchange note (data element I18)."""

IK3_ERRORS: dict[str, str] = {
    "1": "Unrecognized segment ID",
    "2": "Unexpected segment",
    "3": "Required segment missing",
    "4": "Loop occurs over maximum times",
    "5": "Segment exceeds maximum use",
    "6": "Segment not in defined transaction set",
    "7": "Segment not in proper sequence",
    "8": "Segment has data element errors",
    "I4": "Implementation not used segment present",
    "I6": "Implementation dependent segment missing",
    "I7": "Implementation loop occurs under minimum times",
    "I8": "Implementation segment below minimum use",
    "I9": "Implementation dependent not used segment present",
}
IK4_ERRORS: dict[str, str] = {
    "1": "Required data element missing",
    "2": "Conditional required data element missing",
    "3": "Too many data elements",
    "4": "Data element too short",
    "5": "Data element too long",
    "6": "Invalid character in data element",
    "7": "Invalid code value",
    "8": "Invalid date",
    "9": "Invalid time",
    "10": "Exclusion condition violated",
    "12": "Too many repetitions",
    "13": "Too many components",
    "I6": "Code value not used in implementation",
    "I9": "Implementation dependent data element missing",
    "I10": "Implementation not used data element present",
    "I11": "Implementation too few repetitions",
    "I12": "Implementation pattern match failure",
    "I13": "Implementation dependent not used data element present",
}
"""Error codes of IK304 and IK403 (data elements 620 and 621)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


YES_NO = frozenset("YN")
YES_NO_UNKNOWN = frozenset("YNU")
"""Authorization or certification (EB11)."""
NETWORK = frozenset("YNUW")
"""Plan network (EB12)."""
SEX = frozenset("FMU")
SUBSCRIBER = frozenset(["18"])
DEPENDENT = frozenset(RELATIONSHIP) - SUBSCRIBER

EB02: dict[str, str] = {
    "CHD": "children only",
    "DEP": "dependents only",
    "ECH": "employee and children",
    "EMP": "employee only",
    "ESP": "employee and spouse",
    "FAM": "family",
    "IND": "individual",
    "SPC": "spouse and children",
    "SPO": "spouse only",
}
"""Coverage level (data element 1207)."""

EB04: dict[str, str] = {
    "12": "Medicare second: working aged, or spouse",
    "13": "Medicare second: end-stage renal disease",
    "14": "Medicare second: no-fault insurance",
    "15": "Medicare second: workers' compensation",
    "16": "Medicare second: public health service or other federal agency",
    "41": "Medicare second: black lung",
    "42": "Medicare second: Veterans Affairs",
    "43": "Medicare second: disabled, large group plan",
    "47": "Medicare second: other liability insurance",
    "AP": "auto insurance",
    "C1": "commercial",
    "CO": "COBRA",
    "CP": "Medicare conditionally primary",
    "D": "disability",
    "DB": "disability benefits",
    "EP": "exclusive provider organization",
    "FF": "family or friends",
    "GP": "group policy",
    "HM": "health maintenance organization",
    "HN": "health maintenance organization, Medicare risk",
    "HS": "special low income Medicare beneficiary",
    "IN": "indemnity",
    "IP": "individual policy",
    "LC": "long term care",
    "LD": "long term policy",
    "LI": "life insurance",
    "LT": "litigation",
    "MA": "Medicare part A",
    "MB": "Medicare part B",
    "MC": "Medicaid",
    "MH": "Medigap part A",
    "MI": "Medigap part B",
    "MP": "Medicare primary",
    "OT": "other",
    "PE": "property insurance, personal",
    "PL": "personal",
    "PP": "personal payment",
    "PR": "preferred provider organization",
    "PS": "point of service",
    "QM": "qualified Medicare beneficiary",
    "RP": "property insurance, real",
    "SP": "supplemental policy",
    "TF": "TEFRA",
    "WC": "workers' compensation",
    "WU": "wrap up policy",
}
"""Insurance type (data element 1336)."""

PERIODS: dict[str, str] = {
    "6": "hour",
    "7": "day",
    "13": "24 hours",
    "21": "years",
    "22": "service year",
    "23": "calendar year",
    "24": "year to date",
    "25": "contract",
    "26": "episode",
    "27": "visit",
    "28": "outlier",
    "29": "remaining",
    "30": "exceeded",
    "31": "not exceeded",
    "32": "lifetime",
    "33": "lifetime remaining",
    "34": "month",
    "35": "week",
    "36": "admission",
}
"""Time period (data element 615)."""

QUANTITIES: dict[str, str] = {
    "8H": "minimum",
    "99": "quantity used",
    "CA": "covered, actual",
    "CE": "covered, estimated",
    "D3": "co-insurance days",
    "DB": "deductible blood units",
    "DY": "days",
    "HS": "hours",
    "LA": "lifetime reserve, actual",
    "LE": "lifetime reserve, estimated",
    "M2": "maximum",
    "MN": "months",
    "P6": "services or procedures",
    "QA": "approved",
    "S7": "age, high",
    "S8": "age, low",
    "VS": "visits",
    "YY": "years",
}
"""Quantity qualifier (data element 673) of EB09."""

HSD01 = frozenset(["DY", "FL", "HS", "MN", "VS"])
HSD03 = frozenset(["DA", "MO", "VS", "WK", "YR"])
III01 = frozenset(["BF", "BK", "GR", "NI", "ZZ"])
PER03 = frozenset(["ED", "EM", "FX", "TE", "UR", "WP", "EX", "HP"])
PRV01 = _words("AD AT BI CO CV H HH LA OT P1 P2 PC PE R RF SB SK SU")
PRV02 = _words("9K D3 EI HPI PXC SY TJ")
MPI01 = frozenset("ACDEFOP")
MPI02 = _words("AE AO AS AT AU CC DD HD IR LX PE RE RM RR RU")
MPI03 = frozenset("ABCDEFGHIJKLMNOPQRST")
REF_PROVIDER = _words("0B 1C 1D 1J 4A CT EL EO HPI JD N5 N7 Q4 SY TJ")
REF_MEMBER = _words("0F 18 1L 1W 3H 49 6P A6 CE CT EA EJ F6 GH HJ IF IG M7 ML MRC N6 NQ Q4 SY Y4")
REF_BENEFIT = _words("18 1L 1W 49 6P 9F ALS CLI F6 FO G1 IG M7 N6 NQ")
REF_CLAIM = _words("1K 6P BLT D9 EA EJ LU VV XZ")
NM1_BENEFIT = _words("13 1I 1P 2B 36 73 FA GP GW I3 IL LR OC P3 P4 P5 PR PRP SEP TTP VER VN VY X3 Y2")
NM108_BENEFIT = _words("24 34 46 FA FI II MI NI PI PP SV XV XX")
STC03 = frozenset(["F", "U", "WQ", "15", "NA"])

DATES: dict[str, str] = {
    "050": "received",
    "096": "discharge",
    "102": "issue",
    "152": "effective date of change",
    "193": "period start",
    "194": "period end",
    "198": "completion",
    "290": "coordination of benefits",
    "291": "plan",
    "292": "benefit",
    "295": "primary care provider",
    "304": "latest visit",
    "307": "eligibility",
    "318": "added",
    "340": "COBRA begin",
    "341": "COBRA end",
    "342": "premium paid to date begin",
    "343": "premium paid to date end",
    "346": "plan begin",
    "347": "plan end",
    "348": "benefit begin",
    "349": "benefit end",
    "356": "eligibility begin",
    "357": "eligibility end",
    "382": "enrollment",
    "435": "admission",
    "442": "date of death",
    "458": "certification",
    "472": "service",
    "539": "policy effective",
    "540": "policy expiration",
    "636": "date of last update",
    "771": "status",
}
"""Date qualifier (data element 374)."""
DTP_MEMBER = _words("096 102 152 291 307 318 340 341 342 343 346 347 356 357 382 435 442 458 472 539 540 636 771")
DTP_BENEFIT = _words("096 193 194 198 290 291 292 295 304 307 318 346 347 348 349 356 357 435 472 636 771")

AAA_PAYER = _words("04 41 42 79 80 T4")
AAA_PROVIDER = _words("15 41 43 44 45 46 47 48 50 51 79 97 T4")
AAA_SUBSCRIBER = _words("15 35 42 43 45 47 48 49 51 52 56 57 58 60 61 62 63 71 72 73 74 75 76 78")
AAA_DEPENDENT = _words("15 35 42 43 45 47 48 49 51 52 56 57 58 60 61 62 63 64 65 66 67 68 71 77")
AAA_BENEFIT = frozenset(AAA)
"""Reject reasons (data element 901) by loop; about a benefit payers send any of them."""

CLAIM_STATUS_CATEGORIES: dict[str, str] = {
    "A0": "forwarded to another entity",
    "A1": "received",
    "A2": "accepted into adjudication",
    "A3": "returned: cannot be processed",
    "A4": "not found",
    "A5": "split",
    "A6": "rejected: information is missing",
    "A7": "rejected: information is invalid",
    "A8": "rejected: information does not fit together",
    "D0": "search found nothing",
    "E0": "the inquiry is wrong",
    "E1": "the payer's system is not available",
    "E2": "the payer's system does not answer; ask again",
    "E3": "the inquiry needs to be corrected",
    "E4": "the payer's partner does not answer",
    "F0": "finished",
    "F1": "finished: paid",
    "F2": "finished: denied",
    "F3": "finished: revised",
    "F3F": "finished: forwarded",
    "F3N": "finished: not forwarded",
    "F4": "finished: adjudicated, nothing to pay",
    "P0": "pending",
    "P1": "pending: in process",
    "P2": "pending: in review",
    "P3": "pending: the provider is asked for more",
    "P4": "pending: the patient is asked for more",
    "P5": "pending: payer's administrative hold",
    "R0": "more is asked for",
    "R1": "more is asked for about an entity",
    "R3": "more is asked for about the claim",
    "R4": "documents are asked for",
}
"""Health care claim status category (code source 507), in words of ours."""

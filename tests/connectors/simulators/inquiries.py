"""270s for the tests of the simulators, written by hand: none of the hub's own X12 code."""

from __future__ import annotations


def inquiry(
    payer: str,
    member: str,
    *,
    family: str = "DOE",
    given: str = "JANE",
    born: str = "19800229",
    dependent: tuple[str, str, str] | None = None,
    trace: str = "TRACE0001",
) -> str:
    """An eligibility inquiry about a member, or about a dependent: given name, family name, birth date."""
    head = [
        "ISA*00*          *00*          *ZZ*1234567893     *ZZ*CLEARINGHOUSE  *261123*0900*^*00501*000000007*0*T*:",
        "GS*HS*1234567893*CLEARINGHOUSE*20261123*0900*7*X*005010X279A1",
    ]
    body = [
        "ST*270*0001*005010X279A1",
        "BHT*0022*13*REF7*20261123*0900",
        "HL*1**20*1",
        f"NM1*PR*2*PAYER*****PI*{payer}",
        "HL*2*1*21*1",
        "NM1*1P*2*RIVERSIDE*****XX*1234567893",
        f"HL*3*2*22*{1 if dependent else 0}",
    ]
    asked = ["DTP*291*D8*20261124", "EQ*30"]
    subscriber = f"NM1*IL*1*{family}*{given}****MI*{member}"
    if dependent is None:
        body += [f"TRN*1*{trace}*9CLINIC001", subscriber, f"DMG*D8*{born}", *asked]
    else:
        first, last, birth = dependent
        body += [subscriber, "HL*4*3*23*0", f"TRN*1*{trace}*9CLINIC001", f"NM1*03*1*{last}*{first}", f"DMG*D8*{birth}", *asked]
    tail = [f"SE*{len(body) + 1}*0001", "GE*1*7", "IEA*1*000000007"]
    return "~".join([*head, *body, *tail]) + "~"

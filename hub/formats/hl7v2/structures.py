"""Message structures by trigger event (HL7 table 0354): which abstract syntax a message follows.

Senders often write the trigger into MSH-9.3 (`ADT_A04`) or nothing at all, so the structure is derived from MSH-9.1 and
MSH-9.2 and MSH-9.3 is never trusted.
"""

from __future__ import annotations

_ADT: dict[str, str] = {
    **dict.fromkeys(("A01", "A04", "A08", "A13"), "A01"),
    **dict.fromkeys(("A05", "A14", "A28", "A31"), "A05"),
    **dict.fromkeys(("A06", "A07"), "A06"),
    **dict.fromkeys(("A09", "A10", "A11"), "A09"),
    **dict.fromkeys(("A21", "A22", "A23", "A25", "A26", "A27", "A29", "A32", "A33"), "A21"),
    **dict.fromkeys(("A30", "A34", "A35", "A36", "A46", "A47", "A48", "A49"), "A30"),
    **dict.fromkeys(("A39", "A40", "A41", "A42"), "A39"),
    **dict.fromkeys(("A43", "A44"), "A43"),
    **dict.fromkeys(("A50", "A51"), "A50"),
    **dict.fromkeys(("A52", "A53"), "A52"),
    **dict.fromkeys(("A54", "A55"), "A54"),
    **{
        code: code
        for code in ("A02", "A03", "A12", "A15", "A16", "A17", "A18", "A20", "A24", "A37", "A38", "A45", "A60", "A61")
    },
    "A62": "A61",
}
_SIU = {f"S{number}": "S12" for number in (*range(12, 25), 26)}
_MDM = {f"T{number:02d}": "T02" if number % 2 == 0 and number < 11 else "T01" for number in range(1, 12)}
_OTHERS = {
    "ACK": "ACK",
    "BAR^P01": "BAR_P01",
    "BAR^P05": "BAR_P05",
    "DFT^P03": "DFT_P03",
    "DFT^P11": "DFT_P11",
    "MFN^M02": "MFN_M02",
    "OML^O21": "OML_O21",
    "ORM^O01": "ORM_O01",
    "ORU^R01": "ORU_R01",
    "ORU^R30": "ORU_R30",
    "RDE^O11": "RDE_O11",
    "VXU^V04": "VXU_V04",
    **{f"SRM^S{number:02d}": "SRM_S01" for number in range(1, 12)},
    **{f"SRR^S{number:02d}": "SRR_S01" for number in range(1, 12)},
}


def structure(code: str, trigger: str) -> str | None:
    """`SIU_S12` for `SIU`, `S13`; None when the table has no such event."""
    if code == "ACK":
        return "ACK"
    for name, table in (("ADT", _ADT), ("SIU", _SIU), ("MDM", _MDM)):
        if code == name:
            return f"{name}_{table[trigger]}" if trigger in table else None
    return _OTHERS.get(f"{code}^{trigger}")

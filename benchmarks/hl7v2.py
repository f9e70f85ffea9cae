"""The HL7 v2 codec beside python-hl7 and hl7apy, on the same messages in the same run.

    python benchmarks/hl7v2.py [--seconds S] [--json]

Rates are per second of CPU time of one core; no message is opened twice by way of a cache.  Memory is what tracemalloc counts
for one opened message, its bytes included.  hl7apy reads TOLERANT, as it does by default.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hl7 as python_hl7
from hl7apy.parser import parse_message

from hub.formats.hl7v2 import Hl7, acknowledge, split
from hub.formats.hl7v2.codec import Hl7Format

PID = (
    "PID|1||{0:07d}^^^NORTH^MR~{0:09d}^^^SSA^SS||Okafor^Maria^Q^^^^L||19610304|F||2106-3|17 Elm Street^Apt 4B^Springfield^IL^"
    "62704^USA^H||^PRN^PH^^1^217^5550100|^WPN^PH^^1^217^5550101|ENG|M|CHR|{0:08d}^^^NORTH^AN||||||||||||N"
)
PV1 = (
    "PV1|1|I|3W^312^A^NORTH^^BED|E|||10042^Whitfield^Grace^T^^Dr^MD^^NPI|10077^Baptiste^Leon^^^Dr^MD||MED||||7|A0||"
    "10042^Whitfield^Grace^T^^Dr^MD^^NPI|IN|V{0:08d}^^^NORTH^VN|MCR" + "|" * 19 + "NORTH" + "|" * 5 + "20260105082500"
)
ADT = [
    "MSH|^~\\&|HIS|NORTH|HUB|NORTH|20260105083011||ADT^A01^ADT_A01|{0:08d}|P|2.5.1||||||UNICODE UTF-8",
    "EVN|A01|20260105083011|||10042^Whitfield^Grace^T|20260105082500",
    PID,
    "NK1|1|Okafor^Alex^^^^^L|SPO^Spouse^HL70063|17 Elm Street^^Springfield^IL|^PRN^PH^^1^217^5550102||EC^Emergency contact",
    PV1,
    "AL1|1|DA|PCN^Penicillin^LOCAL|SV|Hives|20190412",
    "DG1|1||I20.9^Angina pectoris, unspecified^I10|||A",
]
SCH = (
    "SCH|P{0:07d}^HIS|F{0:07d}^HUB|||||CHECKUP^Routine check^LOCAL|FOLLOWUP|30|min^minutes|^^30^20260112090000^20260112093000|"
    "10042^Whitfield^Grace|^WPN^PH^^1^217^5559000|||||BOOKED"
)
SIU = [
    ADT[0].replace("ADT^A01^ADT_A01", "SIU^S12^SIU_S12"),
    SCH,
    PID,
    PV1,
    "RGS|1|A|CARDIO",
    "AIS|1|A|ECHO^Echocardiogram^LOCAL|20260112090000|0|min|30|min|Y|BOOKED",
    "AIL|1|A|CLINIC^ROOM2^^NORTH|C^Clinic||20260112090000|||30|min|Y|BOOKED",
]
FIVE = ("MSH-10", "PID-3.1", "PID-5.1", "PID-7", "PV1-19.1")


def padded(segments: Sequence[str], number: int, size: int = 1024) -> str:
    text = "\r".join(segment.format(number) for segment in segments) + "\r"
    return text + f"NTE|1|L|{'Observed overnight. ' * 60}"[: max(9, size - len(text) - 1)] + "\r"


def document(number: int) -> str:
    content = base64.b64encode(random.Random(number).randbytes(150 * 1024)).decode()
    head = [ADT[0].replace("ADT^A01^ADT_A01", "MDM^T02^MDM_T02"), ADT[1].replace("A01", "T02"), PID, PV1, "TXA|1|CN|AP"]
    return "\r".join([*(s.format(number) for s in head), f"OBX|1|ED|PDF^Document||^AP^PDF^Base64^{content}||||||F"]) + "\r"


# What each library does.


def hub_read(text: bytes) -> Any:
    message = Hl7(text)
    return message, [message.get(path) for path in FIVE]


def hub_write(text: bytes) -> Any:
    message = Hl7(text)
    message.set("PID-5.1", "Smith")
    message.set("MSH-5", "LAB")
    return bytes(message)


def python_hl7_read(text: bytes) -> Any:
    message = python_hl7.parse(text.decode())
    pid, pv1 = message.segment("PID"), message.segment("PV1")
    return message, [str(message["MSH"][0][10]), str(pid[3][0][0]), str(pid[5][0][0]), str(pid[7]), str(pv1[19][0][0])]


def python_hl7_write(text: bytes) -> Any:
    message = python_hl7.parse(text.decode())
    message.segment("PID")[5][0][0] = "Smith"
    message.segment("MSH")[5] = "LAB"
    return str(message).encode()


def hl7apy_read(text: bytes) -> Any:
    message = parse_message(text.decode(), find_groups=False)
    pid, pv1 = message.pid[0], message.pv1[0]
    return message, [
        field.to_er7() for field in (message.msh.msh_10, pid.pid_3[0].cx_1, pid.pid_5.xpn_1, pid.pid_7, pv1.pv1_19.cx_1)
    ]


def hl7apy_write(text: bytes) -> Any:
    message = parse_message(text.decode(), find_groups=False)
    message.pid.pid_5.xpn_1 = "Smith"
    message.msh.msh_5 = "LAB"
    return message.to_er7().encode()


OPEN = {
    "hub": Hl7,
    "python_hl7": lambda text: python_hl7.parse(text.decode()),
    "hl7apy": lambda text: parse_message(text.decode()),
}
READ = {"hub": hub_read, "python_hl7": python_hl7_read, "hl7apy": hl7apy_read}
WRITE = {"hub": hub_write, "python_hl7": python_hl7_write, "hl7apy": hl7apy_write}


# Measuring.


def rate(work: Callable[[Any], Any], things: Sequence[Any], seconds: float) -> float:
    """Times per second of CPU, the best of three."""
    best = 0.0
    for _ in range(3):
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds / 3:
            for thing in things:
                work(thing)
            count += len(things)
        best = max(best, count / spent)
    return best


def beside(what: str, works: dict[str, Callable[[bytes], Any]], bodies: Sequence[bytes], seconds: float) -> dict[str, Any]:
    line: dict[str, Any] = {"what": what}
    for name, work in works.items():
        line[f"{name}_per_second"] = round(rate(work, bodies if name != "hl7apy" else bodies[:2], seconds))
    for other in list(works)[1:]:
        line[f"times_{other}"] = round(line["hub_per_second"] / line[f"{other}_per_second"], 1)
    return line


def memory(work: Callable[[bytes], Any], bodies: Sequence[bytes]) -> int:
    """Bytes that one opened message takes."""
    work(bodies[0])
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [work(bytes(bytearray(body))) for body in bodies]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) // len(kept)


def linear() -> dict[str, Any]:
    """A message of 20 MB beside one of 2 MB: opened, read to its end, written."""
    seconds = {}
    for size in (2_000_000, 20_000_000):
        body = padded(ADT, 1).encode() + b"OBX|1|TX|NOTE^N||some text of a result|||||F\r" * (size // 44)
        best = 9e9
        for _ in range(3):
            start = time.process_time()
            message = Hl7(body)
            assert message.get(f"OBX[{len(message.ids) - 8}]-5")
            assert bytes(message) == body
            best = min(best, time.process_time() - start)
        seconds[size] = best
    small, large = seconds.values()
    times = round(large / small, 1)
    return {"what": "20 MB message: open, read, write", "seconds": round(large, 3), "times_2_mb": times}


def own(bodies: Sequence[bytes], seconds: float) -> Iterator[dict[str, Any]]:
    """What the hub does to every message besides: microseconds of each."""
    format, messages = Hl7Format(), [Hl7(body) for body in bodies]
    works: dict[str, tuple[Callable[[Any], Any], Sequence[Any]]] = {
        "split": (split, bodies),
        "keys (what it is filed under)": (lambda body: format.keys(body, {}), bodies),
        "acknowledge": (lambda message: acknowledge(message, "AA"), messages),
    }
    for what, (work, things) in works.items():
        yield {"what": f"{what}, 1 KB", "us": round(1e6 / rate(work, things, seconds), 1)}


def run(seconds: float = 1.5) -> Iterator[dict[str, Any]]:
    adt, siu = ([padded(kind, number).encode() for number in range(1000)] for kind in (ADT, SIU))
    mdm = [document(number).encode() for number in range(4)]
    assert hub_read(adt[7])[1] == python_hl7_read(adt[7])[1] == hl7apy_read(adt[7])[1]
    for name, bodies in (("ADT", adt), ("SIU", siu)):
        yield beside(f"{name} 1 KB: open, read 5 fields", READ, bodies, seconds)
        yield beside(f"{name} 1 KB: open, change 2, write", WRITE, bodies, seconds)
    yield beside("MDM 205 KB: open, read 5 fields", READ, mdm, seconds)
    yield {
        "what": "memory of an opened ADT 1 KB, bytes",
        **{name: memory(work, adt[:20] if name == "hub" else adt[:3]) for name, work in OPEN.items()},
    }
    yield linear()
    yield from own(adt + siu, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="CPU time for each figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for line in run(options.seconds):
        print(json.dumps(line) if options.json else _as_text(line), flush=True)


def _as_text(line: dict[str, Any]) -> str:
    return f"{line['what']:38}" + "  ".join(f"{name} {value:,}" for name, value in line.items() if name != "what")


if __name__ == "__main__":
    main()

"""5,000 eligibility answers (271) of 3.8 KB in one file: full schema check and benefit model, beside two libraries of PyPI.

    python benchmarks/x12.py [--messages N] [--peer-messages N] [--peers FOLDER | --alone] [--json]

linuxforhealth-x12 0.57.0 (model reader) and TigerShark 0.3.4 (unmarshal and facade) are installed from the package index, each
into an environment of its own in a folder that is removed again (kept and used again with `--peers`); where the index cannot be
reached they are left out and that is said.  Every program runs in a process of its own, one after the other, and reads a file.
Rates are transactions per second of CPU time of one core.  Peers get fewer messages: both slow down, if anything, with more.
Memory is the peak of the process above what it has after its imports (MB of 1,000,000 bytes).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MESSAGES = 5000
PEER_MESSAGES = 500
PEERS = {
    "linuxforhealth-x12": ["linuxforhealth-x12==0.57.0", "pydantic<2"],
    "tigershark": ["tigershark==0.3.4"],
}
"""What is installed for each."""
TYPES = ("30", "1", "33", "35", "47", "48", "50", "86", "88", "98", "AL", "MH", "UC")
NAMES = ("DOE", "ROE", "SMITH", "GARCIA", "NGUYEN", "OKAFOR", "FISCHER", "HANSEN")
TIMED = """
import resource, sys, time, json, os
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
def finish(count, idle, start):
    cpu = time.process_time() - start
    print(json.dumps({"count": count, "cpu": cpu, "above_idle": peak() - idle}))
"""
OURS = (
    TIMED
    + """
from hub.formats.x12 import benefits
from hub.formats.x12.accumulators import accumulators
from hub.formats.x12.check import check
from hub.formats.x12.coordination import other_coverages, programmes
from hub.formats.x12.eligibility import read_eligibility
from hub.formats.x12.envelope import stream
from hub.formats.x12.tokens import Findings
idle, start, count, wrong, active = peak(), time.process_time(), 0, Findings(), 0
with open(sys.argv[1], "rb") as file:
    for transaction in stream(file, wrong):
        wrong.add(*check(transaction))
        for patient in read_eligibility(transaction).patients:
            active += benefits.status(patient, ["98"], service_date="20261130") == "active"
            benefits.plan_name(patient), benefits.group_number(patient), benefits.covered_days(patient)
            benefits.co_payment(patient, ["98"]), benefits.co_insurance(patient, ["98"])
            benefits.authorization(patient, ["98"])
            benefits.deductible_remaining(patient), benefits.out_of_pocket_remaining(patient)
            accumulators(patient.benefits), other_coverages(patient), programmes(patient)
        count += 1
assert (len(wrong), active) == (0, count), (wrong[:3], active)
finish(count, idle, start)
"""
)
LINUXFORHEALTH = (
    TIMED
    + """
from linuxforhealth.x12.io import X12ModelReader
from linuxforhealth.x12.v5010.x12_271_005010X279A1 import transaction_set
idle, start, count = peak(), time.process_time(), 0
with X12ModelReader(sys.argv[1]) as reader:
    for model in reader.models():
        count += 1
finish(count, idle, start)
"""
)
TIGERSHARK = (
    TIMED
    + """
from tigershark.facade.f271 import F271_5010
from tigershark.parsers import M271_5010_X279_A1
idle, start = peak(), time.process_time()
text = open(sys.argv[1]).read()
facade = F271_5010(M271_5010_X279_A1.parsed_271.unmarshall(text.strip()))
count = len(facade.facades)
finish(count, idle, start)
"""
)
SCRIPTS = {"linuxforhealth-x12": LINUXFORHEALTH, "tigershark": TIGERSHARK}


def answer(number: int) -> list[str]:
    """One 271 with some 60 benefits, about somebody invented."""
    dice = random.Random(number)
    member, family = f"W{number:08d}", NAMES[number % len(NAMES)]
    segments = [
        f"BHT*0022*11*REF{number:06d}*20261130*1430",
        "HL*1**20*1",
        "NM1*PR*2*ACME HEALTH*****PI*60054",
        "HL*2*1*21*1",
        "NM1*1P*2*RIVERSIDE CLINIC*****XX*1234567893",
        "HL*3*2*22*0",
        f"TRN*2*TRACE{number:06d}*9123456789",
        f"NM1*IL*1*{family}*JANE****MI*{member}",
        "REF*6P*G-77*RIVER GROUP",
        "N3*17 ELM STREET",
        "N4*SPRINGFIELD*IL*62704",
        f"DMG*D8*19{dice.randrange(30, 99)}0229*F".replace("0229", f"{dice.randrange(1, 13):02d}15"),
        "DTP*346*D8*20260101",
        "EB*1**30**GOLD 123 PLAN",
        "EB*1**" + "^".join(TYPES[1:]),
    ]
    base = dice.randrange(5, 60) * 100
    left = dice.randrange(base)
    for level, network in (("IND", "Y"), ("FAM", "Y"), ("IND", "N"), ("FAM", "N")):
        for code in "CG":
            segments += [
                f"EB*{code}*{level}*30***23*{base}*****{network}",
                f"EB*{code}*{level}*30***29*{left}.{dice.randrange(100):02d}*****{network}",
            ]
    for place, code in enumerate(TYPES[1:]):
        segments += [
            f"EB*B*IND*{code}***27*{dice.randrange(5, 90)}*****Y",
            f"MSG*{code} VISIT IN NETWORK, COPAY APPLIES ONCE A DAY",
            f"EB*A*IND*{code}*****.{dice.randrange(1, 6)}***{'YN'[place % 2]}*N",
            f"EB*F*IND*{code}***23*{dice.randrange(1, 60)}00*****Y",
        ]
        if place % 4 == 0:
            segments.append("DTP*292*D8*20260101")
        segments.append("MSG*VISITS COUNT TOGETHER WITH THOSE OF OTHER PROVIDERS OF THE SAME KIND")
    for code in ("C", "B", "A", "9"):
        segments.append(f"EB*D*IND*4{ord(code) % 10}")
        segments.append("MSG*SEE THE PLAN DOCUMENT FOR WHAT APPLIES TO THIS SERVICE AND ITS LIMITS")
    segments += ["EB*L", "LS*2120", "NM1*P3*1*WELBY*MARCUS****XX*1234567893", "LE*2120"]
    return [f"ST*271*{number:06d}*005010X279A1", *segments, f"SE*{len(segments) + 2}*{number:06d}"]


def write(path: Path, count: int) -> int:
    """The file; its size in bytes for each message."""
    with path.open("w", encoding="ascii") as file:
        file.write("ISA*00*          *00*          *ZZ*PAYER          *ZZ*CLINIC         *261130*1430*^*00501*000000007*0*T*:~")
        file.write("GS*HB*PAYER*CLINIC*20261130*1430*7*X*005010X279A1~")
        for number in range(1, count + 1):
            file.write("~".join(answer(number)) + "~")
        file.write(f"GE*{count}*7~IEA*1*000000007~")
    return path.stat().st_size // count


def timed(python: str, script: str, path: Path) -> dict[str, Any] | str:
    """Rate and peak memory; or why there are none."""
    done = subprocess.run(
        [python, "-c", script, str(path)], capture_output=True, text=True, timeout=1200, check=False, cwd=ROOT
    )
    if done.returncode:
        return done.stderr.strip().rpartition("\n")[2][:200] or "it ended without a word"
    told = json.loads(done.stdout.strip().rpartition("\n")[2])
    if not told["count"]:
        return "it read no transaction at all"
    return {
        "transactions": told["count"],
        "per_second": round(told["count"] / told["cpu"], 1),
        "peak_above_idle_mb": round(told["above_idle"] / 1e6, 1),
    }


def installed(name: str, folder: Path) -> str | None:
    """The Python of an environment with a peer; None where it cannot be installed."""
    where = folder / name
    python = where / "bin" / "python"
    if python.exists():
        return str(python)
    venv.create(where, with_pip=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return None
    return str(python) if done.returncode == 0 else None


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    ours, theirs = folder / "ours.edi", folder / "theirs.edi"
    size = write(ours, options.messages)
    write(theirs, options.peer_messages)
    found = timed(sys.executable, OURS, ours)
    if isinstance(found, str):
        sys.exit(f"the hub could not read its own file: {found}")
    lines: list[dict[str, Any]] = [{"what": "hub: check and benefit model", "bytes_each": size, **found}]
    peers = Path(options.peers) if options.peers else folder
    for name, script in () if options.alone else SCRIPTS.items():
        python = installed(name, peers)
        told = timed(python, script, theirs) if python else "it cannot be installed: the index is not reachable"
        if isinstance(told, str):
            lines.append({"what": name, "left_out": told})
        else:
            lines.append({"what": name, **told, "hub_is_times": round(found["per_second"] / told["per_second"], 1)})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--peer-messages", type=int, default=PEER_MESSAGES)
    parser.add_argument("--peers", help="folder with the environments of the peers; made where they are missing")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for line in measure(options, Path(folder)):
            print(
                json.dumps(line) if options.json else "  ".join(f"{name} {value}" for name, value in line.items()), flush=True
            )


if __name__ == "__main__":
    main()

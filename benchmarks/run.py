"""Every benchmark of this folder, one after the other, and one table of what they found (`make bench`).

    python benchmarks/run.py [NAME ...] [--json]

A benchmark is a file here that prints, with `--json`, one object a line: `what` was measured, and figures by name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TIMEOUT = 1800
"""Seconds one benchmark may take."""


def run(name: str) -> Iterator[dict[str, Any]]:
    """The lines of one benchmark; one that fails is a line too."""
    try:
        command = [sys.executable, HERE / f"{name}.py", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        yield {"benchmark": name, "what": "FAILED", "reason": f"not done within {TIMEOUT} s"}
        return
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield {"benchmark": name, **json.loads(line)}
    if done.returncode:
        yield {"benchmark": name, "what": "FAILED", "reason": done.stderr.strip().rpartition("\n")[2]}


def as_text(line: dict[str, Any]) -> str:
    figures = "  ".join(f"{name} {_figure(value)}" for name, value in line.items() if name not in ("benchmark", "what"))
    return f"{line['benchmark']:10} {line.get('what', ''):40} {figures}"


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def main() -> int:
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run" and not path.stem.startswith("_"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all when none is named")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores", file=sys.stderr)
    failed = False
    for name in options.names or known:
        for line in run(name):
            failed = failed or line.get("what") == "FAILED"
            print(json.dumps(line) if options.json else as_text(line), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs a fuzz target in a process of its own, and in that process feeds it: libFuzzer ends the process it is in."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
MISSING = importlib.util.find_spec("atheris") is None
Target = Callable[[bytes], None]


def fuzz(module: str, target: str, folder: Path, seeds: Iterable[bytes], *limits: str, within: float = 100) -> None:
    """Raises AssertionError with the input that broke it."""
    for number, seed in enumerate(seeds):
        (folder / f"seed{number}").write_bytes(seed)
    # from a shell, so that its memory is its own: the system counts that of the process which begins one as what it had at most
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", module, target, folder, *limits]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}  # the order of a set is a path of its own
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=within, check=False)
    found = [path for path in folder.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))]
    what = "".join(f"{path.name}: {path.read_bytes()!r}\n" for path in found)
    assert done.returncode == 0, f"{what}{done.stdout[-3000:]}{done.stderr[-1500:]}"
    assert "DONE" in done.stderr, "it ran to its end"


def feed(targets: Mapping[str, Target], *limits: str, large: int, seconds: float) -> None:
    """`main` of a module of targets: NAME FOLDER [limits]; large inputs of so many bytes may take so many seconds."""
    import atheris

    name, folder, *more = sys.argv[1:]
    options = [*more, *limits, "-rss_limit_mb=600", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, folder], _watched(targets[name], large, seconds))
    atheris.Fuzz()


def _watched(target: Target, large: int, seconds: float) -> Target:
    """Now and then repeats an input many times over: time that grows faster than the bytes shows."""
    seen = 0

    def run(data: bytes) -> None:
        nonlocal seen
        target(data)
        seen += 1
        if seen % 500 == 0 and data:
            repeated = data * (large // len(data) + 1)
            start = time.process_time()
            target(repeated)
            assert time.process_time() - start < seconds, "time grows faster than the bytes"

    return run

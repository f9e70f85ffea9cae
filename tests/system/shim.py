"""The disk of `shim.c`: compiled when a test wants it, and what it does for one hub."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512


def compiled(folder: Path) -> Path:
    """The shared library."""
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


@dataclass(slots=True)
class Disk:
    """The disk below one store folder."""

    store: Path
    """Folder of the store."""
    shadow: Path
    """What is on disk for sure."""
    count_file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        self.count_file = self.shadow.with_name(self.shadow.name + ".count")
        self.trust()

    def trust(self) -> None:
        """Everything that is there now is on disk for sure; counting begins anew."""
        shutil.rmtree(self.shadow, ignore_errors=True)
        shutil.copytree(self.store, self.shadow, ignore=_passing)
        self.count_file.write_bytes(bytes(8))

    def env(self, **more: str) -> Mapping[str, str]:
        return {"SHIM_DIR": str(self.store), "SHIM_SHADOW": str(self.shadow), "SHIM_COUNT": str(self.count_file), **more}

    @property
    def calls(self) -> int:
        """Watched calls so far."""
        return int(struct.unpack("Q", self.count_file.read_bytes())[0])

    def power_cut(self, *, torn: random.Random | None = None) -> int:
        """The hub is dead already: now every byte that was not synced is gone; returns how many files changed.

        With `torn`, each sector that was not synced is there or not, by chance: a disk writes in the order it likes.
        """
        changed = 0
        for path in sorted(self.store.rglob("*")):
            kept = self.shadow / path.relative_to(self.store)
            if path.is_file() and not _passes(path.name):
                changed += _cut(path, kept, torn)
        for kept in sorted(self.shadow.rglob("*")):
            path = self.store / kept.relative_to(self.shadow)
            if kept.is_file() and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept, path)
                changed += 1
        for path in self.store.rglob("*-shm"):
            path.unlink()
        self.trust()
        return changed


def _cut(path: Path, kept: Path, torn: random.Random | None) -> int:
    real = path.read_bytes()
    if not kept.exists():
        if torn is None or torn.random() < 0.5:
            path.unlink()
            return 1
        sure = b""
    else:
        sure = kept.read_bytes()
    if torn is None:
        after = sure
    elif path.name.startswith("hub.db"):
        after = _mixed(sure, real, torn)
    else:  # two whole files of one name: a rename is there or not
        after = torn.choice((sure, real))
    if after != real:
        path.write_bytes(after)
        return 1
    return 0


def _mixed(sure: bytes, real: bytes, torn: random.Random) -> bytes:
    size = max(len(sure), len(real)) if torn.random() < 0.5 else len(sure)
    found = bytearray(size)
    found[: len(sure)] = sure[:size]
    for at in range(0, min(size, len(real)), SECTOR):
        if real[at : at + SECTOR] != sure[at : at + SECTOR] and torn.random() < 0.5:
            sector = real[at : min(at + SECTOR, size)]
            found[at : at + len(sector)] = sector
    return bytes(found)


def _passes(name: str) -> bool:
    return name.endswith(("-shm", ".lock", ".sock"))


def _passing(_: str, names: list[str]) -> set[str]:
    return {name for name in names if _passes(name) or name.endswith("sock")}

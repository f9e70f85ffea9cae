"""Putting a backup into an empty database on PostgreSQL: verified as every backup, then copied row by row and compared.

The backup is first made a store on SQLite, beside where large bodies go; that one is copied in one transaction (copying.py) and
removed.  A restore that is cut off leaves the database empty, and can be done again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hub.store import opening
from hub.store.copying import copy_store, must_be_empty
from hub.store.restoring import Restore, Restored


async def restore_into_postgres(
    work: Restore, url: str, files: Path, *, asking: Sequence[str], moved: bool, actor: str
) -> Restored:
    """Raises Refused when the database holds something, StoreError when the backup is not right or does not come out the same.

    `asking` and `moved` are those of Restore.run.
    """
    await must_be_empty(url)
    beside = files.with_name(f"{files.name}.restoring.db")
    _remove(beside)
    try:
        done = Restore(work.backup, beside, work.sealer).run(asking=asking, moved=moved, actor=actor)
        opening.migrate(beside, done.manifest.schema)
        await copy_store(beside, url, files)
    finally:
        _remove(beside)
    return replace(done, put_aside=None)


def _remove(store: Path) -> None:
    for end in ("", "-wal", "-shm", ".lock"):
        store.with_name(store.name + end).unlink(missing_ok=True)
    opening.restore_marker(store).unlink(missing_ok=True)
    shutil.rmtree(store.with_name(store.name + ".files"), ignore_errors=True)

"""`python -m connectors.simulators.fax_carrier --port 8276`: a fax carrier to try a clinic file with, until it is killed.

Account, password and keys are those in srfax.py, documo.py and rest.py.  With `--incoming FILE` that document comes in as a
fax.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from connectors.simulators.fax_carrier.carrier import Carrier


async def serve(port: int, incoming: bytes | None) -> None:
    async with Carrier(port=port) as carrier:
        if incoming is not None:
            carrier.receive("+17735550001", incoming)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A fax carrier to try things with; the last digit of a number decides.")
    parser.add_argument("--port", type=int, default=8276)
    parser.add_argument("--incoming", type=Path, help="a document that comes in")
    asked = parser.parse_args()
    asyncio.run(serve(asked.port, asked.incoming.read_bytes() if asked.incoming else None))

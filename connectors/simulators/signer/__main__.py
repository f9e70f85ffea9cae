"""`python -m connectors.simulators.signer`: a signing service to try packets with, until it is interrupted."""

from __future__ import annotations

import asyncio

import click

from connectors.simulators.signer.server import SigningService


@click.command()
@click.option("--port", default=8291, show_default=True, help="Where it listens, on this machine only.")
@click.option("--pace", default=0.5, show_default=True, help="Seconds between what signers do.")
@click.option("--hooks", default="", metavar="URL", help="Where it tells what happened; nowhere when not given.")
def main(port: int, pace: float, hooks: str) -> None:
    """Signers do what the first word of their e-mail address says: declines.jane@x.example declines; others sign."""
    asyncio.run(_serve(port, pace, hooks))


async def _serve(port: int, pace: float, hooks: str) -> None:
    async with SigningService(port=port, pace=pace) as service:
        service.hooks.url = hooks
        click.echo(f"signing service at {service.base}", err=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()

"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

config_option: Callable[[F], F] = click.option(
    "-c",
    "--config",
    "config",
    envvar="CLINIC_HUB_CONFIG",
    default="config/clinic.yaml",
    show_default=True,
    type=click.Path(dir_okay=False),
    help="The clinic file.",
)
json_option: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
phi_option: Callable[[F], F] = click.option("--phi", is_flag=True, help="Show patient data (audited).")


def selection_options(function: F) -> F:
    """Which messages are meant."""
    options = [
        click.option("--connection", metavar="NAME", help="Came in or goes out by this connection."),
        click.option("--type", "type", metavar="T", help="Message type, such as SIU^S12; ADT^* for all that begin so."),
        click.option(
            "--state", metavar="S", help="waiting, working, parked, held, delivered, skipped, unknown, quarantined, refused."
        ),
        click.option("--patient", metavar="ID", help="Patient number."),
        click.option("--control-id", metavar="ID", help="Control id (MSH-10, ISA13)."),
        click.option("--appointment", metavar="ID", help="Appointment id."),
        click.option("--since", metavar="TIME", help="A time (2026-11-23T08:00) or an age (24h, 3d)."),
        click.option("--limit", type=click.IntRange(1, 1_000_000), default=None, help="At most so many."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def selection(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters of an operation from the options above; those not given are left out."""
    from datetime import UTC, datetime, timedelta

    from hub.errors import Refused
    from hub.units import parse_duration

    chosen = {name: value for name, value in values.items() if value is not None}
    if since := chosen.get("since"):
        try:
            chosen["since"] = (datetime.now(UTC) - timedelta(seconds=parse_duration(since.lstrip("-")))).isoformat()
        except ValueError:
            try:
                moment = datetime.fromisoformat(since)
            except ValueError:
                raise Refused(f"--since {since!r} is no time; write 2026-11-23T08:00, 24h or 3d", code="CLI-005") from None
            chosen["since"] = moment.astimezone().isoformat()
    return chosen

"""`hub doctor`."""

from __future__ import annotations

import click

from hub.cli.options import config_option, json_option


@click.command()
@config_option
@json_option
def doctor(config: str, as_json: bool) -> int:
    """What this machine lacks for a hub, and how to mend it.

    Nothing is changed.  Without a clinic file only the machine is looked at.  Ends with 1 when something will not work.
    """
    from dataclasses import asdict
    from pathlib import Path

    from hub.cli.environment import Finding, examine_clinic, examine_machine
    from hub.cli.output import print_lines, say
    from hub.clinic import examine

    found = list(examine_machine())
    if not Path(config).exists():
        found.append(Finding("clinic file", "warning", f"there is no {config}", "name one with -c, or begin one: hub init DIR"))
    elif (examined := examine(Path(config), strict_secrets=False)).clinic is None or examined.errors:
        found.append(Finding("clinic file", "error", f"{config} is not in order", f"hub check -c {config}"))
    else:
        found += examine_clinic(examined.clinic)
    if as_json:
        print_lines(asdict(finding) for finding in found)
    else:
        for finding in found:
            click.echo(f"{finding.level:8} {finding.what}: {finding.text}")
            if finding.fix:
                click.echo(f"{'':8}  = do: {finding.fix}")
        wrong = sum(finding.level != "ok" for finding in found)
        say(f"{wrong} to look at" if wrong else "all is well")
    return 1 if any(finding.level == "error" for finding in found) else 0

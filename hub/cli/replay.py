"""`hub replay`: doing messages again."""

from __future__ import annotations

from typing import Any

import click

from hub.cli.options import config_option, json_option, selection_options


@click.command()
@click.argument("ids", nargs=-1)
@config_option
@selection_options
@click.option("--from", "from_step", metavar="STEP", help="Begin at this step of the flow.")
@click.option("--keep-ids", is_flag=True, help="What is sent keeps its ids, so that a partner can drop the repeat.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--yes", type=int, metavar="N", help="Replay, if N messages it is.")
@click.option("--wait", is_flag=True, help="Show how far it is, until all are handed on.")
@json_option
def replay(
    ids: tuple[str, ...],
    config: str,
    from_step: str | None,
    keep_ids: bool,
    dry_run: bool,
    yes: int | None,
    wait: bool,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Do messages again: by id, or by filter, for instance --state quarantined.

    It is refused unless --yes has the number that --dry-run tells.  Many messages are a job, which goes on after a restart
    (`hub jobs list`); fresh messages go before it.
    """
    from hub.cli.jobs import wait_for
    from hub.cli.operate import operate
    from hub.cli.options import selection
    from hub.cli.output import print_json

    params = {
        "ids": list(ids),
        "from_step": from_step,
        "keep_ids": keep_ids,
        "dry_run": dry_run,
        "yes": yes,
        **selection(chosen),
    }
    result = operate(config, "replay", params)
    if wait and result["job"]:
        result["replayed"] = wait_for(config, result["job"])["done"]
    if as_json:
        print_json(result)
    elif dry_run:
        click.echo(f"{result['count']} message(s) would be done again; to do it: --yes {result['count']}")
    else:
        click.echo(f"{result['replayed']} of {result['count']} message(s) are being done again (job {result['job']})")
    return 0

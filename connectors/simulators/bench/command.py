"""`hub bench`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--store", default="sqlite:///bench.db", show_default=True, help="Store to measure with; it should be a fresh one."
)
@click.option("--connections", default=32, show_default=True, type=click.IntRange(1, 1000), help="Senders at the same time.")
@click.option("--messages", default=10_000, show_default=True, type=click.IntRange(100), help="Messages that count.")
@click.option("--dir", "directory", type=click.Path(file_okay=False, path_type=Path), help="Where the store is put.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def bench(store: str, connections: int, messages: int, directory: Path | None, as_json: bool) -> int:
    """How fast a hub is here: receive, commit, acknowledge, map, send, done; beside a bare loop in the same run."""
    import asyncio
    import dataclasses
    import tempfile

    from connectors.simulators.bench.measure import measure_ceiling, measure_hub
    from hub.cli.output import print_json, say, table

    with tempfile.TemporaryDirectory(prefix="clinic-hub-bench-", dir=directory) as folder:
        hub_folder, bare_folder = Path(folder) / "hub", Path(folder) / "bare"
        hub_folder.mkdir()
        bare_folder.mkdir()
        say(
            f"{messages} messages of 1 KB over {connections} connection(s), first through a hub, then through the bare loop ..."
        )
        hub = asyncio.run(measure_hub(hub_folder, store, connections, messages))
        bare = asyncio.run(measure_ceiling(bare_folder, store, connections, messages))
    ratio = round(hub.delivered_per_second / bare.delivered_per_second, 3)
    if as_json:
        ceiling = {"ceiling_per_second": bare.delivered_per_second, "ceiling_ack_p50_ms": bare.ack_p50_ms}
        print_json({**dataclasses.asdict(hub), **ceiling, "ratio": ratio, "connections": connections, "messages": messages})
        return 0
    columns = ("", "delivered/s", "acknowledged/s", "ACK p50 ms", "ACK p99 ms", "CPU us/message")
    rows = [
        (name, f.delivered_per_second, f.acked_per_second, f.ack_p50_ms, f.ack_p99_ms, f.cpu_us)
        for name, f in (("hub", hub), ("bare loop", bare))
    ]
    table(columns, rows, empty="")
    say(f"the hub reaches {ratio:.0%} of the bare loop")
    return 0

"""`hub status`."""

from __future__ import annotations

from typing import Any

import click

from hub.cli.options import config_option, json_option

LANES = 20


@click.command()
@config_option
@click.option("--lanes", is_flag=True, help="The longest lanes as well: what waits for the same patient behind which message.")
@json_option
def status(config: str, lanes: bool, as_json: bool) -> int:
    """Connections, flows, backlog, oldest waiting, what stands still and why, alerts, last error."""
    from hub.cli.operate import operate
    from hub.cli.output import print_json, say, short_time, table
    from hub.units import age_in_words, size_in_words

    found = operate(config, "status", {"lanes": LANES} if lanes else {})
    if as_json:
        print_json(found)
        return 0
    say("ready" if found["ready"] else "not running")
    for stop in found["stops"]:
        say(f"stopped: {stop['where']}: {stop['text']} [{stop['code']}] {stop['help']}")
    for alert in found["alerts"]:
        say(f"alert: {alert['where']}: {alert['text']} [{alert['code']}] since {short_time(alert['since'])}")
    lines = [("connection", c) for c in found["connections"]] + [("flow", c) for c in found["flows"]]
    columns = ("", "name", "state", "waiting", "held", "oldest", "per s", "p99 ms", "last message (UTC)", "last error")
    table(columns, [_row(kind, c) for kind, c in lines], empty="no connections")
    for job in found.get("jobs", ()):
        say(f"job {job['id']}: {job['kind']} of {job['total']} messages, {job['looked']} looked at, {job['done']} done again")
    if (store := found["store"]).get("commit_ms"):
        rates = f"{store['commits_per_s']} commits/s with {store['rows_per_commit']} rows each"
        say(f"store: {rates}, {store['backlog']} waiting, {size_in_words(store['disk_free_bytes'])} free")
        say(f"up {age_in_words(found['up_s'])}; at most {found['loop_lag_ms']['worst']} ms late within the last minute")
    if lanes:
        table(_LANE, [_lane(line) for line in found["lanes"]], empty="nothing waits")
    return 0


_LANE = ("", "lane", "waiting", "oldest", "first message", "state", "attempts", "reason")


def _lane(line: dict[str, Any]) -> tuple[Any, ...]:
    from hub.units import age_in_words

    waits = (line["where"], line["lane"], line["waiting"], age_in_words(line["oldest_s"]))
    return (*waits, line["first"], line["state"], line["attempts"], line["reason"])


def _row(kind: str, line: dict[str, Any]) -> tuple[Any, ...]:
    """Of a connection what it receives or delivers, of a flow what it does: how often, and within which time almost all."""
    from hub.cli.output import short_time
    from hub.units import age_in_words

    rates = [line[name] for name in ("received_per_s", "delivered_per_s", "done_per_s") if name in line]
    spreads = [line[name] for name in ("acknowledged_ms", "received_to_delivered_ms", "run_ms") if name in line]
    return (
        kind,
        line["name"],
        line["state"],
        line["waiting"],
        line["held"],
        age_in_words(line["oldest_s"]) if line["waiting"] else "",
        f"{rates[-1]:.1f}" if rates else "",
        spreads[-1]["p99"] if spreads else "",
        short_time(line["last_message_at"]),
        line["last_error"],
    )

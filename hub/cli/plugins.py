"""`hub plugins`."""

from __future__ import annotations

from typing import Any

import click

from hub.cli.options import json_option


@click.command()
@json_option
def plugins(as_json: bool) -> int:
    """What is installed, and what it brings."""
    from hub.cli.output import print_lines, table
    from hub.registry import Registry

    registry = Registry()
    lines: list[dict[str, Any]] = []
    for name, module in sorted(registry.manager.list_name_plugin()):
        origin = getattr(module, "__name__", name)
        brings = sorted(key for key, brought_by in registry.catalogue.origin.items() if brought_by == origin)
        lines.append({"plugin": name, "module": origin, "distribution": registry.distributions.get(name), "brings": brings})
    if as_json:
        print_lines(lines)
        return 0
    table(
        ("plugin", "module", "package", "brings"),
        [(p["plugin"], p["module"], p["distribution"], ", ".join(p["brings"])) for p in lines],
        empty="none",
    )
    return 0

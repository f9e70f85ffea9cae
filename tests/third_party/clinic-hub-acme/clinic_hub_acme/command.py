"""A command: `hub acme`."""

import click


@click.command()
@click.argument("name")
def acme(name: str) -> int:
    """Greet somebody, as Acme does."""
    click.echo(f"Acme greets {name}")
    return 0

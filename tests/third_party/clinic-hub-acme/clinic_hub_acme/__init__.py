"""Everything a plugin can bring, in a few lines each."""

from pathlib import Path

from clinic_hub_acme.badge import Badge
from clinic_hub_acme.ledger import Ledger
from hub import Transform, hookimpl

HERE = Path(__file__).parent


@hookimpl
def register_connectors():
    return [Ledger]


@hookimpl
def register_steps():
    return [Badge]


@hookimpl
def register_transforms():
    return [Transform("initial", lambda value, _, __: f"{value[:1]}.", summary="the first letter, with a dot")]


@hookimpl
def register_mappings():
    return [HERE / "mappings"]


@hookimpl
def register_vendors():
    return [HERE / "vendors"]

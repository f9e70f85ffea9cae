"""`hub show`: what a file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.options import json_option


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
@click.option("--fhir", is_flag=True, help="Each 271 as FHIR R4 CoverageEligibilityResponse, a resource a line.")
def show(files: tuple[Path, ...], as_json: bool, fhir: bool) -> int:
    """What files say: HL7 v2 with field names, X12 with findings, a 271 as a benefits card.

    Exit 1 when something is wrong with one of them.
    """
    from hub.cli.output import print_json
    from hub.cli.show_text import show_hl7
    from hub.cli.show_x12 import show_x12
    from hub.formats.describe import describe

    bad = 0
    for file in files:
        content = _read(file)
        found = describe(content)
        if found["format"] == "x12":
            _check_claims(found, content)
        bad += _has_errors(found)
        if fhir:
            _print_fhir(found)
        elif as_json:
            print_json({"file": str(file), **found})
        elif found["format"] == "hl7v2":
            show_hl7(file, found, content)
        else:
            show_x12(file, found)
    return 1 if bad else 0


def _check_claims(found: dict[str, Any], content: bytes) -> None:
    """Claims and payments are for pyx12, where it is installed."""
    from hub.formats.x12.claims import check_claims, installed, sets_in

    kinds = sets_in(found)
    if kinds and installed():
        found["findings"] += [finding.as_dict() for finding in check_claims(content)]
    elif kinds:
        click.echo(f"{', '.join(kinds)} not checked inside: pip install 'clinic-hub[claims]'", err=True)


def _print_fhir(found: dict[str, Any]) -> None:
    from datetime import UTC, datetime

    from hub.cli.output import print_json
    from hub.formats.x12.fhir import resources

    for resource in resources(found, datetime.now(UTC).date()) if found["format"] != "hl7v2" else []:
        print_json(resource)


def _read(file: Path) -> bytes:
    from hub.errors import Refused

    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(f"cannot read {file}: {error.strerror}", code="CLI-006") from None


def _has_errors(found: dict[str, Any]) -> bool:
    findings = [*found["findings"], *(f for m in found.get("messages", []) for f in m["findings"])]
    return any(finding["level"] == "error" for finding in findings)

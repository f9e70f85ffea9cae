"""The vendor profiles that come with the hub: each can be used, and says truthfully how far it was tested."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hub.clinic import load_clinic
from hub.net.hosts import is_loopback
from hub.yaml_text import load_file
from tests.support import ROOT, clinic_folder

VENDORS = sorted(path.stem for path in (ROOT / "connectors/vendors").glob("*.yaml"))
HL7 = ["athenahealth", "cerner", "epic", "meditech", "nextgen"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_profile_says_who_it_is_for_and_where_that_comes_from(vendor: str) -> None:
    data = load_file(ROOT / f"connectors/vendors/{vendor}.yaml").data
    assert data["vendor"] == vendor
    assert data["proven"] in ("none", "simulator"), "nothing was tried against a real system yet"
    assert data["proven"] == "simulator" or data["notes"], "what is not proven says what to ask"


def addresses(value: Any) -> Iterator[str]:
    """Every URL that stands in a value, however deep."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from addresses(inner)
    elif isinstance(value, str) and "://" in value:
        yield value


@pytest.mark.parametrize("vendor", VENDORS)
def test_no_profile_leads_to_a_real_system_by_itself(vendor: str) -> None:
    """Real patients are asked about only where a person has written the address."""
    found = list(addresses(load_file(ROOT / f"connectors/vendors/{vendor}.yaml").data["kinds"]))
    assert [url for url in found if not is_loopback(urlsplit(url).hostname or "")] == []


def in_urls(value: Any) -> Iterator[str]:
    """The blanks of every path and query of a call, however deep."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name in ("path", "query"):
            yield from re.findall(r"\{([a-z_.]+)", str(inner))
        yield from in_urls(inner)


@pytest.mark.parametrize("vendor", VENDORS)
def test_no_url_says_anything_of_a_patient(vendor: str) -> None:
    """URLs are kept in the logs of every server and proxy on the way."""
    ids = {"account", "partner_id", "reference", "ticket", "document"}
    found = set(in_urls(load_file(ROOT / f"connectors/vendors/{vendor}.yaml").data["kinds"]))
    assert {blank for blank in found - ids if not blank.startswith("value.")} == set()


@pytest.mark.parametrize("vendor", HL7)
def test_a_profile_of_an_ehr_can_be_used_both_ways(tmp_path: Path, vendor: str) -> None:
    text = (
        f"connections:\n  a: {{vendor: {vendor}, kind: mllp_listener, port: '0'}}\n"
        f"  b: {{vendor: {vendor}, kind: mllp_sender, host: 127.0.0.1, port: 2575}}\n"
        "flows: {f: {from: a, steps: [{send: b}]}}\n"
    )
    assert set(load_clinic(clinic_folder(tmp_path, text)).settings.connections) == {"a", "b"}

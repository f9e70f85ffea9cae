"""Vendor profiles fill in what a clinic file leaves out: mappings merge, lists and scalars replace, errors name the file."""

from pathlib import Path
from typing import Any

import pytest

from hub.clinic import Examined
from tests.hub.settings.planted import found, look, look_planted, only, plant

PROFILE = """
vendor: acme
title: Acme
proven: none
kinds:
  http:
    url: https://acme.example/api
    timeout: 20s
    parallel: "4"
    headers: {X-Version: "3", X-Tenant: demo}
    auth: {token_url: https://acme.example/token, scope: read, client_id: profile}
    retry: {first: 2s, most: 1m, attempts: "7"}
  mllp_listener:
    port: "2600"
    allow_from: [10.0.0.0/8, 10.1.0.0/16]
"""
SECRET = "client_secret: {$file: secret.txt}"


def with_profile(folder: Path, connection: str, profile: str = PROFILE) -> Examined:
    return look(folder, f"connections:\n  it: {connection}\n", vendors__acme_yaml=profile, secret_txt="s3cret\n")


def config(examined: Examined) -> dict[str, Any]:
    assert examined.clinic is not None, examined.problems
    assert not examined.errors, examined.problems
    return examined.clinic.settings.connections["it"].config.model_dump(mode="json")


def test_what_the_clinic_leaves_out_comes_from_the_profile(tmp_path: Path) -> None:
    values = config(with_profile(tmp_path, "{vendor: acme, kind: http}"))
    assert (values["url"], values["timeout"], values["parallel"]) == ("https://acme.example/api", 20.0, 4)
    assert values["content_type"] == "application/octet-stream"


def test_what_the_clinic_says_wins(tmp_path: Path) -> None:
    values = config(with_profile(tmp_path, "{vendor: acme, kind: http, timeout: 5s, parallel: '1'}"))
    assert (values["timeout"], values["parallel"]) == (5.0, 1)


def test_mappings_merge_on_every_level(tmp_path: Path) -> None:
    ours = f"headers: {{X-Tenant: ours}}, auth: {{client_id: ours, {SECRET}}}, retry: {{attempts: '2'}}"
    values = config(with_profile(tmp_path, f"{{vendor: acme, kind: http, {ours}}}"))
    assert values["headers"] == {"X-Version": "3", "X-Tenant": "ours"}
    auth = values["auth"]
    assert (auth["client_id"], auth["scope"], auth["token_url"]) == ("ours", "read", "https://acme.example/token")
    assert values["retry"] == {"first": 2.0, "most": 60.0, "attempts": 2}


def test_lists_replace(tmp_path: Path) -> None:
    values = config(with_profile(tmp_path, "{vendor: acme, kind: mllp_listener, allow_from: [192.0.2.1]}"))
    assert values["allow_from"] == ["192.0.2.1"]
    assert values["port"] == 2600


def test_a_reference_to_a_secret_replaces_and_never_merges(tmp_path: Path) -> None:
    profile = PROFILE.replace("client_id: profile", "client_id: {$env: ACME_PROFILE_ID}")
    values = config(with_profile(tmp_path, "{vendor: acme, kind: http, auth: {client_id: {$file: secret.txt}}}", profile))
    assert values["auth"]["client_id"] == "s3cret"


def test_another_kind_replaces_the_whole_and_says_so(tmp_path: Path) -> None:
    examined = with_profile(tmp_path, "{vendor: acme, kind: mllp_sender, host: 127.0.0.1, port: '1'}")
    assert config(examined)["timeout"] == 30.0
    (warning,) = examined.problems
    assert (warning.code, warning.level) == ("CFG-017", "warning")
    assert "http" in warning.expected


def test_a_profile_with_one_kind_says_which_it_is(tmp_path: Path) -> None:
    profile = "vendor: acme\nproven: none\nkinds: {http: {url: https://acme.example}}\n"
    assert config(with_profile(tmp_path, "{vendor: acme}", profile))["kind"] == "http"


def test_a_profile_with_several_kinds_leaves_the_choice_to_the_clinic(tmp_path: Path) -> None:
    assert only(with_profile(tmp_path, "{vendor: acme}")).code == "CFG-013"


def test_a_setting_without_a_value_leaves_what_the_profile_says(tmp_path: Path) -> None:
    """A bare key says nothing (yaml_text): a person who deletes `5s` gets the vendor's value back, not a value nobody wrote."""
    assert config(with_profile(tmp_path, "{vendor: acme, kind: http, timeout: }"))["timeout"] == 20.0


def test_an_unknown_vendor_is_told_at_its_place(tmp_path: Path) -> None:
    problem = only(with_profile(tmp_path, "{vendor: acne, kind: mllp_listener, port: '1'}"))
    assert (problem.code, problem.line, problem.column) == ("CFG-016", 5, 16)
    assert problem.help == "did you mean 'acme'?"


def test_the_clinics_own_profile_replaces_a_built_in_one(tmp_path: Path) -> None:
    profile = "vendor: epic\nproven: live\nkinds: {mllp_listener: {port: '4711'}}\n"
    examined = look(tmp_path, "connections:\n  it: {vendor: epic, kind: mllp_listener}\n", vendors__epic_yaml=profile)
    assert config(examined)["port"] == 4711


# Mistakes name the file they are in.

MARKED = """vendor: acme
proven: none
kinds:
  http:
    url: https://acme.example/api
    timeout: «CFG-019»twenty
    retry: {first: 2s, «CFG-020»atempts: "7"}
    auth:
      user: clinic
      password: «CFG-051»PROFILE-CANARY-1
"""


def test_a_mistake_in_a_profile_is_shown_in_the_profile(tmp_path: Path) -> None:
    expected = plant(tmp_path / "vendors" / "acme.yaml", MARKED)
    examined = look(tmp_path, "connections:\n  it: {vendor: acme, kind: http}\n")
    assert found(examined.problems) == expected
    assert {p.file for p in examined.problems} == {str(tmp_path / "vendors" / "acme.yaml")}
    assert not any("PROFILE-CANARY" in f"{p.text} {p.source} {p.expected} {p.help}" for p in examined.problems)


def test_a_mistake_of_the_clinic_over_a_profile_is_shown_in_the_clinic_file(tmp_path: Path) -> None:
    plant(tmp_path / "vendors" / "acme.yaml", PROFILE)
    examined, expected = look_planted(
        tmp_path, "connections:\n  it: {vendor: acme, kind: http, retry: {attempts: «CFG-019»none}}\n"
    )
    assert found(examined.problems) == expected


def test_two_connections_of_one_wrong_profile_are_each_told(tmp_path: Path) -> None:
    profile = "vendor: acme\nproven: none\nkinds:\n  http: {url: https://acme.example, tiemout: 5s}\n"
    text = "connections:\n  one: {vendor: acme, kind: http}\n  two: {vendor: acme, kind: http}\n"
    examined = look(tmp_path, text, vendors__acme_yaml=profile)
    assert [(p.code, Path(p.file).name, p.line) for p in examined.errors] == [("CFG-020", "acme.yaml", 4)] * 2


WRONG_PROFILES = {
    "empty": ("", "CFG-060", 1),
    "no kinds": ("vendor: acme\nproven: none\n", "CFG-060", 1),
    "an unknown field": ("vendor: acme\nproven: none\ncolour: red\nkinds: {http: {}}\n", "CFG-060", 3),
    "not said how far it was tested": ("vendor: acme\nkinds: {http: {}}\n", "CFG-061", 1),
    "tested in a way that is none": ("vendor: acme\nproven: surely\nkinds: {http: {}}\n", "CFG-061", 2),
    "for a connector there is not": ("vendor: acme\nproven: none\nkinds: {htpp: {}}\n", "CFG-062", 3),
    "no YAML": ("vendor: [acme\n", "CFG-002", 2),
    "a key written twice": ("vendor: acme\nproven: none\nproven: live\nkinds: {http: {}}\n", "CFG-007", 3),
    "an unknown setting": ("vendor: acme\nproven: none\nkinds:\n  http: {tiemout: 5s}\n", "CFG-020", 4),
    "a setting of the wrong type": ("vendor: acme\nproven: none\nkinds:\n  http: {timeout: five}\n", "CFG-019", 4),
}


@pytest.mark.parametrize(("profile", "code", "line"), WRONG_PROFILES.values(), ids=WRONG_PROFILES)
def test_a_wrong_profile_is_told_even_when_no_connection_uses_it(tmp_path: Path, profile: str, code: str, line: int) -> None:
    examined = look(tmp_path, "", vendors__acme_yaml=profile)
    assert (code, "acme.yaml", line) in [(p.code, Path(p.file).name, p.line) for p in examined.errors]


def test_the_profiles_that_come_with_the_hub_are_in_order(tmp_path: Path) -> None:
    assert not look(tmp_path, "").problems


# Where values come from.


def test_every_value_remembers_where_it_came_from(tmp_path: Path) -> None:
    examined = with_profile(tmp_path, f"{{vendor: acme, kind: http, timeout: 5s, auth: {{client_id: ours, {SECRET}}}}}")
    assert examined.clinic is not None
    effective = examined.clinic.settings.connections["it"].effective
    profile, clinic = tmp_path / "vendors" / "acme.yaml", tmp_path / "clinic.yaml"
    assert effective["timeout"] == (5.0, f"{clinic}:5")
    assert effective["url"] == ("https://acme.example/api", f"{profile}:7")
    assert effective["auth.scope"] == ("read", f"{profile}:11")
    assert effective["auth.client_id"] == ("ours", f"{clinic}:5")
    assert effective["auth.client_secret"] == ({"$file": "secret.txt"}, f"{clinic}:5")
    assert effective["retry.attempts"] == (7, f"{profile}:12")
    assert effective["method"] == ("POST", "default")
    assert effective["auth.user"] == (None, "default")


@pytest.mark.parametrize(
    "connection",
    [
        "{vendor: acme, kind: http, auth: {client_secret: {$file: secret.txt}}}",
        "{vendor: acme, kind: http, headers: {X-Key: {$file: secret.txt}}}",
        "{vendor: acme, kind: http, auth: {scope: {$file: secret.txt}}}",
        "{vendor: acme, kind: mllp_listener, allow_plaintext: {$file: secret.txt}}",
    ],
    ids=["a secret setting", "a header", "a plain setting", "a text"],
)
def test_no_secret_is_among_the_values_that_are_shown(tmp_path: Path, connection: str) -> None:
    examined = with_profile(tmp_path, connection)
    assert examined.clinic is not None
    assert not examined.errors
    assert "s3cret" not in str(examined.clinic.settings.connections["it"].effective)

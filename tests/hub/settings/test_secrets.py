"""Secrets are references, never literals: they are found where they are kept, and nothing a person reads shows one."""

from pathlib import Path

import pytest

from hub.catalogue import Catalogue
from hub.cli.output import render
from hub.clinic import Examined, load_clinic
from hub.errors import ConfigError
from hub.registry import Registry
from hub.settings import load_settings
from tests.hub.settings.planted import HEAD, look, only
from tests.support import environment

CANARY = "hunter2-CANARY-9f"


def http(auth: str) -> str:
    return f"connections:\n  it: {{kind: http, url: http://127.0.0.1:1/, auth: {auth}}}\n"


def secret(examined: Examined) -> str:
    assert examined.clinic is not None, examined.problems
    auth = examined.clinic.settings.connections["it"].config.auth  # type: ignore[attr-defined]
    return str(auth.api_key.get_secret_value())


def everything_shown(examined: Examined) -> str:
    return "\n".join(f"{render(p)} {p!r}" for p in examined.problems)


# References.


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    with environment(CLINIC_TEST_SECRET=CANARY):
        assert secret(look(tmp_path, http("{api_key: {$env: CLINIC_TEST_SECRET}}"), strict=True)) == CANARY


@pytest.mark.parametrize("content", [CANARY, f"{CANARY}\n", f"  {CANARY}\r\n"], ids=["bare", "with a line end", "with blanks"])
def test_a_secret_comes_from_a_file_beside_the_clinic_file(tmp_path: Path, content: str) -> None:
    examined = look(tmp_path, http("{api_key: {$file: deep/secret.txt}}"), strict=True, deep__secret_txt=content)
    assert secret(examined) == CANARY


def catalogue_with(find: object) -> Catalogue:
    catalogue = Registry().catalogue
    catalogue.find_secret = find  # type: ignore[assignment]
    return catalogue


def test_a_secret_comes_from_a_plugin(tmp_path: Path) -> None:
    file = tmp_path / "clinic.yaml"
    file.write_text(HEAD + http("{api_key: {$secret: vault/clearinghouse}}"), encoding="utf-8")
    loaded = load_settings(file, catalogue_with({"vault/clearinghouse": CANARY}.get))
    auth = loaded.require().connections["it"].config.auth  # type: ignore[attr-defined]
    assert auth.api_key.get_secret_value() == CANARY


def test_a_plugin_that_fails_to_find_a_secret_is_a_problem_at_its_place(tmp_path: Path) -> None:
    def broken(reference: str) -> str | None:
        raise RuntimeError(f"the vault says {CANARY}")

    file = tmp_path / "clinic.yaml"
    file.write_text(HEAD + http("{api_key: {$secret: x}}"), encoding="utf-8")
    (problem,) = load_settings(file, catalogue_with(broken)).problems
    assert (problem.code, problem.line) == ("CFG-050", 5)
    assert CANARY not in problem.text


NOT_THERE = {
    "an environment variable": ("{$env: CLINIC_TEST_NOT_SET}", "CLINIC_TEST_NOT_SET"),
    "a file": ("{$file: no_such.txt}", "no_such.txt"),
    "a folder": ("{$file: .}", "."),
    "a plugin's secret": ("{$secret: unknown}", "unknown"),
}


@pytest.mark.parametrize(("reference", "name"), NOT_THERE.values(), ids=NOT_THERE)
def test_a_secret_that_is_not_there_keeps_the_hub_from_running(tmp_path: Path, reference: str, name: str) -> None:
    text = http(f"{{api_key: {reference}}}")
    problem = only(look(tmp_path, text, strict=True))
    assert (problem.code, problem.line, problem.column) == ("CFG-050", 5, text.splitlines()[1].index("{$") + 1)
    assert name in problem.text


@pytest.mark.parametrize(("reference", "name"), NOT_THERE.values(), ids=NOT_THERE)
def test_hub_check_on_another_machine_only_warns_about_it(tmp_path: Path, reference: str, name: str) -> None:
    examined = look(tmp_path, http(f"{{api_key: {reference}}}"))
    assert not examined.errors
    assert [(p.code, p.level) for p in examined.problems] == [("CFG-050", "warning")]


@pytest.mark.parametrize(
    "text",
    [
        "connections:\n  it: {kind: mllp_sender, host: {$env: CLINIC_TEST_NOT_SET}, port: '6661'}\n",
        "connections:\n  it: {kind: mllp_listener, port: {$env: CLINIC_TEST_NOT_SET}}\n",
        "connections:\n  it: {kind: http, url: {$env: CLINIC_TEST_NOT_SET}}\n",
    ],
    ids=["a host", "a port", "an address"],
)
def test_a_value_that_is_not_set_here_is_only_a_warning_whatever_it_is_for(tmp_path: Path, text: str) -> None:
    examined = look(tmp_path, text)
    assert [(p.code, p.level) for p in examined.problems] == [("CFG-050", "warning")]


@pytest.mark.parametrize("reference", ["{$vault: x}", "{$ENV: X}", "{$env: [X]}", "{$file: {a: b}}"])
def test_a_way_to_secrets_that_is_none_is_an_error_even_for_hub_check(tmp_path: Path, reference: str) -> None:
    problem = only(look(tmp_path, http(f"{{api_key: {reference}}}")))
    assert problem.code == "CFG-050"
    assert "$env, $file, $secret" in problem.text


def test_an_empty_secret_is_as_good_as_none(tmp_path: Path) -> None:
    with environment(CLINIC_TEST_SECRET=""):
        examined = look(tmp_path, http("{api_key: {$env: CLINIC_TEST_SECRET}}"), strict=True)
    assert only(examined).code == "CFG-050"


def test_any_value_may_be_a_reference(tmp_path: Path) -> None:
    head = 'organisation: {name: A, npi: "1234567893", tax_id: {$env: CLINIC_TEST_TAX}}\nsites: {main: {timezone: UTC}}\n'
    with environment(CLINIC_TEST_TAX="12-3456789"):
        examined = look(tmp_path, "", head=head)
    assert examined.clinic is not None
    assert examined.clinic.settings.organisation.tax_id == "12-3456789"


# Literals.

LITERALS = {
    "client_secret": f"{{token_url: https://t.example, client_id: c, client_secret: {CANARY}}}",
    "password": f"{{user: clinic, password: {CANARY}}}",
    "api_key": f"{{api_key: {CANARY}}}",
    "quoted": f'{{api_key: "{CANARY}"}}',
}


@pytest.mark.parametrize("auth", LITERALS.values(), ids=LITERALS)
def test_a_literal_secret_is_refused_and_never_shown(tmp_path: Path, auth: str) -> None:
    examined = look(tmp_path, http(auth))
    problem = only(examined)
    assert (problem.code, problem.line) == ("CFG-051", 5)
    assert "$env" in problem.expected
    assert CANARY not in everything_shown(examined)


def test_a_literal_secret_in_a_list_is_refused_and_never_shown(tmp_path: Path) -> None:
    verify = f"verify: {{how: token, signature: {{header: X}}, secrets: [{{$env: CLINIC_TEST_KEY}}, {CANARY}]}}"
    with environment(CLINIC_TEST_KEY="good"):
        examined = look(tmp_path, one(f"kind: webhook_listener, port: '0', path: /x, {verify}"))
    assert only(examined).code == "CFG-051"
    assert CANARY not in everything_shown(examined)


URL = "url: http://127.0.0.1:1/"


def one(settings: str) -> str:
    return f"connections:\n  it: {{{settings}}}\n"


BLOCK = f"connections:\n  it:\n    kind: http\n    {URL}\n    auth:\n"

AROUND = {
    "another mistake in its line": http(f"{{client_secret: {CANARY}, colour: red}}"),
    "a wrong value in its line": one(f"kind: http, url: ftp://x, auth: {{password: {CANARY}}}"),
    "a connector there is not": one(f"kind: htpp, auth: {{password: {CANARY}}}"),
    "a connection without a kind": one(f"{URL}, auth: {{password: {CANARY}}}"),
    "a vendor there is not": one(f"vendor: nobody, kind: http, {URL}, auth: {{password: {CANARY}}}"),
    "a misspelt name": http(f"{{pasword: {CANARY}}}"),
    "a name in the wrong place": one(f"kind: http, {URL}, password: {CANARY}"),
    "a second value": f"{BLOCK}      api_key: {{$env: CLINIC_TEST_NOT_SET}}\n      api_key: {CANARY}\n",
    "an anchor": http(f"{{password: &p {CANARY}}}"),
    "a tag": http(f"{{password: !!str {CANARY}}}"),
    "a syntax error in its line": f"connections:\n  it: {{kind: http, auth: {{password: {CANARY}]}}}}\n",
    "a list where a secret belongs": http(f"{{password: [{CANARY}]}}"),
    "credentials in an address": one(f"kind: http, url: 'https://clinic:{CANARY}@x.example'"),
    "a block over two lines": f"{BLOCK}      password: |\n        {CANARY}\n",
    "spelt with an escape": http('{password: "hunter2\\x2DCANARY-9f"}'),
}


@pytest.mark.parametrize("text", AROUND.values(), ids=AROUND)
def test_no_mistake_near_a_literal_secret_shows_it(tmp_path: Path, text: str) -> None:
    examined = look(tmp_path, text)
    assert examined.errors
    assert CANARY not in everything_shown(examined)
    assert "hunter2" not in everything_shown(examined)


def test_an_error_about_a_resolved_secret_does_not_show_it(tmp_path: Path) -> None:
    with environment(CLINIC_TEST_SECRET=CANARY):
        text = "connections:\n  it: {kind: http, url: {$env: CLINIC_TEST_SECRET}, timeout: {$env: CLINIC_TEST_SECRET}}\n"
        examined = look(tmp_path, text, strict=True)
    assert len(examined.errors) == 2
    assert CANARY not in everything_shown(examined)


def test_settings_and_errors_hide_their_secrets_when_they_are_printed(tmp_path: Path) -> None:
    with environment(CLINIC_TEST_SECRET=CANARY):
        look(tmp_path, http("{api_key: {$env: CLINIC_TEST_SECRET}}"))
        clinic = load_clinic(tmp_path / "clinic.yaml")
        assert CANARY not in repr(clinic)
        look(tmp_path, http("{api_key: {$env: CLINIC_TEST_SECRET}, colour: red}"))
        with pytest.raises(ConfigError) as caught:
            load_clinic(tmp_path / "clinic.yaml")
    assert CANARY not in repr(caught.value)
    assert CANARY not in str(caught.value)

"""`hub explain`: what a code means and what to do."""

import pytest

from hub.codes import CODES
from tests.hub.cli.conftest import Cli


@pytest.mark.parametrize("code", ["CFG-020", "cfg-020", "MAP-001", "X12-SE01", "x12-isa-length"])
def test_a_code_is_explained_however_it_is_typed(cli: Cli, code: str) -> None:
    done = cli("explain", code)
    meaning, help = CODES[code.upper()]
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{code.upper()}: {meaning}\n\nWhat to do: {help}\n"


def test_as_json_it_is_one_object(cli: Cli) -> None:
    assert cli("explain", "CFG-020", "--json").json == dict(
        zip(("code", "meaning", "help"), ("CFG-020", *CODES["CFG-020"]), strict=True)
    )


def test_all_codes_are_listed_in_order(cli: Cli) -> None:
    text, lines = cli("explain"), cli("explain", "--json")
    assert [line.split()[0] for line in text.out.splitlines()] == sorted(CODES)
    assert [line["code"] for line in lines.lines] == sorted(CODES)
    assert all(line["meaning"] and line["help"] for line in lines.lines)


def test_a_code_there_is_not_ends_with_1_and_nothing_on_stdout(cli: Cli) -> None:
    done = cli("explain", "CFG-999")
    assert (done.code, done.out) == (1, "")
    assert "hub explain" in done.err

"""The libraries of mail have one home each; import-linter does not look at those of Python itself."""

from __future__ import annotations

import re

from tests.support import ROOT

HOMES = {"smtplib": {"hub/net/mail.py"}, "imaplib": {"hub/net/imap.py"}}
IMPORT = re.compile(r"^\s*(?:import|from)\s+(smtplib|imaplib|poplib)\b", re.MULTILINE)


def test_mail_is_handed_in_and_fetched_in_one_place() -> None:
    found: dict[str, set[str]] = {}
    for folder in ("hub", "connectors", "plugins", "mappings"):
        for file in (ROOT / folder).rglob("*.py"):
            for name in IMPORT.findall(file.read_text(encoding="utf-8")):
                found.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    assert found == HOMES

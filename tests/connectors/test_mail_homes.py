"""The libraries of mail have one home each; import-linter does not look at those of Python itself."""

from __future__ import annotations

import ast

from tests.support import ROOT

HOMES = {"smtplib": "hub/net/mail.py", "imaplib": "hub/net/imap.py", "poplib": "nowhere"}


def test_mail_is_handed_in_and_fetched_in_one_place() -> None:
    found: dict[str, set[str]] = {}
    for folder in ("hub", "connectors", "plugins", "mappings"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in {*names} & HOMES.keys():
                    found.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    assert found == {"smtplib": {HOMES["smtplib"]}, "imaplib": {HOMES["imaplib"]}}

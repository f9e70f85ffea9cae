"""A mail is handed over in pieces, and a dot at the beginning of a line is doubled wherever a piece begins."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st

from hub.net import mail
from hub.net.mail import MailServer


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b".", b"..", b"\r\n", b"a", b".\r\n", b"line"]), max_size=40).map(b"".join), st.integers(1, 12)
)
def test_dots_are_doubled_whatever_the_pieces(content: bytes, piece: int) -> None:
    before, mail.PIECE = mail.PIECE, piece
    try:
        assert b"".join(mail._stuffed(content)) == re.sub(rb"(?m)^\.", b"..", content)
    finally:
        mail.PIECE = before


@pytest.mark.parametrize("secret", ["password", "token"])
def test_secrets_are_not_in_the_repr_of_a_server(secret: str) -> None:
    assert "hush" not in repr(MailServer("mail.example", 587, "starttls", "hub", **{secret: "hush"}))

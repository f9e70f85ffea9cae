"""Texts as others may read them.  Imports nothing, so that errors can use it."""

from __future__ import annotations


def whole_characters(text: str) -> str:
    """The text with `?` for half characters (lone surrogates), which cannot be written anywhere."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode()

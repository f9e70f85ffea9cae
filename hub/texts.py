"""Texts as others may read them.  Imports nothing, so that errors can use it."""

from __future__ import annotations


def whole_characters(text: str) -> str:
    """The text with `?` for half characters (lone surrogates) and for NUL, which cannot be written everywhere."""
    if "\0" in text:
        text = text.replace("\0", "?")
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode()

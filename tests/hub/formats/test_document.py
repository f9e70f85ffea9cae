"""Documents inside messages: all spellings of encapsulated data, and what kind of bytes they are."""

import base64
import contextlib
import itertools

import pytest
from hypothesis import given, strategies as st

from hub.formats.document import embedded, media_type
from tests.hub.formats.messages import PROPERTY

PDF = b"%PDF-1.4\n" + bytes(range(256))
CODE = base64.b64encode(PDF).decode()


@pytest.mark.parametrize(
    "pieces",
    [
        [f"^AP^PDF^Base64^{CODE}"],
        [f"PDF^Base64^{CODE}"],
        [f"^application^pdf^BASE64^{CODE}"],
        [f"Base64^{CODE}"],
        [f"*AP*PDF*Base64*{CODE}"],
        [f"^A^PDF^Base64^{CODE}"],
        [f"^AP^PDF^Base64^{CODE.rstrip('=')}"],
        ["^AP^PDF^Base64^" + "\n".join(CODE[i : i + 76] for i in range(0, len(CODE), 76))],
        [f"^AP^PDF^Base64^{CODE[:101]}", f"^AP^PDF^Base64^{CODE[101:]}"],
        [f"^AP^PDF^Base64^{CODE[:100]}", CODE[100:]],
        ["^AP^PDF^Base64^" + base64.b64encode(PDF[:100]).decode(), base64.b64encode(PDF[100:]).decode()],
        ["^AP^PDF^Base64^" + base64.b64encode(PDF[:100]).decode() + base64.b64encode(PDF[100:]).decode()],
        [f"^AP^PDF^Hex^{PDF.hex()}"],
        [f"^AP^PDF^hex^{PDF.hex()[:33]}", PDF.hex()[33:]],
    ],
    ids=repr,
)
def test_a_document_is_read_however_it_is_spelled(pieces: list[str]) -> None:
    assert embedded(pieces) == PDF


def test_text_may_stand_as_it_is() -> None:
    assert embedded(["^TX^plain^A^Größe: 1^2"]) == "Größe: 1^2".encode()


@pytest.mark.parametrize(
    "pieces",
    [
        ["SECRET"], ["^AP^PDF^Zip^SECRET"], ["^AP^PDF^Base64^SECRET!"], ["^AP^PDF^Hex^SECRET"], ["^AP^PDF^Base64^SECRE"],
        [f"^AP^PDF^Base64^{CODE}", f"^AP^PDF^Base64^{CODE}"],
    ],
)  # fmt: skip
def test_what_is_none_is_refused_without_being_told(pieces: list[str]) -> None:
    with pytest.raises(ValueError) as refused:
        embedded(pieces)
    assert "SECRE" not in str(refused.value)


@PROPERTY
@given(content=st.binary(min_size=1, max_size=300), cuts=st.lists(st.integers(0, 400), max_size=4), each=st.booleans())
def test_any_document_in_any_pieces_is_itself(content: bytes, cuts: list[int], each: bool) -> None:
    whole = content if each else base64.b64encode(content).decode().encode()
    marks = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    parts = [whole[a:b] for a, b in itertools.pairwise(marks)]
    if each:
        parts = [base64.b64encode(part) for part in parts]
    assert embedded([f"^AP^X^Base64^{part.decode()}" for part in parts]) == content


@PROPERTY
@given(pieces=st.lists(st.text(alphabet="^Aa=~base64hex \n0", max_size=40), max_size=4))
def test_any_pieces_are_a_document_or_none(pieces: list[str]) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(embedded(pieces), bytes)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"%PDF-1.7", "application/pdf"), (b"\n%PDF-1.4", "application/pdf"), (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
        (b"\x89PNG\r\n", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"{\\rtf1", "application/rtf"),
        (b"PK\3\4", "application/zip"), (b"<?xml version='1.0'?>", "application/xml"),
        (b"<ClinicalDocument>", "application/xml"),
        (b"<html>", "text/html"), (b"<!DOCTYPE html>", "text/html"), ("Größe\n".encode(), "text/plain"), (b"", "text/plain"),
        (b"\xff\xfe", "application/octet-stream"), (b"a\0b", "application/octet-stream"),
    ],
)  # fmt: skip
def test_a_document_is_known_by_its_first_bytes(content: bytes, expected: str) -> None:
    assert media_type(content) == expected

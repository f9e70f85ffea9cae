"""Bodies of several parts: what is written is read again to the byte, and what others write is read as far as it is one."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from hub.net.multipart import MultipartUnusable, Part, media_type, read_parts, write_parts

KIND = 'multipart/related; type="application/xop+xml"; start="<a@b>"; boundary="B"'


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_what_is_written_is_read_again_to_the_byte(bodies: list[bytes]) -> None:
    body, boundary = write_parts([Part(b, {"content-disposition": f'form-data; name="F{n}"'}) for n, b in enumerate(bodies)])
    found = read_parts(body, f'multipart/form-data; boundary="{boundary}"')
    assert [(part.name, part.body) for part in found] == [(f"F{n}", b) for n, b in enumerate(bodies)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_what_others_write_is_read(end: bytes) -> None:
    lines = [b"a preamble", b"--B  ", b"Content-Type: text/xml;", b"  charset=utf-8", b"CONTENT-ID: <a@b>", b"", b"<x/>"]
    lines += [b"--B", b"", b"no headers", b"--B--", b"an epilogue", b""]
    first, second = read_parts(end.join(lines), KIND)
    assert (first.body, first.content_id, first.media_type) == (b"<x/>", "a@b", "text/xml")
    assert (second.body, second.headers) == (b"no headers", {})


def test_a_transfer_encoding_is_undone() -> None:
    encoded = Part(b"SVNB\r\nKg==\r\n", {"content-transfer-encoding": "Base64"})
    assert encoded.content == b"ISA*"
    assert Part(b"SVNB", {"content-transfer-encoding": "binary"}).content == b"SVNB"
    with pytest.raises(MultipartUnusable, match="Base64"):
        _ = Part(b"ISA*", {"content-transfer-encoding": "base64"}).content


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"--B\r\n\r\nx\r\n--B--", "multipart/related", "no boundary"),
        (b"--B\r\n\r\nx\r\n--B--", "", "no boundary"),
        (b"--C\r\n\r\nx\r\n--C--", KIND, "not in it"),
        (b"", KIND, "not in it"),
        (b"--B\r\n\r\nx", KIND, "end is missing"),
        (b"--B\r\nA: b\r\n--B--", KIND, "end of its headers"),
        (b"--B\r\n\r\n\r\n" * 1001 + b"--B--", KIND, "too many"),
        (b"--B\r\nA: b\r\n" + b" c\r\n" * 10_000 + b"\r\nx\r\n--B--", KIND, "headers of a part are too long"),
    ],
)
def test_what_is_refused(body: bytes, kind: str, says: str) -> None:
    with pytest.raises(MultipartUnusable, match=says):
        read_parts(body, kind)


@given(st.binary(max_size=200), st.text(max_size=60))
def test_any_bytes_and_any_header_give_parts_or_a_refusal(body: bytes, kind: str) -> None:
    for content_type in (kind, KIND, f"multipart/related; boundary={kind}"):
        try:
            for part in read_parts(b"--B\r\n" + body + b"\r\n--B--", content_type):
                assert isinstance(part.name + part.content_id + part.media_type, str)
        except MultipartUnusable:
            pass


def test_a_media_type_is_told_without_its_parameters() -> None:
    assert media_type(" Multipart/Related ; boundary=x") == "multipart/related"

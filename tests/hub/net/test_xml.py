"""XML of partners: read when it is plain, refused with a reason when it is not, without a word of it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from hub.net.xml import MOST_DEPTH, XmlUnusable, local_name, parse_xml
from hub.testing import CANARY

REFUSED = {
    "entities that grow": (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>', "document type"),
    "a file": (b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><x>&f;</x>', "document type"),
    "a document type": (b"<!DOCTYPE x><x/>", "document type"),
    "very deep": (b"<x>" * (MOST_DEPTH + 1) + b"</x>" * (MOST_DEPTH + 1), "within each other"),
    "very many": (b"<x>" + b"<y/>" * 100_001 + b"</x>", "too many elements"),
    "very long": (b"<x>" + b" " * (32 * 1024 * 1024) + b"</x>", "longer than"),
    "an unknown encoding": (b'<?xml version="1.0" encoding="klingon"?><x/>', "encoding"),
    "bytes of another encoding": (b'<?xml version="1.0" encoding="utf-8"?><x>\xff</x>', "no XML"),
    "half of it": (b"<x><y>", "no XML"),
    "nothing": (b"", "no XML"),
    "an entity nobody declared": (b"<x>&nbsp;</x>", "no XML"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    data, says = REFUSED[name]
    with pytest.raises(XmlUnusable, match=says):
        parse_xml(data)


def test_the_reason_has_nothing_of_it() -> None:
    with pytest.raises(XmlUnusable) as caught:
        parse_xml(f"<{CANARY}>{CANARY}</x>".encode())
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_what_is_read(encoding: str) -> None:
    root = parse_xml(
        f'<?xml version="1.0" encoding="{encoding}"?><a xmlns="urn:x"><b>Müller &amp; &#8212;</b></a>'.encode(encoding)
    )
    assert [local_name(element) for element in root.iter()] == ["a", "b"]
    assert root[0].text == "Müller & —"
    assert len(list(parse_xml(b"<x>" * MOST_DEPTH + b"</x>" * MOST_DEPTH).iter())) == MOST_DEPTH


@given(st.binary(max_size=200), st.sampled_from([b"", b"<x>", b'<?xml version="1.0" encoding="', b"<!DOCTYPE x ["]))
def test_any_bytes_give_an_element_or_a_refusal(data: bytes, head: bytes) -> None:
    try:
        parse_xml(head + data)
    except XmlUnusable:
        pass

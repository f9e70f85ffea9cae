"""XML of partners: the only place where it is parsed.

No document type, and so no entities that grow or read files; bytes, elements and depth are bounded.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MOST_BYTES = 32 * 1024 * 1024
MOST_DEPTH = 100
"""Elements within each other."""
MOST_ELEMENTS = 100_000

__all__ = ["Element", "XmlUnusable", "local_name", "parse_xml"]


class XmlUnusable(Exception):
    """It is no XML, or none that is read; the text says why without a word of it."""


def parse_xml(data: bytes) -> Element:
    """The root element.  Total: any bytes give an element or XmlUnusable."""
    if len(data) > MOST_BYTES:
        raise XmlUnusable(f"it is longer than {MOST_BYTES} bytes")
    parser = DefusedXMLParser(target=_Bounded(), forbid_dtd=True)
    try:
        parser.feed(data)
        root = parser.close()
    except DefusedXmlException:
        raise XmlUnusable("it has a document type or entities, which are refused") from None
    except ParseError as error:
        line, column = error.position
        raise XmlUnusable(f"it is no XML (line {line}, column {column})") from None
    except (ValueError, LookupError):  # an encoding nobody knows, or text that is not of it
        raise XmlUnusable("its encoding is unknown or wrong") from None
    return root


def local_name(element: Element) -> str:
    """The name without its namespace."""
    return str(element.tag).rpartition("}")[2]


class _Bounded(TreeBuilder):
    """Builds the tree, as long as it is one."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._count = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        self._count += 1
        if self._depth > MOST_DEPTH or self._count > MOST_ELEMENTS:
            raise XmlUnusable("it has too many elements, or too many within each other")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)

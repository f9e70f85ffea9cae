"""Documents as pages: what PDF, TIFF, JPEG and PNG bytes are, and what they can become.

    looked = await look(message.payload)
    if looked.state != "whole": ...
    fax = await to_tiff(await join(await cover("Referral", ["3 pages"], code="F-1"), letter))

Anybody can send a document, so none is opened in the hub: a process of its own does it, with limits on time, memory, pages and
pixels (hub/formats/pages/process.py).  A document that is broken or hostile has a state that says so, and the hub goes on.
Text is read where the document has some; letters in pictures are not recognised.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.formats.pages.documents import (
        BarCode as BarCode,
        Compression as Compression,
        Looked as Looked,
        Page as Page,
        Resolution as Resolution,
        UnusableDocument as UnusableDocument,
        cover as cover,
        join as join,
        look as look,
        part as part,
        to_pdf as to_pdf,
        to_tiff as to_tiff,
    )
    from hub.formats.pages.process import Body as Body
    from hub.formats.pages.words import Limits as Limits, State as State


def __getattr__(name: str) -> Any:
    """Names are looked up when they are first used: the limited process needs none of them."""
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(import_module("hub.formats.pages.documents"), name)

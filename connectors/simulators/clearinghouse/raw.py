"""Façade: a 270 in the body of a POST, with an OAuth2 token; the answer is the 271, 999 or TA1."""

from __future__ import annotations

from typing import ClassVar

from starlette.responses import PlainTextResponse, Response

from connectors.simulators.clearinghouse.facade import Facade
from connectors.simulators.clearinghouse.inquiry import Inquiry, read_270
from connectors.simulators.clearinghouse.members import Verdict


class Raw(Facade):
    """`POST /x12/270`."""

    name: ClassVar[str] = "raw"
    path: ClassVar[str] = "/x12/270"

    def read(self, body: bytes) -> Inquiry:
        return read_270(body.decode("utf-8", "replace"))

    def write(self, verdict: Verdict, copies: int = 1) -> Response:
        text = self.house.table.write(verdict) * copies
        return PlainTextResponse(text, media_type="text/html" if verdict.kind == "html" else "application/edi-x12")

"""Which flows want a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub.format import Fields, Format
from hub.message import Message
from hub.settings.model import FlowSettings


class Router:
    """The filters of all flows."""

    def __init__(self, flows: Sequence[FlowSettings], formats: Mapping[str, Format]) -> None:
        self._by_source: dict[str, list[FlowSettings]] = {}
        for flow in flows:
            self._by_source.setdefault(flow.source, []).append(flow)
        self._formats = formats

    def wanted(self, source: str, message: Message, control_id: str) -> list[FlowSettings]:
        look = _Look(message, control_id, self._formats)
        return [flow for flow in self._by_source.get(source, []) if flow.when.holds(look)]


class _Look:
    """Headers and paths of a message for filters; opened only when a filter wants a path.  Never fails."""

    def __init__(self, message: Message, control_id: str, formats: Mapping[str, Format]) -> None:
        self._message = message
        self._headers = {
            "type": message.type,
            "format": message.format,
            "control_id": control_id,
            "generation": str(message.generation),
        }
        self._formats = formats
        self._fields: Fields | None = None
        self._opened = False

    def __call__(self, key: str) -> str | None:
        if key in self._headers:
            return self._headers[key]
        if key in self._message.headers:
            return self._message.headers[key]
        if not self._opened:
            self._opened = True
            try:
                self._fields = self._formats[self._message.format].open(self._message)
            except Exception:  # a filter says no to what cannot be read; the flow that takes it says why
                return None
        try:
            return self._fields.get(key) if self._fields is not None else None
        except Exception:
            return None

"""Server-sent events from the bytes of a body, as they come (WHATWG HTML, 9.2.6). Pure, capped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a CR at the very end may be half of a CRLF


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """`size` counts all data bytes, of which `data` may be the first part. `id` is the event's own, "" for none."""

    name: str
    data: bytes
    size: int
    id: str


class EventReader:
    """Feed bytes, get events. Of one event `cap` bytes are kept; a line that does not end within it is dropped."""

    __slots__ = ("_buffer", "_cap", "_data", "_first", "_id", "_name", "_size")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._buffer = b""
        self._first = True
        self._clear()

    def feed(self, data: bytes) -> Iterator[ServerEvent]:
        data = self._buffer + data
        start = 0
        for match in _LINE.finditer(data):
            event = self._line(data[start : match.start()])
            start = match.end()
            if event is not None:
                yield event
        self._buffer = data[start:][: self._cap]

    def _clear(self) -> None:
        self._name = ""
        self._id = ""
        self._data = bytearray()
        self._size = -1  # no data line yet

    def _line(self, line: bytes) -> ServerEvent | None:
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            event = None
            if self._size >= 0:
                event = ServerEvent(self._name or "message", bytes(self._data), self._size, self._id)
            self._clear()
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            more = value if self._size < 0 else b"\n" + value
            self._size = max(self._size, 0) + len(more)
            self._data += more[: max(0, self._cap - len(self._data))]
        elif field == b"event":
            self._name = value[:200].decode("utf-8", "replace")
        elif field == b"id":
            self._id = value[:200].decode("utf-8", "replace")
        return None

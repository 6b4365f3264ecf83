"""Request heads out of what a visitor sends: pure buffering around `protocol.head`, no port and no clock."""

from __future__ import annotations

from protocol.head import RequestHead, head_end, parse_request


class HeadReader:
    """Collects bytes until a head is whole. `rest` is what was read and not yet parsed: a partial head, a body's first
    bytes, a pipelined request; its owner may take it and put another in its place. Caps are those of `head_end`."""

    __slots__ = ("_seen", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._seen = 0  # bytes of `rest` that hold no end of a head: not searched again

    def feed(self, view: memoryview) -> None:
        self.rest = self.rest + bytes(view) if self.rest else bytes(view)

    def next(self) -> RequestHead | None:
        """The next head, taken out of `rest`; None: not all there yet. Raises HttpError; the connection ends then."""
        data = self.rest
        end = head_end(data, 0, self._seen)
        if end < 0:
            self._seen = len(data)
            return None
        self._seen = 0
        self.rest = data[end:]
        return parse_request(data[:end])

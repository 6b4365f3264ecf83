"""Request heads out of what a visitor sends: pure buffering around `protocol.head`, no port and no clock."""

from __future__ import annotations

from typing import Final

from protocol.head import RequestHead, head_end, parse_request

REMEMBERED_BYTES: Final = 2048  # a longer head is not remembered: idle connections must stay small


class HeadReader:
    """Collects bytes until a head is whole. `rest` is what was read and not yet parsed: a partial head, a body's first
    bytes, a pipelined request; its owner may take it and put another in its place. Caps are those of `head_end`.

    Parsing is pure, so the very same bytes give the very same (read-only) head: the last one is remembered, because health
    checks, polling clients and load generators repeat themselves. It saves 3 of 10 us. Routing and access are decided anew
    all the same, that is not the parser's business.
    """

    __slots__ = ("_head", "_raw", "_seen", "ended", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self.ended = False  # the visitor said that nothing more comes
        self._seen = 0  # bytes of `rest` that hold no end of a head: not searched again
        self._raw = b""
        self._head: RequestHead | None = None

    def feed(self, data: bytes) -> None:
        self.rest = self.rest + data if self.rest else data

    def next(self) -> RequestHead | None:
        """The next head, taken out of `rest`; None: not all there yet. Raises HttpError; the connection ends then."""
        data = self.rest
        if data == self._raw and data:
            self.rest = b""
            self._seen = 0  # it may have come in pieces
            return self._head
        end = head_end(data, 0, self._seen)
        if end < 0:
            self._seen = len(data)
            return None
        self._seen = 0
        self.rest = data[end:]
        raw = data[:end]
        head = parse_request(raw)
        if end <= REMEMBERED_BYTES:
            self._raw, self._head = raw, head
        return head

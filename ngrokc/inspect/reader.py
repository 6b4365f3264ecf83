"""One direction of a connection, from bytes to heads, bodies and trailers. Pure: no time, no budget, no pairing.

The reader pushes what it finds into a `Sink`. Where bytes are missing (`gap`) it stays in step if they lay within a body
whose end it knows; otherwise it says so and its owner waits for the next beginning.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from ngrokc.inspect.heads import CHUNKED, UNTIL_CLOSE, Fields, Unreadable

RAW: Final = -3
"""Framing for an upgraded connection: everything that follows is data."""
LINE_CAP: Final = 16 * 1024  # a chunk's size line with extensions
TRAILER_CAP: Final = 16 * 1024

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class Sink(Protocol):
    """Takes what a reader finds."""

    def head(self, raw: bytes) -> int:
        """A whole head; returns the framing of what follows: a length, CHUNKED, UNTIL_CLOSE or RAW. Raises Unreadable."""

    def data(self, data: bytes) -> None: ...

    def skipped(self, count: int) -> None: ...

    def trailers(self, fields: Fields) -> None: ...

    def end(self) -> None:
        """The message is complete."""


class Reader:
    """Feed it with `feed`, `gap` and `eof`. `idle`: between messages with nothing half read."""

    __slots__ = ("_buffer", "_cap", "_left", "_sink", "_state", "_step")

    def __init__(self, sink: Sink, head_cap: int) -> None:
        self._sink = sink
        self._cap = head_cap
        self.reset()

    def __repr__(self) -> str:
        return f"<Reader {self._state} {self._left}>"

    def reset(self) -> None:
        """Expect the beginning of a message."""
        self._buffer = b""
        self._state = "head"
        self._left = 0
        self._step = self._head

    @property
    def idle(self) -> bool:
        return self._state == "head" and not self._buffer

    @property
    def body_left(self) -> int:
        """Bytes until something other than body follows; 0 when that is now or unknown."""
        return self._left if self._state in ("length", "chunk") and not self._buffer else 0

    @property
    def endless(self) -> bool:
        """Whether everything until the end of the connection is body."""
        return self._state in ("close", "raw")

    def feed(self, data: bytes) -> None:
        """Raises Unreadable; the reader is then of no more use until `reset`."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while data:
            rest = self._step(data)
            if rest is None:  # needs more
                self._buffer = data
                return
            data = rest

    def gap(self, count: int) -> bool:
        """`count` bytes passed unseen; whether the reader still knows where it is."""
        if self._buffer:
            return False
        if self._state in ("length", "chunk") and count <= self._left:
            self._sink.skipped(count)
            self._left -= count
            if not self._left:
                self._part_done()
            return True
        if self._state == "close":
            self._sink.skipped(count)
            return True
        return False

    def eof(self) -> bool:
        """The direction ended; whether that was a proper place. A body that lasts until then is complete."""
        if self._state == "close":
            self._finish()
            return True
        return self.idle or self._state == "raw"

    def become_raw(self) -> None:
        """The connection was upgraded: what is buffered and all that follows is data."""
        self._state, self._step = "raw", self._endless
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._sink.data(data)

    # -- steps: take from the front of data, return the rest, or None for "needs more"
    def _head(self, data: bytes) -> bytes | None:
        if data[:1] in b"\r\n":  # empty lines before a start line are to be ignored (RFC 9112, 2.2)
            return data[1:]
        end = data.find(b"\n\r\n") + 3
        if end < 3 or data.find(b"\n\n", 0, end) >= 0:
            loose = _HEAD_END.search(data)
            if loose is None:
                if len(data) > self._cap:
                    raise Unreadable("a head that is too long to show")
                return None
            end = loose.end()
        framing = self._sink.head(data[:end])
        if framing > 0:
            self._state, self._step, self._left = "length", self._counted, framing
        elif framing == 0:
            self._finish()
        elif framing == CHUNKED:
            self._state, self._step = "size", self._size
        elif framing == UNTIL_CLOSE:
            self._state, self._step = "close", self._endless
        else:
            self._state, self._step = "raw", self._endless
        return data[end:]

    def _counted(self, data: bytes) -> bytes:
        """Body bytes whose number is known: all of it, or of one chunk."""
        take = min(self._left, len(data))
        self._sink.data(data if take == len(data) else data[:take])
        self._left -= take
        if not self._left:
            self._part_done()
        return data[take:]

    def _part_done(self) -> None:
        if self._state == "length":
            self._finish()
        else:
            self._state, self._step = "chunk end", self._chunk_end

    def _size(self, data: bytes) -> bytes | None:
        end = data.find(b"\n")
        if end < 0:
            if len(data) > LINE_CAP:
                raise Unreadable("a chunk whose size has no end")
            return None
        size = _CHUNK_SIZE.match(data)
        if size is None:
            raise Unreadable("a chunk without a size")
        self._left = int(size.group(), 16)
        if self._left:
            self._state, self._step = "chunk", self._counted
        else:
            self._state, self._step = "trailers", self._trailers
        return data[end + 1 :]

    def _chunk_end(self, data: bytes) -> bytes | None:
        if data[:1] == b"\n":
            rest = data[1:]
        elif len(data) < 2:
            return None
        elif data[:2] == b"\r\n":
            rest = data[2:]
        else:
            raise Unreadable("a chunk longer than its size")
        self._state, self._step = "size", self._size
        return rest

    def _trailers(self, data: bytes) -> bytes | None:
        if data[:2] == b"\r\n":
            self._finish()
            return data[2:]
        if data[:1] == b"\n":
            self._finish()
            return data[1:]
        end = _HEAD_END.search(data)
        if end is None:
            if len(data) > TRAILER_CAP:
                raise Unreadable("trailers that are too long to show")
            return None
        pairs = [line.partition(b":") for line in data[: end.start()].splitlines()]
        self._sink.trailers([(name, value.strip()) for name, colon, value in pairs if colon])
        self._finish()
        return data[end.end() :]

    def _endless(self, data: bytes) -> bytes:
        self._sink.data(data)
        return b""

    def _finish(self) -> None:
        self._state, self._step, self._left = "head", self._head, 0
        self._sink.end()

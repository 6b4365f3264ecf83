"""Where bodies end: by length, in chunks, or with the connection (RFC 9112, 6 and 7).

A body is a scanner: it is shown bytes, says how many of them are its own, and never changes them. What it has let pass
is valid as far as it goes, wherever the bytes were cut; the first bad byte raises, and the whole `scan` counts as refused.
Work per byte is constant, and the data within a chunk is skipped without being looked at.
Knows nothing of heads, ports or who reads the bytes.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from protocol.chunk_table import (
    CHUNK,
    DATA_CR,
    DONE,
    EXTENSION_FIRST,
    EXTENSION_LAST,
    SIZE,
    START,
    TABLE,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
)  # fmt: skip
from protocol.errors import Blame, HttpError
from protocol.fields import EDGE_FAMILY, EDGE_OWNED, FRAMING, HOP_BY_HOP, without_odd

Buffer = bytes | bytearray | memoryview

# RequestHead.length and ResponseHead.length when it is not a number of bytes
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

SIZE_DIGITS: Final = 15  # hex, so below 2**60: fits every signed 64-bit count that a service may use
EXTENSION_CAP: Final = 1024  # bytes of one chunk's extensions; nobody uses any
EXTENSIONS_CAP: Final = 16 * 1024  # of one body's: one-byte chunks with long extensions would be all overhead
TRAILER_CAP: Final = 8 * 1024
TRAILERS_MAX: Final = 100  # fields; services keep each of them

# RFC 9110, 6.5.1: what decides framing, routing, access, or how the content is read must stand before it.
FORBIDDEN_TRAILERS: Final = HOP_BY_HOP | EDGE_OWNED | FRAMING | frozenset({
    b"authorization", b"cache-control", b"content-encoding", b"content-range", b"content-type", b"cookie", b"expect",
    b"max-forwards", b"pragma", b"range", b"set-cookie", b"trailer", b"www-authenticate",
})  # fmt: skip

_AFTER_DATA: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")
_AT_START: Final = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")


class Body(Protocol):
    """What all bodies have. `done`: the last byte has been seen. One body serves one message."""

    done: bool

    def scan(self, data: Buffer, start: int, end: int) -> int:
        """Look at `data[start:end]`, which follows what was scanned before; give the index where this body's bytes end:
        `end` while it goes on. Raises HttpError for bytes that must not be passed on; the body is then of no more use."""
        ...

    def eof(self) -> None:
        """The sender will send no more. Raises HttpError when the body is not whole."""
        ...


class LengthBody:
    """Exactly `length` bytes. `upstream`: the private service sends it, which decides whom an error blames."""

    __slots__ = ("_left", "_upstream", "done")

    def __init__(self, length: int, *, upstream: bool = False) -> None:
        self._left = length
        self._upstream = upstream
        self.done = length == 0

    def scan(self, data: Buffer, start: int, end: int) -> int:  # noqa: ARG002
        left = self._left - (end - start)
        if left > 0:
            self._left = left
            return end
        self._left = 0
        self.done = True
        return end + left

    def eof(self) -> None:
        if not self.done:
            raise _cut_short(upstream=self._upstream)


class UntilCloseBody:
    """Everything until the end of the connection; a response only."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def scan(self, data: Buffer, start: int, end: int) -> int:  # noqa: ARG002
        return end

    def eof(self) -> None:
        self.done = True


class _NoBody:
    """The empty body, shared by all that have none."""

    __slots__ = ()
    done = True

    def scan(self, data: Buffer, start: int, end: int) -> int:  # noqa: ARG002
        return start

    def eof(self) -> None:
        return None


NO_BODY: Final[Body] = _NoBody()


class ChunkedBody:
    """Chunks, extensions and trailers, passed as they are once they are known to be strict (RFC 9112, 7.1)."""

    __slots__ = ("_extension", "_extensions", "_left", "_name", "_size", "_state", "_trailer", "_trailers", "_upstream",
                 "done")  # fmt: skip

    def __init__(self, *, upstream: bool = False) -> None:
        self._upstream = upstream
        self._state = START
        self._left = 0  # data bytes of the current chunk still to come
        self._size = b""  # digits of the current chunk's size
        self._extension = self._extensions = 0  # bytes: of this chunk, of all before it
        self._trailer = self._trailers = 0  # bytes, fields
        self._name = bytearray()  # of the trailer field being read
        self.done = False

    def scan(self, data: Buffer, start: int, end: int) -> int:
        position = start
        while position < end and not self.done:
            if self._left:
                position += self._left
                if position > end:
                    self._left = position - end
                    return end
                self._left = 0
                self._state = DATA_CR
            position = self._line(data, position, end)
        return position

    def _line(self, data: Buffer, position: int, end: int) -> int:
        """Read what stands between two chunks' data, as far as it is there."""
        state = self._state
        match = None
        if state == DATA_CR:
            match = _AFTER_DATA.match(data, position, end)
        elif state == START:
            match = _AT_START.match(data, position, end)
        if match is not None:
            self._size = bytes(match[1])
            self._begin_chunk()
            return match.end()
        return self._slowly(data, position, end)

    def _slowly(self, data: Buffer, position: int, end: int) -> int:
        """Byte by byte by the table: extensions, trailers, and lines that were cut in two."""
        state = self._state
        while position < end:
            byte = data[position]
            before, state = state, TABLE[state][byte]
            position += 1
            if not state:
                raise self._wrong("malformed chunked body")
            self._state = state
            if state == SIZE:
                self._size += byte.to_bytes(1, "big")
                if len(self._size) > SIZE_DIGITS:
                    raise self._wrong("chunk size too large")
            elif EXTENSION_FIRST <= state <= EXTENSION_LAST:
                self._extension += 1
                if self._extension > EXTENSION_CAP or self._extension + self._extensions > EXTENSIONS_CAP:
                    raise self._wrong("chunk extensions too long")
            elif state >= TRAILER_FIRST:
                self._in_trailer(byte, before, state)
            elif state == CHUNK:
                self._begin_chunk()
                return position
            elif state == DONE:
                self.done = True
                return position
        return position

    def _begin_chunk(self) -> None:
        self._left = int(self._size, 16)
        self._size = b""
        self._extensions += self._extension
        self._extension = 0
        self._state = CHUNK if self._left else TRAILER_FIRST

    def _in_trailer(self, byte: int, before: int, state: int) -> None:
        self._trailer += 1
        if self._trailer > TRAILER_CAP:
            raise self._wrong("trailers too long")
        if state == TRAILER_NAME:
            self._name.append(byte)
        elif state == TRAILER_VALUE and before == TRAILER_NAME:
            name = without_odd(bytes(self._name).lower())
            if name in FORBIDDEN_TRAILERS or name.startswith(EDGE_FAMILY):
                raise self._wrong("forbidden trailer field")
            self._name.clear()
            self._trailers += 1
            if self._trailers > TRAILERS_MAX:
                raise self._wrong("too many trailers")

    def eof(self) -> None:
        if not self.done:
            raise _cut_short(upstream=self._upstream)

    def _wrong(self, message: str) -> HttpError:
        if self._upstream:
            return HttpError(502, "upstream_bad_response", message, blame=Blame.UPSTREAM)
        return HttpError(400, "bad_request", message)


def body_of(length: int, *, upstream: bool = False) -> Body:
    """The scanner for a head's `length` (>= 0, CHUNKED or UNTIL_CLOSE)."""
    if length == 0:
        return NO_BODY
    if length > 0:
        return LengthBody(length, upstream=upstream)
    return ChunkedBody(upstream=upstream) if length == CHUNKED else UntilCloseBody()


def _cut_short(*, upstream: bool) -> HttpError:
    if upstream:
        return HttpError(502, "upstream_broke", "the response ended early", blame=Blame.UPSTREAM)
    return HttpError(400, "bad_request", "the request body ended early")

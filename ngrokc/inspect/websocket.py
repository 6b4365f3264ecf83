"""WebSocket frames of one direction, from bytes to messages (RFC 6455, RFC 7692). Pure, capped.

Only for show: nothing is validated beyond what finding the next frame needs. Of a message no more than `cap` bytes are kept
or inflated; a compressed one beyond that ends the inflating of this direction, since its window would be incomplete.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ngrokc.inspect.heads import Unreadable

KINDS: Final = {0x1: "text", 0x2: "binary", 0x8: "close", 0x9: "ping", 0xA: "pong"}
CONTROL: Final = 0x8
DEFLATE_TAIL: Final = b"\x00\x00\xff\xff"


@dataclass(frozen=True, slots=True)
class Decoded:
    """One message: `size` is that on the wire, `cut` says that `data` is not all of it or still compressed."""

    kind: str
    data: bytes
    size: int
    cut: bool


def deflate_of(extensions: bytes, *, server: bool) -> tuple[bool, bool]:
    """From an answer's Sec-WebSocket-Extensions: whether messages are deflated, and whether the window survives a message
    in the direction of the server's (or the client's) sending."""
    text = extensions.lower()
    if b"permessage-deflate" not in text:
        return False, False
    mark = b"server_no_context_takeover" if server else b"client_no_context_takeover"
    return True, mark not in text


class Frames:
    """Feed bytes, get messages. `deflate` and `takeover` as `deflate_of` says."""

    __slots__ = (
        "_buffer",
        "_cap",
        "_control",
        "_deflate",
        "_fin",
        "_inflater",
        "_left",
        "_mask",
        "_offset",
        "_opcode",
        "_parts",
        "_takeover",
    )

    def __init__(self, cap: int, *, deflate: bool = False, takeover: bool = True) -> None:
        self._cap = cap
        self._deflate = deflate
        self._takeover = takeover
        self._inflater = zlib.decompressobj(-15) if deflate else None
        self._buffer = b""
        self._left = 0  # of the frame's payload
        self._offset = 0  # how far into it, for the mask
        self._mask = b""
        self._opcode = 0
        self._fin = False
        self._control = bytearray()
        self._parts: _Message | None = None

    @property
    def payload_left(self) -> int:
        """Bytes of the current frame still to come; 0 between frames."""
        return self._left

    def gap(self, count: int) -> bool:
        """`count` bytes passed unseen; whether we still know where the next frame begins."""
        if self._buffer or count >= self._left or self._parts is None or self._opcode & CONTROL:
            return False
        self._parts.lose(count)
        self._left -= count
        self._offset += count
        return True

    def feed(self, data: bytes) -> Iterator[Decoded]:
        """Raises Unreadable for what can't be frames."""
        data = self._buffer + data
        self._buffer = b""
        while True:
            if not self._left:
                start = self._header(data)
                if start == 0:
                    self._buffer = data
                    return
                data = data[start:]
            take = min(self._left, len(data))
            if take:
                self._payload(data[:take])
                data = data[take:]
            if self._left:
                return
            yield from self._frame_done()
            if not data:
                return

    def _header(self, data: bytes) -> int:
        """Read a frame's header; its length, or 0 when there is not enough."""
        if len(data) < 2:
            return 0
        first, second = data[0], data[1]
        length, start = second & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        masked = bool(second & 0x80)
        end = start + 4 * masked
        if len(data) < end:
            return 0
        opcode = first & 0xF
        if opcode not in KINDS and opcode != 0:
            raise Unreadable("no WebSocket frames")
        self._mask = data[start:end]
        self._left, self._offset, self._opcode, self._fin = length, 0, opcode, bool(first & 0x80)
        if opcode & CONTROL:
            if length > 125:
                raise Unreadable("a WebSocket control frame that is too long")
            self._control = bytearray()
        elif opcode:
            self._parts = _Message(KINDS[opcode], bool(first & 0x40) and self._deflate)
        elif self._parts is None:
            raise Unreadable("a WebSocket continuation of nothing")
        return end

    def _payload(self, data: bytes) -> None:
        self._left -= len(data)
        clear = unmask(data, self._mask, self._offset) if self._mask else data
        self._offset += len(data)
        if self._opcode & CONTROL:
            self._control += clear
        elif self._parts is not None:
            self._parts.add(clear, self._cap)

    def _frame_done(self) -> Iterator[Decoded]:
        if self._opcode & CONTROL:
            yield Decoded(KINDS[self._opcode], bytes(self._control), len(self._control), False)
            return
        if self._fin and self._parts is not None:
            parts, self._parts = self._parts, None
            yield self._whole(parts)

    def _whole(self, parts: _Message) -> Decoded:
        data = bytes(parts.kept)
        cut = parts.size > len(parts.kept)
        if not parts.deflated:
            return Decoded(parts.kind, data, parts.size, cut)
        if self._inflater is None or cut:
            self._inflater = None
            return Decoded(parts.kind, data, parts.size, True)
        try:
            text = self._inflater.decompress(data + DEFLATE_TAIL, self._cap)
        except zlib.error:
            self._inflater = None
            return Decoded(parts.kind, data, parts.size, True)
        more = bool(self._inflater.unconsumed_tail)
        if more:
            self._inflater = None  # the window is incomplete from here on
        elif not self._takeover:
            self._inflater = zlib.decompressobj(-15)
        return Decoded(parts.kind, text, parts.size, more)


class _Message:
    """A message in the making."""

    __slots__ = ("deflated", "kept", "kind", "size")

    def __init__(self, kind: str, deflated: bool) -> None:
        self.kind = kind
        self.deflated = deflated
        self.kept = bytearray()
        self.size = 0

    def add(self, data: bytes, cap: int) -> None:
        if self.size == len(self.kept):  # behind a gap nothing would fit on
            self.kept += data[: max(0, cap - len(self.kept))]
        self.size += len(data)

    def lose(self, count: int) -> None:
        self.size += count


def unmask(data: bytes, mask: bytes, offset: int) -> bytes:
    """XOR with the mask, `offset` bytes into the frame."""
    turn = offset % 4
    key = (mask[turn:] + mask[:turn]) * (len(data) // 4 + 1)
    size = len(data)
    return (int.from_bytes(data, "big") ^ int.from_bytes(key[:size], "big")).to_bytes(size, "big")

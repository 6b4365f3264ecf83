"""Frames: an 8-byte signed little-endian length, then that many bytes of JSON. The same on every link and in every stream.

The length is checked against a cap before anything is kept for it. Knows nothing of links: bytes in, messages out.
"""

from __future__ import annotations

from struct import Struct

from protocol.errors import WireError
from protocol.messages import Message, decode, encode

# All caps count the whole frame, header included. 16 KiB is one TLS record: Go reads a body with a single read, which
# never crosses a record, so nothing larger may go to a 1.7 peer; and nobody gets more than this before login.
FIRST_FRAME_CAP = 16 * 1024
FRAME_CAP = 1024 * 1024  # after login, between two of ours: options with long header lists

_LENGTH = Struct("<q")
HEADER = _LENGTH.size


def frame(message: Message, *, cap: int = FIRST_FRAME_CAP) -> bytes:
    """The message as one frame, to be sent in one write. The default cap is safe towards everybody; pass FRAME_CAP to a
    native peer after login. Raises WireError `frame_too_big` when it would be longer than `cap`."""
    body = encode(message)
    if HEADER + len(body) > cap:
        raise WireError("frame_too_big", f"a {type(message).__name__} frame is longer than {cap} bytes")
    return _LENGTH.pack(len(body)) + body


def take(
    data: bytes | bytearray | memoryview, start: int = 0, *, cap: int = FIRST_FRAME_CAP
) -> tuple[Message, int] | None:
    """The frame that begins at `start`, and where it ends; None while bytes are missing. For code that holds one frame
    and what follows it (StartProxy and a visitor's bytes) in a buffer of its own. Raises WireError."""
    body = start + HEADER
    if len(data) < body:
        return None
    (length,) = _LENGTH.unpack_from(data, start)
    if not 0 < length <= cap - HEADER:
        raise WireError("bad_length" if length <= 0 else "frame_too_big", "the length of the frame is not acceptable")
    end = body + length
    if len(data) < end:
        return None
    return decode(bytes(data[body:end])), end


class FrameDecoder:
    """Cuts a byte stream into messages: `feed`, then `next` until it gives None. What comes after the last frame that
    was taken is never lost: `leftover` hands it over when the link turns into raw bytes.

    `cap` may be changed between frames. After a WireError the decoder repeats it for ever: the link is finished.
    """

    __slots__ = ("_buffer", "_fault", "cap")

    def __init__(self, cap: int = FIRST_FRAME_CAP) -> None:
        self.cap = cap
        self._buffer = bytearray()
        self._fault: tuple[str, str] | None = None  # not the error: its traceback would hold the link, and the link it

    def __repr__(self) -> str:
        return f"<FrameDecoder cap={self.cap} buffered={len(self._buffer)}{' broken' if self._fault else ''}>"

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet taken; more than 0 at the end of file means a frame cut short."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes as they came. Copies; call `next` until None before feeding more, so that one frame and one read
        are all that is ever held."""
        self._buffer += data

    def next(self) -> Message | None:
        """The next whole message, or None for "feed me". Raises WireError."""
        if self._fault is not None:
            raise WireError(*self._fault)
        try:
            found = take(self._buffer, cap=self.cap)
        except WireError as fault:
            self._fault = (fault.code, fault.message)
            self._buffer.clear()
            raise
        if found is None:
            return None
        message, end = found
        del self._buffer[:end]
        return message

    def leftover(self) -> bytes:
        """All bytes that follow the last message taken; the decoder is empty afterwards."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

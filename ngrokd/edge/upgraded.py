"""An upgraded connection: every byte passes as it is, and a WebSocket can be told that the server goes away.

A close frame (RFC 6455, 5.5.1 and 7.4.1: 1001) may stand between two frames and nowhere else, so the relay has to know where
it is. Frames can't be found in the middle of a stream, so they are followed from the first one on: the header of each is
looked at, nothing is kept or changed. That is 0.3 us for a small message, 0.1 us for a piece of a large one. Where more than
FRAMES_AT_ONCE begin in one read, following them would cost more than it is worth, and the connection ends without a frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from protocol.link.linger import linger
from protocol.link.port import Port, PortBroken
from protocol.link.reactor import Reactor
from protocol.link.relay import Relay, RelayEnd

if TYPE_CHECKING:
    from protocol.head import RequestHead

FRAMES_AT_ONCE: Final = 64
LOST: Final = 1 << 80  # more bytes than will ever come
GOING_AWAY: Final = (1001).to_bytes(2, "big")
_CLOSE: Final = b"\x88\x02" + GOING_AWAY


class Frames:
    """Where one direction of a WebSocket is. Sees bytes that have passed, never refuses any."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._left = 0  # bytes until the frame's end; LOST: nobody knows, or a close frame has passed
        self._head = b""  # a header that is not whole

    @property
    def between(self) -> bool:
        """Whether another frame may be sent now."""
        return not (self._left or self._head)

    def passed(self, data: memoryview) -> None:
        size = len(data)
        if size <= self._left:
            self._left -= size
        elif self._head:
            self._follow(memoryview(self._head + bytes(data)), 0)
        else:
            self._follow(data, self._left)

    def _follow(self, data: memoryview, at: int) -> None:
        """The next header begins at `at`."""
        self._head = b""
        size = len(data)
        for _ in range(FRAMES_AT_ONCE):
            if at >= size:
                self._left = at - size
                return
            end = _frame_end(data, at, size)
            if end < 0:
                self._left, self._head = 0, bytes(data[at:])
                return
            if data[at] & 0x0F == 8:
                break
            at = end
        self._left = LOST


def _frame_end(data: memoryview, at: int, size: int) -> int:
    """Where the frame that begins at `at` ends; -1 while its header is not whole (RFC 6455, 5.2)."""
    if size - at < 2:
        return -1
    length = data[at + 1] & 0x7F
    start = at + (6 if data[at + 1] & 0x80 else 2)
    if length < 126:
        return start + length if start <= size else -1
    width = 2 if length == 126 else 8
    start += width
    return start + int.from_bytes(data[at + 2 : at + 2 + width], "big") if start <= size else -1


class _Watch:
    """The relay's tap (`protocol.link.relay.Tap`)."""

    __slots__ = ("down", "down_frames", "up", "up_frames")

    def __init__(self) -> None:
        self.up_frames, self.down_frames = Frames(), Frames()
        self.up, self.down = self.up_frames.passed, self.down_frames.passed

    def up_ended(self) -> None:
        """Nothing may be sent there any more."""
        self.up_frames.passed(memoryview(_CLOSE))

    def down_ended(self) -> None:
        self.down_frames.passed(memoryview(_CLOSE))

    def closed(self, reason: str | None) -> None: ...


class Upgraded:
    """A started relay between `visitor` and the stream to its agent; owns both. `request` asked for the upgrade."""

    __slots__ = ("_agent", "_reactor", "_relay", "_visitor", "_watch", "abort")

    def __init__(
        self,
        reactor: Reactor,
        visitor: Port,
        agent: Port,
        on_end: Callable[[RelayEnd], None],
        request: RequestHead | None,
    ) -> None:
        self._reactor = reactor
        self._visitor = visitor
        self._agent = agent
        self._watch = _Watch() if request is not None and request.upgrade == b"websocket" else None
        self._relay = Relay(reactor, visitor, agent, on_end=on_end, tap=self._watch)
        self._relay.expect_goodbye()
        self._relay.start()
        self.abort = self._relay.abort

    @property
    def counts(self) -> tuple[int, int]:
        """Bytes so far: up, down."""
        return self._relay.counts

    def farewell(self) -> None:
        """The server goes away: say so to both ends of a WebSocket that is between two messages' frames. All others are
        left as they are, for `abort`."""
        watch = self._watch
        if watch is None or self._relay.over or not watch.down_frames.between:
            return
        try:
            if self._visitor.write(_CLOSE) < len(_CLOSE):
                return  # it does not read: it would not see this either
            if watch.up_frames.between:
                mask = os.urandom(4)
                code = bytes(byte ^ key for byte, key in zip(GOING_AWAY, mask, strict=False))
                self._agent.write(b"\x88\x82" + mask + code)
        except PortBroken:
            return  # the relay is about to find out
        self._relay.let_go()
        for port in (self._visitor, self._agent):
            linger(self._reactor, port)

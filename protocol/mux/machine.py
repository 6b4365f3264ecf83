"""The yamux machine: parses frames in place, keeps the states of streams, answers pings. Pure: no IO, no clock.

It knows a stream only by the `Stream` protocol, so the leg's ports (protocol.link.leg_stream) are the streams themselves:
one object and one look-up per frame. Outgoing frames go into the `Outbox`.

Every cap: a payload is at most the window its stream was given (nothing is allocated for it here); `max_streams` live
streams, more are refused with a reset; ids of our own stop at MAX_ID; a sum of window updates at 2**32 - 1.
A broken rule raises WireError("mux_...") from `feed`: the connection is finished, the leg says go away 1.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar, cast

from protocol.errors import WireError
from protocol.mux.outbox import Outbox
from protocol.mux.wire import (
    ACK,
    ALL_FLAGS,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    HEADER_BYTES,
    MAX_ID,
    MAX_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    WORN_ID,
    Leaving,
)

HERE_ENDED: Final = 1  # our FIN is on its way
THERE_ENDED: Final = 2  # the peer's FIN came
GONE: Final = 4  # out of the table: both ended, reset by either side, or the connection is gone

MAX_STREAMS: Final = 32768  # a stream costs about 1 KiB here

_unpack: Final = cast("Callable[[memoryview, int], tuple[int, int, int, int]]", HEADER.unpack_from)


class Role(enum.Enum):
    """Who dialled: the client opens odd ids, the server even ones. Between ours the agent is the client."""

    CLIENT = 1
    SERVER = 2


class Stream(Protocol):
    """What the machine needs of a stream. Fresh: state 0, both windows FIRST_WINDOW, owes SYN or ACK."""

    id: int
    state: int
    owes: int
    """The flag (SYN or ACK) that the stream's next frame must carry, 0 when it has been sent."""
    send_window: int
    """Bytes we may still send."""
    recv_window: int
    """Bytes the peer may still send."""

    def deliver(self, part: memoryview) -> None:
        """Payload, lent until the call returns; may be a part of a frame."""

    def window_opened(self) -> None:
        """`send_window` has grown."""

    def ended(self) -> None:
        """The peer's FIN: no more payload."""

    def broke(self, reason: str) -> None:
        """Reset by the peer; the stream is out of the table."""

    def forgotten(self) -> None:
        """Out of the table, for whatever reason (not when the whole connection is gone): give back what it held."""


S = TypeVar("S", bound=Stream)


class Machine(Generic[S]):
    """One side of a connection. `accept(id)` is asked for a stream when the peer opens one (None: refuse with a reset);
    `on_pong(value)` hears answers to pings."""

    __slots__ = ("_accept", "_current", "_due", "_fin_due", "_highest", "_parity", "going", "max_streams", "next_id",
                 "on_drained", "on_pong", "out", "peer_going", "streams")  # fmt: skip

    def __init__(
        self, role: Role, out: Outbox, accept: Callable[[int], S | None], *, max_streams: int = MAX_STREAMS
    ) -> None:
        self.out = out
        self.streams: dict[int, S] = {}
        self.max_streams = max_streams
        self.going = False
        """We said go away: streams that the peer still opens are refused."""
        self.peer_going: int | None = None
        """The code of the peer's go away."""
        self.on_pong: Callable[[int], None] = lambda value: None  # noqa: ARG005
        self.on_drained: Callable[[], None] = lambda: None
        """Told when either side goes away and the last stream is gone."""
        self.next_id = 1 if role is Role.CLIENT else 2
        self._parity = self.next_id & 1
        self._highest = 0  # of the peer's ids; a lower one may still arrive late, a higher one was never opened
        self._accept = accept
        self._due = 0  # payload bytes of the current frame that are still to come
        self._current: S | None = None  # whose they are; None: nobody's, skip them
        self._fin_due = False

    # -- receiving
    def feed(self, view: memoryview) -> int:  # noqa: C901 - the hot loop: a call per branch would cost more than the branch
        """Take frames from the front of `view`; the count of bytes used. What is left (part of a header, under 12 bytes)
        must come first in the next `view`. Raises WireError; nothing may be fed after that."""
        end = len(view)
        position = self._feed_rest(view) if self._due else 0
        find = self.streams.get
        while end - position >= HEADER_BYTES:
            kind, flags, stream_id, length = _unpack(view, position)
            position += HEADER_BYTES
            if kind == DATA:
                stream = find(stream_id)
                if flags or stream is None:
                    stream = self._arrive(stream_id, flags, stream)
                stop = position + length
                if stream is not None:
                    if length:
                        window = stream.recv_window - length
                        if window < 0:
                            raise WireError("mux_window", f"stream {stream_id} was sent more than its window")
                        stream.recv_window = window
                    if stop > end:
                        self._current = stream
                        self._due = stop - end
                        self._fin_due = bool(flags & FIN)
                        if position < end:
                            stream.deliver(view[position:end])
                        return end
                    if length:
                        stream.deliver(view[position:stop])
                    if flags & FIN:
                        self._fin(stream)
                elif stop > end:
                    self._current, self._due, self._fin_due = None, stop - end, False
                    return end
                position = stop
            elif kind == WINDOW_UPDATE:
                self._window(stream_id, flags, length)
            else:
                self._session_frame(kind, flags, length)
        return position

    def _feed_rest(self, view: memoryview) -> int:
        """The rest of a payload that the last `view` ended in."""
        count = min(self._due, len(view))
        self._due -= count
        stream = self._current
        if stream is None:
            return count
        if count:
            stream.deliver(view[:count])
        if not self._due:
            self._current = None
            if self._fin_due:
                self._fin(stream)
        return count

    def _arrive(self, stream_id: int, flags: int, stream: S | None) -> S | None:
        """The rare part of a frame's flags: openings, resets, streams that are no more. None: skip the payload."""
        if flags & ~ALL_FLAGS:
            raise WireError("mux_flags", f"unknown flags {flags:#x}")
        if flags & SYN:
            if stream is not None:
                raise WireError("mux_twice", f"stream {stream_id} was opened twice")
            stream = self._opened(stream_id)
        if stream is None:
            self._check_known(stream_id)
            return None
        if flags & RST:
            self._forget(stream)
            stream.broke("reset by the other side")
            return None
        return stream

    def _opened(self, stream_id: int) -> S | None:
        if not stream_id or stream_id & 1 == self._parity:
            raise WireError("mux_id", f"stream id {stream_id} is not the other side's to open")
        if stream_id > self._highest:
            self._highest = stream_id
        stream = None
        if not self.going and len(self.streams) < self.max_streams:
            stream = self._accept(stream_id)
        if stream is None:
            self.out.frame(WINDOW_UPDATE, RST, stream_id, 0)
        elif not stream.state & GONE:
            self.streams[stream_id] = stream
        return stream

    def _check_known(self, stream_id: int) -> None:
        """A frame for a stream that is no more is normal: it was under way when we reset or closed."""
        ours = stream_id & 1 == self._parity
        if not stream_id or (stream_id >= self.next_id if ours else stream_id > self._highest):
            raise WireError("mux_id", f"a frame for stream {stream_id}, which was never opened")

    def _window(self, stream_id: int, flags: int, delta: int) -> None:
        stream = self.streams.get(stream_id)
        if flags or stream is None:
            stream = self._arrive(stream_id, flags, stream)
            if stream is None:
                return
        if delta:
            stream.send_window += delta
            if stream.send_window > MAX_WINDOW:
                raise WireError("mux_window", f"the window of stream {stream_id} grew past 32 bits")
            stream.window_opened()
        if flags & FIN:
            self._fin(stream)

    def _fin(self, stream: S) -> None:
        if stream.state & GONE:
            return  # its owner let go while the payload was delivered
        if stream.state & THERE_ENDED:
            raise WireError("mux_ended", f"stream {stream.id} ended twice")
        stream.state |= THERE_ENDED
        stream.recv_window = 0  # so that payload after the end breaks the window
        if stream.state & HERE_ENDED:
            self._forget(stream)
        stream.ended()

    def _session_frame(self, kind: int, flags: int, value: int) -> None:
        if kind == PING:
            if flags == SYN:
                self.out.urgent(PING, ACK, 0, value)
            elif flags == ACK:
                self.on_pong(value)
            else:
                raise WireError("mux_flags", f"a ping with flags {flags:#x}")
        elif kind == GO_AWAY:
            self.peer_going = value
            if value != Leaving.NORMAL:
                raise WireError("mux_left", f"the other side gave up with code {value}")
            if not self.streams:
                self.on_drained()
        else:
            raise WireError("mux_type", f"unknown frame version and type {kind:#06x}")

    # -- sending
    def open(self, stream: S) -> None:
        """Give `stream` (fresh, owes SYN) its id and place. Nothing is sent: the SYN goes with its first frame.
        Raises WireError when no more may be opened."""
        if self.going or self.peer_going is not None:
            raise WireError("mux_leaving", "the leg is going away")
        if self.next_id > MAX_ID or len(self.streams) >= self.max_streams:
            raise WireError("mux_full", "the leg has no more streams to give")
        stream.id = self.next_id
        self.next_id += 2
        self.streams[stream.id] = stream

    @property
    def can_open(self) -> bool:
        return not (
            self.going or self.peer_going is not None or self.next_id > MAX_ID or len(self.streams) >= self.max_streams
        )

    @property
    def worn(self) -> bool:
        """Whether ids run out in the foreseeable future: replace the leg."""
        return self.next_id > WORN_ID

    def finish(self, stream: S) -> None:
        """Half-close: FIN after what was committed. In a frame of its own without payload, because a known peer (Go's)
        can show its reader the end before the payload of the same frame. Idempotent."""
        if stream.state & (HERE_ENDED | GONE):
            return
        stream.state |= HERE_ENDED
        self.out.frame(WINDOW_UPDATE, FIN | stream.owes, stream.id, 0)
        stream.owes = 0
        if stream.state & THERE_ENDED:
            self._forget(stream)

    def reset(self, stream: S) -> None:
        """RST; what the peer still sends is skipped. `broke` is not called. Idempotent."""
        if stream.state & GONE:
            return
        if stream.owes != SYN:  # else the peer never heard of it
            self.out.frame(WINDOW_UPDATE, RST, stream.id, 0)
        self._forget(stream)

    def credit(self, stream: S, delta: int) -> None:
        """Let the peer send `delta` more. Ignored when it has ended already."""
        if not stream.state & (THERE_ENDED | GONE):
            stream.recv_window += delta
            self.out.urgent(WINDOW_UPDATE, stream.owes & ACK, stream.id, delta)
            stream.owes &= ~ACK

    def acknowledge(self, stream: S) -> None:
        """ACK rides on a stream's first frame; say it for one that had nothing to send for a while (Go's side closes the
        connection 75 s after an unanswered SYN)."""
        if stream.owes == ACK:
            stream.owes = 0
            self.out.urgent(WINDOW_UPDATE, ACK, stream.id, 0)

    def ping(self, value: int) -> None:
        self.out.urgent(PING, SYN, 0, value)

    def go_away(self, code: Leaving = Leaving.NORMAL) -> None:
        """Refuse new streams from now on; live ones go on. Idempotent."""
        if not self.going:
            self.going = True
            self.out.frame(GO_AWAY, 0, 0, code)
            if not self.streams:
                self.on_drained()

    def drop(self) -> list[S]:
        """The connection is gone: all streams, out of the table."""
        left = list(self.streams.values())
        self.streams.clear()
        for stream in left:
            stream.state |= GONE
        self.going = True
        self._current = None
        self.out.drop()
        return left

    def _forget(self, stream: S) -> None:
        stream.state |= GONE
        self.streams.pop(stream.id, None)
        if self._current is stream:
            self._current = None
            self._fin_due = False
        stream.forgotten()
        if not self.streams and (self.going or self.peer_going is not None):
            self.on_drained()

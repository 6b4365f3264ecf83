"""A leg: one connection, usually TLS, that carries many streams in the yamux format (protocol.mux).

Receiving: everything the port has is read into one shared buffer, parsed there and handed to the streams in place. Sending:
see `leg_send`. Liveness: any byte is life; after 4 s of silence a ping goes out, after 10 s the leg is dead. A dead leg ends
only its own streams: each raises PortBroken from then on, its owner is called once, then `on_end`.

Cost of this and `protocol.mux`, measured with 200-byte payloads over ports in memory (CPython 3.11, one core): 0.7 us a
frame sent and 0.6 us received when 32 streams share a turn; 2.4 and 1.7 us when one frame is all a turn has. An open
stream costs 0.6 KiB on each side, an idle leg no batch buffer.

Knows nothing of tunnels, tickets or dialling: whoever makes a leg has shaken hands already.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Final

from protocol.errors import WireError
from protocol.link.leg_send import Sender
from protocol.link.leg_stream import StreamPort
from protocol.link.plain import SocketPort
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import READS_PER_TURN, TURN_BYTES, Reactor
from protocol.mux import ACK, GO_AWAY, SYN, BatchPool, Growth, Leaving, Machine, Outbox, QueueBudget, Role
from protocol.mux.budget import STREAM_WINDOW_CAP

PING_SECONDS: Final = 4.0
DEAD_SECONDS: Final = 10.0
LATE_SECONDS: Final = 1.0  # a beat this late means that the machine or the program slept
PROBE_SECONDS: Final = 2.0  # for the other side to answer after that
FIRST_PINGS: Final = 4  # one after the other on a new leg, so that one busy moment does not pass for a long path
BUSY_BYTES: Final = 1024 * 1024  # received between two ticks: windows may want to grow, so measure the round trip
CLOSE_LINGER: Final = 30.0  # a closed stream whose peer neither ends nor sends is reset after this
READ_BYTES: Final = 256 * 1024  # 16 TLS records and more in one go
BACKLOG_BYTES: Final = 64 * 1024  # answers to pings and refusals that the peer does not read: then we stop reading, too
NOTSENT_LOWAT: Final = (
    128 * 1024
)  # the kernel's unsent queue: one batch, so a small request never waits behind megabytes
_TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # Python 3.11 lacks the name on some systems


class LegShared:
    """What the legs of one reactor share: buffers and budgets. `window_cap`: bytes, for one stream."""

    __slots__ = ("_read_buffers", "growth", "pool", "queues", "window_cap")

    def __init__(
        self,
        *,
        growth: Growth | None = None,
        queues: QueueBudget | None = None,
        window_cap: int = STREAM_WINDOW_CAP,
    ) -> None:
        self.pool = BatchPool()
        self.growth = growth
        self.queues = queues or QueueBudget()
        self.window_cap = window_cap
        self._read_buffers: list[memoryview] = []

    def for_session(self, growth: Growth) -> LegShared:
        """The same buffers and queue budget, with the session's own allowance for windows."""
        shared = LegShared(growth=growth, queues=self.queues, window_cap=self.window_cap)
        shared.pool, shared._read_buffers = self.pool, self._read_buffers
        return shared

    def lend_read_buffer(self) -> memoryview:
        return self._read_buffers.pop() if self._read_buffers else memoryview(bytearray(READ_BYTES))

    def give_back_read_buffer(self, buffer: memoryview) -> None:
        if not self._read_buffers:
            self._read_buffers.append(buffer)


class Leg:
    """Takes over `port` (task-owned, handshake done, bytes read early included) and owns it.

    `on_stream(stream)` gets each stream the peer opens, before its first bytes; None refuses them. It sets the stream's
    callbacks. `on_end(reason)` is called once, after all streams were told. `growth`: the session's allowance for windows.
    """

    def __init__(
        self,
        reactor: Reactor,
        port: Port,
        *,
        role: Role,
        on_stream: Callable[[StreamPort], None] | None,
        on_end: Callable[[str], None],
        shared: LegShared,
    ) -> None:
        self.reactor = reactor
        self.port = port
        self.shared = shared
        self.out = Outbox(shared.pool)
        self.machine: Machine[StreamPort] = Machine(role, self.out, self._accept)
        self.machine.on_pong = self._pong
        self.machine.on_drained = self._drained
        self.sender = Sender(reactor, port, self.out, self._broken)
        self.growth = Growth(parent=shared.growth)
        self.rtt: float | None = None
        """Round trip in seconds, by pings; None: not yet known."""
        self.over = False
        self.reason = ""
        self._on_stream = on_stream
        self._on_end = on_end
        self.received = 0
        """Bytes, frame headers included."""
        self._received_before = BUSY_BYTES
        self._carry = b""
        self._paused = False
        self._pinged: tuple[int, float] = (0, 0.0)
        self._heard = reactor.refresh() if not reactor.in_turn else reactor.now
        self._timer = reactor.timer(self._tick)
        _tune(port)
        port.on_readable = self._readable
        port.attach(reactor)
        # Half a beat apart, so that on an idle leg the server asks and the agent, having just heard it, need not.
        self._tick_in(PING_SECONDS if role is Role.SERVER else PING_SECONDS / 2)
        self._ping()

    # -- streams
    def open(self) -> StreamPort:
        """A new stream; nothing is sent until its first write. Raises PortBroken when the leg can't give one."""
        if self.over:
            raise PortBroken(self.reason)
        stream = StreamPort(self, 0, SYN)
        try:
            self.machine.open(stream)
        except WireError as error:
            raise PortBroken(str(error)) from error
        return stream

    @property
    def streams(self) -> int:
        """Live streams, of both sides."""
        return len(self.machine.streams)

    @property
    def heard(self) -> float:
        """The reactor's clock when a byte last came."""
        return self._heard

    @property
    def can_open(self) -> bool:
        return not self.over and self.machine.can_open

    @property
    def worn(self) -> bool:
        """Whether the leg should be replaced because its stream ids run out some day."""
        return self.machine.worn

    @property
    def draining(self) -> bool:
        """Whether either side said go away: no new streams, the old ones finish, then the leg ends by itself."""
        return self.machine.going or self.machine.peer_going is not None

    def _accept(self, stream_id: int) -> StreamPort | None:
        if self._on_stream is None:
            return None
        stream = StreamPort(self, stream_id, ACK)
        self.machine.streams[stream_id] = stream  # so that on_stream may already end it
        self._on_stream(stream)
        return stream

    # -- receiving
    def _readable(self) -> None:
        if self.over or self._paused:
            return
        buffer = self.shared.lend_read_buffer()
        limit = self.received + TURN_BYTES
        try:
            for _ in range(READS_PER_TURN):
                if not self._read_once(buffer):
                    return
                if self.received >= limit:
                    break
        except PortBroken as error:
            self._broken(str(error))
            return
        except WireError as error:
            self._refuse(error)
            return
        finally:
            self.shared.give_back_read_buffer(buffer)
        self.reactor.later(self._readable)

    def _read_once(self, buffer: memoryview) -> bool:
        """Read and parse once; whether there may be more."""
        carry = self._carry
        start = len(carry)
        if start:
            buffer[:start] = carry
            count = self.port.read_into(buffer[start:])
        else:
            count = self.port.read_into(buffer)
        if count <= 0:
            if count == 0:
                self._broken("the other side closed the connection")
            return False
        self._heard = self.reactor.now
        self.received += count
        end = start + count
        used = self.machine.feed(buffer[:end])
        if self.over:
            return False
        self._carry = bytes(buffer[used:end]) if used < end else b""
        if self.out.pending:
            self.sender.schedule()  # answers of the machine's own: pongs, refusals
            if self.out.backlog > BACKLOG_BYTES:
                self._paused = True
                self.sender.resume = self._resume
                return False
        return True

    def _resume(self) -> None:
        self._paused = False
        self._drained()
        self._readable()

    def _refuse(self, error: WireError) -> None:
        """The peer broke the protocol: say so, if that is still possible, and end."""
        if self.over:
            return
        self.out.frame(GO_AWAY, 0, 0, Leaving.PROTOCOL_ERROR)
        self.sender.push()
        self._finish(f"{error.code}: {error}", orderly=True)

    # -- liveness
    def _ping(self) -> None:
        self._pinged = (self._pinged[0] + 1 & 0xFFFFFFFF, self.reactor.now)
        self.machine.ping(self._pinged[0])
        self.sender.schedule()

    def _pong(self, value: int) -> None:
        number, at = self._pinged
        if value != number:
            return
        sample = self.reactor.now - at
        # The least is the path, what is above it are queues (and, at first, the other program's start); but paths change.
        self.rtt = sample if self.rtt is None or sample < self.rtt else self.rtt + (sample - self.rtt) / 32
        if number < FIRST_PINGS:
            self._ping()

    def _tick(self) -> None:
        now = self.reactor.now
        silent = now - self._heard
        if silent >= DEAD_SECONDS:
            if now - self._due < LATE_SECONDS:
                self._broken(f"no byte for {DEAD_SECONDS:g} s")
            else:  # it is we who slept: bytes may be waiting unread
                self._ping()
                self._tick_in(PROBE_SECONDS)
            return
        self._sweep()
        if self.draining:
            self._end_drained()  # the other side has not, though its part is over too
            if self.over:
                return
        if silent >= PING_SECONDS * 0.9 or self.received > self._received_before:
            self._ping()  # only one side of an idle leg does: the other has just heard it
        self._received_before = self.received + BUSY_BYTES
        self._tick_in(min(PING_SECONDS, DEAD_SECONDS - silent))

    def _tick_in(self, seconds: float) -> None:
        self._due = self.reactor.now + seconds
        self._timer.set(seconds)

    def _sweep(self) -> None:
        """Acknowledge streams with nothing to say; reset closed ones that the peer forgot."""
        now = self.reactor.now
        for stream in list(self.machine.streams.values()):
            if stream.owes:
                self.machine.acknowledge(stream)
            if stream.closed and now - stream.stuck_since >= CLOSE_LINGER:
                self.machine.reset(stream)

    # -- the end
    def go_away(self) -> None:
        """Take no new streams; when the last one has ended the leg ends. Idempotent."""
        if not self.over:
            self.machine.go_away()
            self.sender.schedule()

    def _drained(self) -> None:
        if self.machine.peer_going is not None:
            self.reactor.soon(self._end_drained)

    def _end_drained(self) -> None:
        if self.over or self.machine.streams:
            return
        self.sender.push()
        if self.out.pending and not self.over:  # the last words of its streams: come back when the port has taken them
            self.sender.resume = self._resume
            self.sender.schedule()
            return
        self._finish("drained", orderly=True)

    def close(self) -> None:
        """End now, telling the peer; streams that are still open break. Idempotent."""
        if not self.over:
            self.machine.go_away()
            self.sender.push()
            self._finish("the leg was closed", orderly=True)

    def abort(self) -> None:
        """End now with a reset. Idempotent."""
        self._finish("the leg was aborted", orderly=False)

    def _broken(self, reason: str) -> None:
        if self.draining and not self.machine.streams:
            self._finish("drained", orderly=True)
        else:
            self._finish(reason, orderly=False)

    def _finish(self, reason: str, *, orderly: bool) -> None:
        if self.over:
            return
        self.over = True
        self.reason = reason
        self._timer.clear()
        self.port.on_readable = self.port.on_writable = ignore
        if orderly:
            self.port.close()
        else:
            self.port.abort()
        self.sender.drop()
        left = self.machine.drop()
        # not from within somebody's write or read
        self.reactor.soon(lambda: self._tell(left))

    def _tell(self, left: list[StreamPort]) -> None:
        for stream in left:
            stream.forgotten()
            stream.broke(f"the leg ended: {self.reason}")
        self._on_end(self.reason)


def _tune(port: Port) -> None:
    if isinstance(port, SocketPort) and port.sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # only speed depends on it
            port.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port.sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)

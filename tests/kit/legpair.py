"""Two legs without a network: the test turns the reactor and decides how many bytes each port takes and gives."""

from __future__ import annotations

import socket
from collections.abc import Callable

from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.port import WOULD_BLOCK, Buffer, Port, PortBroken
from protocol.link.reactor import Handler, Reactor
from protocol.link.stream import PortStream
from protocol.mux import Role


class HandReactor(Reactor):
    """A reactor that the test turns: no descriptors, no trio, its clock is a number."""

    edge_triggered = True

    def register(self, sock: socket.socket, handler: Handler) -> None:
        raise NotImplementedError

    def forget(self, sock: socket.socket) -> None:
        raise NotImplementedError

    def arm(self, sock: socket.socket, mask: int) -> None:
        raise NotImplementedError

    async def _serve(self) -> None:
        raise NotImplementedError

    def refresh(self) -> float:
        return self.now

    def _begin(self) -> None:
        self.in_turn = True
        self._ready += self._later
        self._later.clear()

    def go(self, seconds: float = 0.0) -> None:
        """One turn, `seconds` later; timers that are due first."""
        self.now += seconds
        with self.turn():
            self._fire()

    def settle(self) -> None:
        """Turns until nothing is left to do."""
        for _ in range(10_000):
            if not self._ready and not self._later:
                break
            self.go()
        if self._failure is not None:
            raise self._failure


class WirePort(Port):
    """One end of a wire. `room`: how many bytes it takes before it says that it is full (None: no limit)."""

    def __init__(self) -> None:
        super().__init__()
        self.far: WirePort | None = None
        self.arriving = bytearray()  # sent by the far side, not yet delivered
        self.incoming = bytearray()
        self.room: int | None = None
        self.full = False
        self.ended: str | None = None
        self.far_end: str | None = None
        self.pieces: list[bytes] = []  # what was written, write by write

    def read(self) -> memoryview | None:
        raise NotImplementedError

    def read_into(self, room: memoryview) -> int:
        if self.incoming:
            count = min(len(room), len(self.incoming))
            room[:count] = self.incoming[:count]
            del self.incoming[:count]
            return count
        if self.far_end == "abort":
            raise PortBroken("reset")
        return 0 if self.far_end else WOULD_BLOCK

    def unread(self, rest: Buffer) -> None:
        raise NotImplementedError

    def write(self, data: Buffer) -> int:
        assert self.ended is None
        count = len(data) if self.room is None else min(len(data), self.room)
        if self.room is not None:
            self.room -= count
        assert self.far is not None
        self.far.arriving += data[:count]
        self.pieces.append(bytes(data[:count]))
        self.full = count < len(data)
        return count

    def end_writing(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended = how
            assert self.far is not None
            self.far.far_end = how

    def attach(self, reactor: Reactor) -> None:
        pass

    def detach(self) -> None:
        raise NotImplementedError

    def stream(self) -> PortStream:
        raise NotImplementedError

    async def wait_readable(self) -> None:
        raise NotImplementedError

    async def wait_writable(self) -> None:
        raise NotImplementedError

    @property
    def peer(self) -> tuple[str, int] | None:
        return None

    def deliver(self, most: int | None = None) -> int:
        """Bring up to `most` bytes of what is on the way; how many."""
        count = len(self.arriving) if most is None else min(most, len(self.arriving))
        self.incoming += self.arriving[:count]
        del self.arriving[:count]
        if self.ended is None and (count or (self.far_end and not self.arriving)):
            self.on_readable()
        return count

    def make_room(self, room: int | None) -> None:
        self.room = room
        if self.full and self.ended is None and room != 0:
            self.full = False
            self.on_writable()


class LegPair:
    """A server's leg and an agent's on one wire. `on_stream` gets what the server opens (it is kept in `accepted`)."""

    def __init__(self, on_stream: Callable[[StreamPort], None] | None = None, shared: LegShared | None = None) -> None:
        self.reactor = HandReactor()
        self.shared = shared or LegShared()
        self.near, self.far = WirePort(), WirePort()
        self.near.far, self.far.far = self.far, self.near
        self.accepted: list[StreamPort] = []
        self.ends: dict[str, str] = {}
        self._then = on_stream
        with self.reactor.turn():
            self.server = Leg(
                self.reactor,
                self.near,
                role=Role.SERVER,
                on_stream=None,
                on_end=self._end("server"),
                shared=self.shared,
            )
            self.agent = Leg(
                self.reactor, self.far, role=Role.CLIENT, on_stream=self._accept, on_end=self._end("agent"),
                shared=self.shared,
            )  # fmt: skip
        self.settle()

    def _end(self, who: str) -> Callable[[str], None]:
        def end(reason: str) -> None:
            assert who not in self.ends
            self.ends[who] = reason

        return end

    def _accept(self, stream: StreamPort) -> None:
        self.accepted.append(stream)
        if self._then is not None:
            self._then(stream)

    def settle(self) -> None:
        """Deliver everything, turn until nothing moves."""
        for _ in range(10_000):
            self.reactor.settle()
            with self.reactor.turn():
                moved = self.near.deliver() + self.far.deliver()
                for port in (self.near, self.far):
                    if port.far_end and port.ended is None and not port.arriving:
                        port.on_readable()
                        moved += port.ended is not None
            if not moved and not self.reactor._ready and not self.reactor._later:
                return
        raise AssertionError("it never settles")

    def open(self, data: bytes = b"x") -> tuple[StreamPort, StreamPort]:
        """A stream whose first bytes have arrived: both ends."""
        with self.reactor.turn():
            stream = self.server.open()
            assert stream.write(data) == len(data)
        self.settle()
        return stream, self.accepted[-1]


class Reader:
    """An owner that reads all it is told of, as long as `open_` is true, and remembers."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.data = bytearray()
        self.ended = False
        self.broken: str | None = None
        self.calls = 0
        port.on_readable = self.read

    def read(self) -> None:
        self.calls += 1
        try:
            while (view := self.port.read()) is not None:
                if not view:
                    self.ended = True
                    return
                self.data += view
        except PortBroken as error:
            self.broken = str(error)

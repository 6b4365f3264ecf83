"""The two owners a stream of a leg can have. It lives on its leg's reactor always; this half gives it the async face for
code in tasks (SDK users, handshakes): `detach`, then `stream`; `attach` takes it back with what came meanwhile.

It knows nothing of frames or windows: `leg_stream` answers the questions at the end.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import trio

from protocol.link.port import Port, PortBroken, ignore
from protocol.link.stream import PortStream

if TYPE_CHECKING:
    from protocol.link.reactor import Reactor


class _Face:
    """What a task-owned stream has beside: the tasks that wait, and the trio stream."""

    __slots__ = ("readers", "stream", "writers")

    def __init__(self, port: FacedPort) -> None:
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()
        self.stream = PortStream(port)

    def wake_readers(self) -> None:
        self.readers.unpark_all()

    def wake_writers(self) -> None:
        self.writers.unpark_all()


class FacedPort(Port):
    """Ownership and waiting of a stream. Born attached; `closed` is whether its owner let go of it."""

    __slots__ = ("_face", "closed")

    closed: bool
    _face: _Face | None

    def attach(self, reactor: Reactor) -> None:
        """Nothing moves: a stream lives on its leg's reactor. Also allowed on a stream that is attached already."""
        if reactor is not self.reactor:
            raise ValueError("a stream lives on its leg's reactor")
        if self.closed:
            raise PortBroken("the stream is closed")
        face = self._face
        if face is not None:
            if face.stream.busy:
                raise trio.BusyResourceError("a task is using the stream")
            self._face = None
            if self.on_readable == face.wake_readers:  # else the new owner has put its own there, as with any port
                self.on_readable = ignore
            if self.on_writable == face.wake_writers:
                self.on_writable = ignore
        if self.has_news():
            self.announce()

    def _announce(self) -> None:
        if self._face is None:
            self.on_readable()

    def detach(self) -> None:
        if self._face is None:
            face = self._face = _Face(self)
            self.on_readable, self.on_writable = face.wake_readers, face.wake_writers

    def stream(self) -> PortStream:
        if self._face is None:
            raise trio.BusyResourceError("a reactor owns the port")
        return self._face.stream

    def wake_tasks(self) -> None:
        """The stream was closed: whoever waits learns of it."""
        if self._face is not None:
            self._face.wake_readers()
            self._face.wake_writers()

    async def wait_readable(self) -> None:
        assert self._face is not None, "detach first"
        if self.has_news() or self.closed:
            await trio.lowlevel.checkpoint()
        else:
            await self._face.readers.park()
        self._check_open()

    async def wait_writable(self) -> None:
        assert self._face is not None, "detach first"
        if self.wants_room():
            await self._face.writers.park()
        else:
            await trio.lowlevel.checkpoint()
        self._check_open()

    def _check_open(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError("the stream was closed")

    # -- answered by the stream
    @property
    @abc.abstractmethod
    def reactor(self) -> Reactor:
        """The leg's."""

    @abc.abstractmethod
    def has_news(self) -> bool:
        """Whether a read would give bytes, the end or an error."""

    @abc.abstractmethod
    def announce(self) -> None:
        """Have `_announce` called in the reactor's next turn."""

    @abc.abstractmethod
    def wants_room(self) -> bool:
        """Whether a write would take nothing now. True: `on_writable` follows."""

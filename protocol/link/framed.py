"""Messages over a port. `FramedLink` is for tasks: the first frame of any link, and an agent's control link. `FramedPort`
receives them in callbacks: a server's control links are many and say little, and a task that waits costs more memory than
all else that Python keeps of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from protocol.errors import Fault, LinkError
from protocol.frames import FIRST_FRAME_CAP, FrameDecoder, frame
from protocol.link.port import WOULD_BLOCK, Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.link.stream import PortStream
from protocol.messages import Message

READ_BYTES: Final = 4 * 1024
READS_PER_TURN: Final = 2  # 230 of the smallest messages, 2 ms; then answers go out, and others have their turn


class FramedLink:
    """Messages over `stream`, which the link owns: `aclose` closes it, `release` hands its port over with every byte
    that was read early. `cap` limits the next frame that is received, in bytes."""

    def __init__(self, stream: PortStream, *, cap: int = FIRST_FRAME_CAP) -> None:
        self._stream = stream
        self._decoder = FrameDecoder(cap)
        self._sending = trio.Lock()
        self.last_received = trio.current_time()
        """trio's clock when a byte last came: any received byte is life."""

    @property
    def cap(self) -> int:
        return self._decoder.cap

    @cap.setter
    def cap(self, cap: int) -> None:
        self._decoder.cap = cap

    async def send(self, message: Message) -> None:
        """Send one frame in one write; senders take turns. Raises LinkError when the link is gone."""
        data = frame(message)
        try:
            async with self._sending:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkError("link_lost", f"the link is gone: {error}") from error

    async def receive(self) -> Message | None:
        """The next message; None at an end of file between frames. Raises WireError for a bad frame, and LinkError when
        the link is lost or ends within a frame."""
        while True:
            message = self._decoder.next()
            if message is not None:
                return message
            try:
                data = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise LinkError("link_lost", f"the link is gone: {error}") from error
            if not data:
                if self._decoder.leftover():
                    raise LinkError("link_lost", "the link ended within a frame")
                return None
            self.last_received = trio.current_time()
            self._decoder.feed(data)

    def release(self) -> Port:
        """The port, for a reactor or another owner; bytes that followed the last message are in it again. The link and
        its stream are closed from then on. Raises trio.BusyResourceError while a task is inside."""
        port = self._stream.detach()
        port.unread(self._decoder.leftover())
        return port

    @property
    def port(self) -> Port:
        return self._stream.port

    async def aclose(self) -> None:
        await self._stream.aclose()


class FramedPort:
    """Receives messages on `port` (task-owned, bytes read early included), which it takes over at `start` and attaches to
    `reactor`. It sends nothing and closes nothing: whoever writes to the port and lets go of it stays the caller.

    `on_message(message)` may call `stop`. `on_end(fault)` is called once, unless `stop` comes first: None for an end of
    file between frames, WireError for a bad frame, LinkError for a lost link or an end within a frame.
    """

    __slots__ = ("_decoder", "_on_end", "_on_message", "_reactor", "_stopped", "last_received", "port")

    def __init__(
        self,
        reactor: Reactor,
        port: Port,
        on_message: Callable[[Message], None],
        on_end: Callable[[Fault | None], None],
        *,
        cap: int = FIRST_FRAME_CAP,
    ) -> None:
        self.port = port
        self._reactor = reactor
        self._on_message = on_message
        self._on_end = on_end
        self._decoder = FrameDecoder(cap)
        self._stopped = False
        self.last_received = trio.current_time()
        """trio's clock when a byte last came: any received byte is life."""

    def start(self) -> None:
        self.port.on_readable = self._readable
        self.port.attach(self._reactor)

    def stop(self) -> None:
        """Nothing is received or called any more. Idempotent."""
        self._stopped = True
        self.port.on_readable = ignore

    def _readable(self) -> None:
        room = self._reactor.scratch[:READ_BYTES]
        try:
            for _ in range(READS_PER_TURN):
                if self._stopped:
                    return
                count = self.port.read_into(room)
                if count == WOULD_BLOCK:
                    return
                if count == 0:
                    self._finish()
                    return
                self._take(room[:count])
        except PortBroken as error:
            self._end(LinkError("link_lost", f"the link is gone: {error}"))
        except Fault as fault:
            self._end(fault)
        else:
            self._reactor.later(self._readable)

    def _take(self, data: memoryview) -> None:
        self.last_received = self._reactor.now
        self._decoder.feed(data)
        while not self._stopped and (message := self._decoder.next()) is not None:
            self._on_message(message)

    def _finish(self) -> None:
        within = bool(self._decoder.leftover())
        self._end(LinkError("link_lost", "the link ended within a frame") if within else None)

    def _end(self, fault: Fault | None) -> None:
        self.stop()
        self._on_end(fault)

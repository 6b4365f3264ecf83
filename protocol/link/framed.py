"""A control link, or the first frame of any link: messages over the async face of a port."""

from __future__ import annotations

import trio

from protocol.errors import LinkError
from protocol.frames import FIRST_FRAME_CAP, FrameDecoder, frame
from protocol.link.port import Port
from protocol.link.stream import PortStream
from protocol.messages import Message


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

"""What waits to be sent on a control link: a bounded queue that anybody may fill; it leaves at the end of the turn.

It is the session's ControlHandle. Putting a message in never waits and never fails for the caller; a link that does not
keep up is ended, since a peer that does not read control messages is of no use.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.frames import frame
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.messages import Message
from protocol.session import ControlOrder

LIMIT = 2_000  # messages; a burst of a thousand new visitors asks for as many links at once
SEND_TIMEOUT = 10.0  # seconds in which at least something must go out, as in 1.7; from the end on, everything


class Outbox:
    """Sends in order, from `start` on. `order` is told of each message and keeps what the agent does not understand away.

    Each frame is a write of its own: a 1.7 agent wants the body of a frame within one TLS record.
    """

    __slots__ = ("_on_end", "_order", "_port", "_queue", "_reactor", "_scheduled", "_stuck", "reason")

    def __init__(self, reactor: Reactor, order: ControlOrder) -> None:
        self._reactor = reactor
        self._order = order
        self._queue: list[memoryview] = []  # not a deque: that keeps 0.6 KiB when it is empty, and it is
        self._port: Port | None = None
        self._on_end: Callable[[str], None] | None = None
        self._scheduled = False
        self._stuck = reactor.timer(self._give_up)
        self.reason: str | None = None
        """Why the link is to be ended; None while it lives."""

    def __len__(self) -> int:
        return len(self._queue)

    def start(self, port: Port, on_end: Callable[[str], None]) -> None:
        """Send on `port` (attached, or about to be). `on_end(reason)` is called once: when what was queued before `end`
        has gone out, or when the link is lost or stuck. The caller closes the port, after `stop`."""
        self._port = port
        self._on_end = on_end
        port.on_writable = self._flush
        self._schedule()

    def stop(self) -> None:
        """Let go of the port; nothing is sent or called any more. Idempotent."""
        if self._port is not None:
            self._port.on_writable = ignore
        self.reason = self.reason or "the link has ended"
        self._port = self._on_end = None
        self._queue.clear()
        self._stuck.end()

    def send(self, message: Message) -> None:
        """Queue `message`. Dropped when the link is ending, or when the agent did not agree to such messages."""
        if self.reason is not None or not self._order.may_send(type(message)):
            return
        if len(self._queue) >= LIMIT:
            self._queue.clear()
            self.end("the agent does not read its control link")
            return
        self._order.sent(message)
        self._queue.append(memoryview(frame(message)))
        self._schedule()

    def end(self, reason: str) -> None:
        """Nothing more is queued; `on_end` follows when what is queued has gone out. The first reason stays."""
        if self.reason is None:
            self.reason = reason
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._port is not None:
            self._scheduled = True
            self._reactor.soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._port is None:
            return
        try:
            done = self._write(self._port)
        except PortBroken as error:
            self._finish(f"the link is gone: {error}")
            return
        if not done:
            if not self._stuck.armed:
                self._stuck.set(SEND_TIMEOUT)
            return
        self._stuck.clear()
        if self.reason is not None:
            self._finish(self.reason)

    def _write(self, port: Port) -> bool:
        """As far as the port takes it; whether that was all."""
        whole = 0
        for data in self._queue:
            taken = port.write(data)
            if taken and self.reason is None:
                self._stuck.clear()
            if taken < len(data):
                self._queue[whole] = data[taken:]
                break
            whole += 1
        del self._queue[:whole]
        return not self._queue

    def _give_up(self) -> None:
        self._finish(f"a message could not be sent in {SEND_TIMEOUT:g} s")

    def _finish(self, reason: str) -> None:
        on_end = self._on_end
        self.reason = self.reason or reason
        self.stop()
        if on_end is not None:
            on_end(reason)

"""Letting go of a port politely: a socket that is closed while the peer's bytes lie unread sends a reset, and the reset
can overtake our last answer (RFC 9112, 9.6). So: end writing, read and drop for a moment, then close."""

from __future__ import annotations

from typing import Final

from protocol.link.port import Callback, Port, PortBroken, ignore
from protocol.link.reactor import Reactor

LINGER_SECONDS: Final = 2.0  # as long as nginx and Apache wait by half; the peer needs one round trip
LINGER_BYTES: Final = 4 * 1024 * 1024  # an upload that does not stop is cut


def linger(reactor: Reactor, port: Port, *, done: Callback = ignore) -> None:
    """Close `port` (attached to `reactor`) once the peer has ended, LINGER_SECONDS have passed or LINGER_BYTES came.
    `done` is called once then, or when the reactor ends."""
    _Linger(reactor, port, done).start()


class _Linger:
    __slots__ = ("_done", "_dropped", "_port", "_reactor", "_timer")

    def __init__(self, reactor: Reactor, port: Port, done: Callback) -> None:
        self._reactor = reactor
        self._done = done
        self._port = port
        self._dropped = 0
        self._timer = reactor.timer(self._end)

    def start(self) -> None:
        self._port.on_writable = ignore
        self._port.on_readable = self._drop
        self._reactor.lingering.add(self._end)
        try:
            self._port.end_writing()
        except PortBroken:
            self._end()
            return
        self._timer.set(LINGER_SECONDS)
        self._drop()

    def _drop(self) -> None:
        try:
            while (view := self._port.read()) is not None:
                self._dropped += len(view)
                if not view or self._dropped > LINGER_BYTES:
                    self._end()
                    return
        except PortBroken:
            self._end()

    def _end(self) -> None:
        self._timer.end()
        self._reactor.lingering.discard(self._end)
        self._port.close()
        done, self._done = self._done, ignore
        done()

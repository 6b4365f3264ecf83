"""The PROXY protocol header in front of a tcp visitor: awaited, read, taken off. In callbacks of the reactor.

Whether a connection begins with one is settled by where it comes from, never by looking at its bytes: in plain TCP the
service may have to speak first, so "no header yet" and "no header" can't be told apart, and a visitor behind a proxy that
sends none could write one himself. HAProxy (`accept-proxy`) and nginx (`proxy_protocol`) settle it the same way.
It must not know tunnels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.errors import WireError
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.proxy_header import ProxyHeader, decode

HEADER_SECONDS: Final = 10.0  # as for the first request head; a proxy sends it in its first packet

Done = Callable[[ProxyHeader | str], None]


class HeaderWait:
    """Reads the header from `port` (attached to `reactor`). `done` is called once, with the header, or with why there is
    none; the port's callbacks are free then, and what came behind the header is in the port. Closes nothing."""

    __slots__ = ("_data", "_done", "_port", "_timer")

    def __init__(self, reactor: Reactor, port: Port, done: Done) -> None:
        self._port = port
        self._done = done
        self._data = b""
        self._timer = reactor.timer(self._late)

    def start(self) -> None:
        """Within a turn."""
        self._timer.set(HEADER_SECONDS)
        self._port.on_readable = self._read
        self._read()

    def cancel(self) -> None:
        """`done` is called at once with "", unless it was called."""
        self._end("")

    def _late(self) -> None:
        self._end(f"no header within {HEADER_SECONDS:g} s")

    def _read(self) -> None:
        try:
            while (view := self._port.read()) is not None:
                if not view:
                    self._end("it ended before its header")
                    return
                self._data += view
                found = decode(self._data)  # raises before this is longer than a header can be and one read
                if found is not None:
                    header, end = found
                    self._port.unread(self._data[end:])
                    self._end(header)
                    return
        except WireError as error:
            self._end(error.message)
        except PortBroken as error:
            self._end(str(error))

    def _end(self, outcome: ProxyHeader | str) -> None:
        done, self._done = self._done, _nobody
        self._timer.end()
        if done is not _nobody:
            self._port.on_readable = ignore
            done(outcome)


def _nobody(_outcome: ProxyHeader | str) -> None:
    """Everything has been said."""

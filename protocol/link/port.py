"""Ports: non-blocking two-way byte endpoints, one interface for a plain socket, TLS over a socket and a stream of a leg.

A port belongs to one side at a time. Fresh ports are *task-owned*: `stream()` gives the async face, for handshakes,
control links and SDK users. `attach(reactor)` hands the port to a reactor, with every byte that was read early; from then
on its owner is a set of callbacks (a relay, an exchange, a parked link) and the async face raises BusyResourceError.
`detach()` hands it back.

The callback contract, the same for every port:

- `on_readable()` is an *edge*: it is called once when bytes (or the end of file, or a reset) can be read. The owner reads
  until `read()` returns None, or remembers that it stopped early and comes back by itself; nobody reminds it.
- `on_writable()` is called once after a `write` took less than it was offered, or after `reserve` gave None.
- A callback never blocks and never raises past the reactor. It may close any port, its own too.
- `read()` lends a view that is valid until the next call into *any* port of the same reactor. What the owner can't pass
  on it gives back with `unread()`: the port keeps that copy, so a queue belongs to the side that is ahead.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from protocol.link.faults import PortBroken as PortBroken  # part of this interface

if TYPE_CHECKING:
    from protocol.link.reactor import Reactor
    from protocol.link.stream import PortStream

Callback = Callable[[], None]
Buffer = bytes | bytearray | memoryview

WOULD_BLOCK: Final = -1


def ignore() -> None:
    """The callback of a port that nobody listens to."""


class Port(abc.ABC):
    """One endpoint. See the module's docstring for ownership and the callback contract."""

    __slots__ = ("on_readable", "on_writable")

    def __init__(self) -> None:
        self.on_readable: Callback = ignore
        self.on_writable: Callback = ignore

    # -- reading
    @abc.abstractmethod
    def read(self) -> memoryview | None:
        """Borrow the next bytes. None: nothing now, `on_readable` will follow. An empty view: end of file (and again at
        each later call). Raises PortBroken when the other side reset the connection, also when it did so after its end."""

    @abc.abstractmethod
    def read_into(self, room: memoryview) -> int:
        """Like `read`, into `room` (not empty): the count, 0 at the end of file, WOULD_BLOCK for nothing now."""

    def settled(self) -> bool:
        """Whether a read would surely give nothing now. True counts as that read: `on_readable` will follow."""
        return False

    def take(self) -> bytes | None:
        """Like `read`, as bytes of the caller's own (b"" at the end of file): for what is parsed and kept, such as heads."""
        view = self.read()
        return None if view is None else bytes(view)

    @abc.abstractmethod
    def unread(self, rest: Buffer) -> None:
        """Give back the tail of what was read last; it is copied and comes first at the next read. `on_readable` is
        not called for it."""

    # -- writing
    @abc.abstractmethod
    def write(self, data: Buffer) -> int:
        """Take as much of `data` as fits now and return the count (0..len). Less than all: `on_writable` will follow.
        Raises PortBroken. A port that retries identical buffers (TLS) copies what it must keep before it returns."""

    def reserve(self) -> memoryview | None:
        """Room to read into directly, for ports that own their send buffer (a stream of a leg): fill it and `commit`.
        None: no room now, `on_writable` will follow. Ports without such a buffer raise TypeError; see `reserves`."""
        raise TypeError(f"{type(self).__name__} has no room to lend")

    def commit(self, count: int) -> None:  # noqa: ARG002
        """Send the first `count` bytes of the view that `reserve` lent (0 gives it back unused)."""
        raise TypeError(f"{type(self).__name__} has no room to lend")

    reserves: bool = False  # class attribute: whether reserve/commit work

    @abc.abstractmethod
    def end_writing(self) -> None:
        """Half-close: after the bytes already taken, the other side sees the end of file. Reading goes on."""

    clean_end: bool = True
    """After an end of file: False when the other side vanished without saying so (TLS without close_notify)."""

    @property
    def carrier_gone(self) -> bool:
        """Whether what carries this port (the leg of a stream) has ended under it, which is not its peer's doing."""
        return False

    # -- the end
    @abc.abstractmethod
    def close(self) -> None:
        """Let go in an orderly way: what was taken is still delivered if the kernel (or the leg) can. Idempotent."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Let go with a reset, so that nobody mistakes what was sent for a complete answer. Idempotent."""

    # -- ownership
    @abc.abstractmethod
    def attach(self, reactor: Reactor) -> None:
        """From task to reactor. Bytes that were read early stay in the port, and `on_readable` is called for them at the
        reactor's next turn. Raises trio.BusyResourceError while a task is inside the async face."""

    @abc.abstractmethod
    def detach(self) -> None:
        """From reactor to task; callbacks are reset to `ignore`."""

    @abc.abstractmethod
    def stream(self) -> PortStream:
        """The async face (a trio HalfCloseableStream) of a task-owned port. Raises trio.BusyResourceError when a reactor
        owns the port. Closing the stream closes the port."""

    @abc.abstractmethod
    async def wait_readable(self) -> None:
        """For the async face: until `read_into` may give something. A cancel point; raises trio.ClosedResourceError when
        the port is closed meanwhile."""

    @abc.abstractmethod
    async def wait_writable(self) -> None:
        """For the async face: until `write` may take something."""

    async def flushed(self) -> None:  # noqa: B027 - most ports keep nothing
        """For the async face: until what `write` took has left buffers that nobody else would empty."""

    @property
    @abc.abstractmethod
    def peer(self) -> tuple[str, int] | None:
        """Address and port of the other side where there is one, IPv4-mapped shown as IPv4."""

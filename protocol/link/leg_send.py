"""The sending half of a leg: one write per batch, and who may put how much into the next one.

A turn collects in the outbox what the streams commit; at its end come the window updates, then those streams that were
refused room get their turn, then everything goes out in one write. The rule that decides latency: a stream whose last
commit was large ("bulk") gets no room while the turn is served, only at its end, and there in rotation: each may fill what is
left of the batch; small ones go first and at once. So a small request waits behind one batch at most, and bulk still fills
every batch. (First come first served: p99 of small requests 61-1 000 ms. This way: 2-4 ms. Bulk streams that share each batch
in parts of 32 KiB are no quicker to react, and eight of them carry a fifth less.)

What the port does not take stays in its buffer; until it is gone nothing is lent. Knows nothing of parsing or liveness.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.link.leg_stream import BULK, SHARE, StreamPort
from protocol.link.port import Callback, Port, PortBroken
from protocol.link.reactor import Reactor
from protocol.mux import Outbox
from protocol.mux.outbox import LEAST_ROOM


class Sender:
    """Owned by a leg. `on_broken(reason)` is called, perhaps within `push`, when the port fails."""

    __slots__ = ("_bulk", "_on_broken", "_port", "_reactor", "_small", "credits", "out", "over", "resume",
                 "scheduled")  # fmt: skip

    def __init__(self, reactor: Reactor, port: Port, out: Outbox, on_broken: Callable[[str], None]) -> None:
        self.out = out
        self.scheduled = False
        self.over = False
        self.credits: set[StreamPort] = set()
        """Streams that may owe the peer a window update."""
        self.resume: Callback | None = None
        """What to do when the backlog is written: the leg stopped reading because of it."""
        self._reactor = reactor
        self._port = port
        self._on_broken = on_broken
        # Lists, though taken from the front: they are short, and an empty deque keeps 0.7 KiB on every idle leg.
        self._small: list[StreamPort] = []
        self._bulk: list[StreamPort] = []
        port.on_writable = self._writable

    def schedule(self) -> None:
        """Have `flush` run at the end of this turn."""
        if not self.scheduled:
            self.scheduled = True
            self._reactor.soon(self.flush)

    def enqueue(self, stream: StreamPort) -> None:
        """`stream` was refused room: its `on_writable` follows, in fair order."""
        if not stream.waiting:
            stream.waiting = True
            (self._bulk if stream.bulk else self._small).append(stream)
        if not self.scheduled:
            self.schedule()

    def flush(self) -> None:
        """The end of a turn. Goes on in the next one while streams wait, so that others are looked at in between."""
        self.scheduled = True  # what is committed below goes out below
        if not (self.over or self.out.writing):
            self.pay()
            self._serve_waiting()
            self.push()
            if self.resume is not None and not self.out.writing:
                self._reactor.soon(self.resume)
                self.resume = None
        if (self._small or self._bulk) and not (self.out.writing or self.over):
            self._reactor.later(self.flush)
        else:
            self.scheduled = False

    def pay(self) -> None:
        """Window updates for what has been read."""
        if self.credits:
            now = self._reactor.now
            for stream in self.credits:
                stream.pay(now)
            self.credits.clear()

    def push(self) -> None:
        """Write what is there, as far as the port takes it."""
        out = self.out
        try:
            while (batch := out.take()) is not None:
                if not out.sent(self._port.write(batch)):
                    return
                if not out.backlog:
                    return
        except PortBroken as error:
            self._on_broken(str(error))

    def _writable(self) -> None:
        if self.out.writing:
            self.push()
        if not self.out.writing:
            self.flush()

    def _serve_waiting(self) -> None:
        out = self.out
        for _ in range(len(self._small)):
            if out.shut or out.free < LEAST_ROOM:
                return
            self._serve(self._small.pop(0), SHARE)
        for _ in range(len(self._bulk)):
            if out.shut or out.free < BULK:
                return
            self._serve(self._bulk.pop(0), out.free)

    def _serve(self, stream: StreamPort, share: int) -> None:
        stream.waiting = False
        stream.grant(share)
        stream.on_writable()

    def drop(self) -> None:
        """The leg is over."""
        self.over = True
        self._small.clear()
        self._bulk.clear()
        self.credits.clear()

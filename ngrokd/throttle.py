"""Limits on visitors' streams: how many of a token's run at once, and how many bytes a second they have together.

`ThrottledOpener` stands before a session's opener where its token has such limits, and only there: the usual path pays
nothing. Each stream goes through a `ThrottledPort`, which lets bytes pass while it has credit and then waits in line with
the token's other streams. It slows the agent's side of a visit in both directions; back-pressure does the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from ngrokd.limits import TICK, FairBucket, Slot
from ngrokd.opener import Cancel, Opener, Ready
from ngrokd.usage import Usage
from protocol.errors import Fault
from protocol.link.logs import Log
from protocol.link.port import WOULD_BLOCK, Buffer, Port, ignore
from protocol.link.reactor import Reactor
from protocol.link.stream import PortStream
from protocol.messages import StartProxy

TELL_EVERY = 10.0  # seconds between two lines about one token's limit


class Pacer:
    """Wakes the ports of one bucket when it is their turn."""

    def __init__(self, reactor: Reactor, bucket: FairBucket[ThrottledPort]) -> None:
        self._reactor = reactor
        self.bucket = bucket
        self._timer = reactor.timer(self._serve)

    @property
    def now(self) -> float:
        return self._reactor.now if self._reactor.in_turn else self._reactor.refresh()

    def wait(self, port: ThrottledPort) -> None:
        self.bucket.wait(port)
        if not self._timer.armed:
            self._timer.set(self.bucket.next_due() or TICK)

    def _serve(self) -> None:
        for port in self.bucket.hand_out(self.now):
            port.credited(self.bucket.credit)
        due = self.bucket.next_due()
        if due is not None:
            self._timer.set(due)


class ThrottledOpener:
    """An opener that counts and slows; see the module. `inner` is owned by the session as before."""

    def __init__(
        self, reactor: Reactor, inner: Opener, usage: Usage, refused: Callable[[Fault], None] = lambda _: None
    ) -> None:
        self.inner = inner
        self._usage = usage
        self._refused = refused
        self._reactor = reactor
        self._pacer = Pacer(reactor, usage.bucket) if usage.bucket is not None else None

    @property
    def _now(self) -> float:
        return self._reactor.now if self._reactor.in_turn else self._reactor.refresh()

    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        """See Opener; more than the token's connections get `limit_reached` at once."""
        try:
            slot = self._usage.connection(self._now)
        except Fault as fault:
            self._refused(fault)
            ready(fault)
            return ignore

        def opened(found: Port | Fault) -> None:
            if isinstance(found, Fault):
                slot.release()
                ready(found)
            else:
                ready(ThrottledPort(found, self._pacer, slot))

        cancel = self.inner.open(start, opened)

        def left() -> None:
            cancel()
            slot.release()

        return left

    def close(self) -> None:
        self.inner.close()


def limited(reactor: Reactor, links: Opener, usage: Usage | None, log: Log) -> Opener:
    """The opener for visitors of a session: `links` itself, unless its token has limits that need one before it. What is
    turned away is logged with the token's name, now and then."""
    if usage is None or not usage.counts_connections:
        return links
    told = float("-inf")

    def refused(fault: Fault) -> None:
        nonlocal told
        now = reactor.now
        if now - told >= TELL_EVERY:
            told = now
            turned_away = usage.refused["connections"]
            log.warning("a token is over its limit", token=usage.grant.name, reason=fault.message, count=turned_away)

    return ThrottledOpener(reactor, links, usage, refused)


class ThrottledPort(Port):
    """`port` with a budget; owns it and `slot`. Without a pacer only the slot counts."""

    __slots__ = ("_credit", "_ended", "_pacer", "_port", "_slot", "_starved_reading", "_starved_writing", "clean_end")

    def __init__(self, port: Port, pacer: Pacer | None, slot: Slot) -> None:
        super().__init__()
        self._port = port
        self._pacer = pacer
        self._slot = slot
        self._credit = 0
        self._ended = False
        self.clean_end = True
        self._starved_reading = self._starved_writing = False
        port.on_readable = self._readable
        port.on_writable = self._writable

    def __repr__(self) -> str:
        return f"<ThrottledPort credit={self._credit} {self._port!r}>"

    def _readable(self) -> None:
        self.on_readable()

    def _writable(self) -> None:
        self.on_writable()

    # -- credit
    def credited(self, credit: int) -> None:
        """For the pacer: go on."""
        if self._ended:
            if self._pacer is not None:
                self._pacer.bucket.leave(self, credit)
            return
        self._credit += credit
        reading, self._starved_reading = self._starved_reading, False
        writing, self._starved_writing = self._starved_writing, False
        if reading:
            self.on_readable()
        if writing and not self._ended:
            self.on_writable()

    def _may(self, wanted: int) -> int:
        """How many bytes may pass now."""
        if self._pacer is None:
            return wanted
        if self._credit <= 0:
            self._credit += self._pacer.bucket.take(self._pacer.now)
        return min(wanted, max(self._credit, 0))

    def _starve(self) -> None:
        if self._pacer is not None:
            self._pacer.wait(self)

    # -- reading
    def read(self) -> memoryview | None:
        if self._pacer is None:
            view = self._port.read()
            if view is not None and not view:
                self.clean_end = self._port.clean_end
            return view
        room = memoryview(bytearray(self._pacer.bucket.credit))
        count = self.read_into(room)
        return None if count == WOULD_BLOCK else room[:count]

    def read_into(self, room: memoryview) -> int:
        allowed = self._may(len(room))
        if allowed == 0:
            self._starved_reading = True
            self._starve()
            return WOULD_BLOCK
        count = self._port.read_into(room[:allowed])
        if count > 0:
            self._credit -= count
        elif count == 0:
            self.clean_end = self._port.clean_end
        return count

    def unread(self, rest: Buffer) -> None:
        self._credit += len(rest)  # it will be read, and paid for, again
        self._port.unread(rest)

    # -- writing
    def write(self, data: Buffer) -> int:
        size = len(data)
        allowed = self._may(size)
        if allowed == 0 and size:
            self._starved_writing = True
            self._starve()
            return 0
        taken = self._port.write(data if allowed == size else memoryview(data)[:allowed])
        self._credit -= taken
        if taken == allowed < size:  # the port has room, the budget has not
            self._starved_writing = True
            self._starve()
        return taken

    def end_writing(self) -> None:
        self._port.end_writing()

    @property
    def carrier_gone(self) -> bool:
        return self._port.carrier_gone

    # -- the end
    def close(self) -> None:
        self._leave()
        self._port.close()

    def abort(self) -> None:
        self._leave()
        self._port.abort()

    def _leave(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._starved_reading = self._starved_writing = False
        self._slot.release()
        if self._pacer is not None:
            self._pacer.bucket.leave(self, max(self._credit, 0))

    # -- ownership
    def attach(self, reactor: Reactor) -> None:
        self._port.attach(reactor)

    def detach(self) -> None:
        self._port.detach()
        self.on_readable = self.on_writable = ignore

    def stream(self) -> PortStream:
        return PortStream(self)

    async def wait_readable(self) -> None:
        await self._port.wait_readable()

    async def wait_writable(self) -> None:
        await self._port.wait_writable()

    @property
    def peer(self) -> tuple[str, int] | None:
        return self._port.peer

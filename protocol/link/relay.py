"""The relay: two ports, both directions, half-close, back-pressure, an optional tap. It knows no dialect and no HTTP.

The contract, and its first tests:

- An end of file passes through: the other side's writing is ended, its answer still flows. Both directions ended is an
  orderly end; both ports are closed.
- A reset passes through as a reset, never as a clean end. So does any failure: both ports are aborted.
- Bytes leave as they come. Where the sink takes less, the rest stays with the source and nothing more is read from it:
  the cap of what waits is one read (SCRATCH_BYTES), for a stream of a leg its window.
- A tap sees each byte once, when it was taken; it can't slow or break the relay.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from protocol.link.faults import SinkBroken
from protocol.link.port import WOULD_BLOCK, Buffer, Port, PortBroken
from protocol.link.reactor import READS_PER_TURN, TURN_BYTES, Reactor, Timer

HELD_SECONDS: Final = 2.0  # of silence from a 1.7 agent after its visitor's end; most visitors that end are simply gone


class Tap(Protocol):
    """An observer of one relay. Never waits and never raises into traffic; views are borrowed: it copies what it keeps."""

    def up(self, data: memoryview) -> None:
        """Bytes from the visitor to the upstream."""

    def down(self, data: memoryview) -> None:
        """Bytes from the upstream to the visitor."""

    def up_ended(self) -> None: ...

    def down_ended(self) -> None: ...

    def closed(self, reason: str | None) -> None:
        """The relay is over; None for an orderly end, else what failed, with its side in front where that is known."""


@dataclasses.dataclass(frozen=True, slots=True)
class RelayEnd:
    """How a relay ended: bytes in each direction, seconds, and what failed (None: orderly; else whose side and why)."""

    up: int
    down: int
    seconds: float
    failure: str | None
    side: str = ""
    """"visitor" or "upstream": the port that failed."""


class _Flow:
    """One direction."""

    __slots__ = (
        "_ended",
        "_relay",
        "_sink",
        "_skip",
        "_source",
        "_tap",
        "count",
        "greeting",
        "holds_end",
        "wants_goodbye",
    )

    def __init__(self, relay: Relay, source: Port, sink: Port, tap: Callable[[memoryview], None] | None) -> None:
        self.holds_end = self.wants_goodbye = False
        self.greeting = b""  # ours, to leave with the first bytes; neither counted nor shown to the tap
        self._skip = 0
        self._relay = relay
        self._source = source
        self._sink = sink
        self._tap = tap
        self._ended = False
        self.count = 0

    def start(self) -> None:
        self._source.on_readable = self.pump
        self._sink.on_writable = self.pump

    def show_first(self, look: Callable[[memoryview], bool]) -> None:
        """See `Relay.show_first`."""
        tap = self._tap

        def first(data: memoryview) -> None:
            more = False
            try:
                more = look(data)
            finally:
                if not more:
                    self._tap = tap
                if tap is not None:
                    tap(data)

        self._tap = first

    def over(self) -> None:
        """Nothing comes in this direction any more."""
        self._ended = True

    def pump(self) -> None:
        """Move what can be moved now, a bounded amount."""
        if self._ended:
            self._look_for_reset()
            return
        move = self._move_reserved if self._sink.reserves else self._move
        limit = self.count + TURN_BYTES
        try:
            if self.greeting and not self._join_greeting():
                return
            for _ in range(READS_PER_TURN):
                if not move():
                    return
                if self.count >= limit:
                    break
        except PortBroken as error:
            self._relay.fail(self._source, self._sink, error)
            return
        self._relay.reactor.later(self.pump)

    def _look_for_reset(self) -> None:
        """The source has ended, and something happened: a visitor that half-closed and then left altogether."""
        if self._relay.over:
            return
        try:
            self._source.read()
        except PortBroken as error:
            self._relay.fail(self._source, self._sink, error)

    def _join_greeting(self) -> bool:
        """Put the greeting in front of the source's first bytes, or of its end; False while there is neither."""
        view = self._source.read()
        if view is None:
            return False
        self._greet(bytes(view))
        return True

    def _greet(self, first: bytes) -> None:
        greeting, self.greeting = self.greeting, b""
        self._skip = len(greeting)
        self.count -= len(greeting)
        self._source.unread(greeting + first)

    def greet_now(self) -> None:
        """Send the greeting alone: the source has been silent for too long."""
        if self.greeting and not self._ended:
            self._greet(b"")
            self.pump()

    def _move(self) -> bool:
        """Through a borrowed view; whether there may be more."""
        view = self._source.read()
        if view is None:
            return False
        if not view:
            return self._end()
        try:
            taken = self._sink.write(view)
        except PortBroken as error:
            raise SinkBroken(str(error)) from error
        size = len(view)
        if self._tap is not None and taken:
            self._show(view[:taken])
        self.count += taken
        self._relay.moved()
        if taken < size:
            self._source.unread(view[taken:])
            return False
        return not self._source.settled()

    def _move_reserved(self) -> bool:
        """Straight into the sink's own buffer; whether there may be more."""
        try:
            room = self._sink.reserve()
        except PortBroken as error:
            raise SinkBroken(str(error)) from error
        if room is None:
            return False
        count = 0
        try:
            count = self._source.read_into(room)
            if count > 0 and self._tap is not None:
                self._show(room[:count])
        finally:
            self._sink.commit(max(count, 0))
        if count == WOULD_BLOCK:
            return False
        if count == 0:
            return self._end()
        self.count += count
        self._relay.moved()
        return not self._source.settled()  # else the next round borrows room in vain: 1 of 3 us of a small exchange

    def _show(self, data: memoryview) -> None:
        assert self._tap is not None
        if self._skip:
            ours = min(self._skip, len(data))
            self._skip -= ours
            data = data[ours:]
            if not data:
                return
        try:
            self._tap(data)
        except Exception:  # noqa: BLE001 - an observer's defect must not touch traffic: it sees no more of this relay
            self._tap = None

    def _end(self) -> bool:
        if self.wants_goodbye and not self._source.clean_end:
            raise PortBroken("the link ended without a goodbye")
        self._ended = True
        if self.holds_end:
            self._relay.hold_end()
        elif not self._relay.all_ended:  # else it closes both ports, which says the same
            self.pass_end_on()
        self._relay.flow_ended(self)
        return False

    def pass_end_on(self) -> None:
        try:
            self._sink.end_writing()
        except PortBroken as error:
            raise SinkBroken(str(error)) from error


def _nobody(_: RelayEnd) -> None:
    """Told once is enough."""


class Relay:
    """Joins `visitor` and `upstream`, both attached to `reactor`; the relay owns and closes both.

    `on_end` is called once, in a callback. `idle` (seconds without a byte in either direction) aborts; None: no limit,
    the kernel's keepalive finds dead peers. `start` begins; bytes that either port holds already flow first.
    """

    __slots__ = (
        "_answer_held",
        "_down",
        "_final",
        "_held",
        "_held_at",
        "_idle",
        "_on_end",
        "_over",
        "_started",
        "_tap",
        "_timer",
        "_up",
        "_upstream",
        "_visitor",
        "reactor",
    )

    __deletable__ = ("_down", "_up")  # for mypyc

    def __init__(
        self,
        reactor: Reactor,
        visitor: Port,
        upstream: Port,
        *,
        on_end: Callable[[RelayEnd], None],
        idle: float | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.reactor = reactor
        self._visitor = visitor
        self._upstream = upstream
        self._on_end = on_end
        self._tap = tap
        self._idle = idle
        self._timer: Timer | None = None
        self._held: Timer | None = None
        self._held_at = 0
        self._answer_held = False
        self._over = False
        self._final: tuple[int, int] | None = None
        self._started = 0.0
        self._up = _Flow(self, visitor, upstream, None if tap is None else tap.up)
        self._down = _Flow(self, upstream, visitor, None if tap is None else tap.down)

    def hold_visitors_end(self) -> None:
        """Before `start`: the visitor's end of sending is passed on only after HELD_SECONDS without a byte from the
        upstream, because a 1.7 agent drops the rest of the answer then. (Never to pass it on would keep the service of a
        visitor that simply closed waiting for ever.)"""
        self._up.holds_end = True

    def expect_goodbye(self) -> None:
        """Before `start`: an upstream that ends without saying so (TLS without close_notify) has died, and what it sent is
        not complete. For links to agents: private services are often less polite."""
        self._down.wants_goodbye = True

    def hold_answer(self) -> None:
        """Before `start`: what comes from the upstream is left to the caller, who takes a first word off and then calls
        `take_answer`. The visitor's bytes need not wait for it."""
        self._answer_held = True

    def take_answer(self, rest: Buffer) -> None:
        """The first word is read; `rest` came with it."""
        self._answer_held = False
        self._upstream.unread(rest)
        self._down.start()
        self._down.pump()

    def greet(self, greeting: bytes) -> None:
        """Before `start`: bytes for the visitor that leave in one write with the upstream's first ones, or its end. They
        are neither counted nor shown to the tap."""
        self._down.greeting = greeting

    def show_first(self, look: Callable[[memoryview], bool]) -> None:
        """Before `start`: `look` is shown what comes first from the upstream, until it says False; from then on the relay is
        as without it. Like a tap it must not raise and copies what it keeps."""
        self._down.show_first(look)

    def start(self) -> None:
        """Begin, within a turn or from a task."""
        self._started = self.reactor.refresh()
        if self._idle is not None:
            self._timer = self.reactor.timer(self._idle_too_long)
            self._timer.set(self._idle)
        self._up.start()
        if not self._answer_held:
            self._down.start()
        with self.reactor.turn():
            self._up.pump()
            if not self._answer_held:
                self._down.pump()

    @property
    def counts(self) -> tuple[int, int]:
        """Bytes so far: up, down."""
        return (self._up.count, self._down.count) if self._final is None else self._final

    def greet_now(self) -> None:
        """Do not wait for the upstream any longer: send the greeting, if it has not gone out yet."""
        if not self._over:
            self._down.greet_now()

    def abort(self, reason: str) -> None:
        """End now: both ports are reset."""
        self._finish(reason, "")

    def let_go(self) -> None:
        """End in order and leave both ports to the caller, as they are."""
        self._finish(None, "", closing=False)

    # -- for the flows
    @property
    def over(self) -> bool:
        return self._over

    @property
    def all_ended(self) -> bool:
        return self._up._ended and self._down._ended  # noqa: SLF001 - the relay and its flows are one piece

    def hold_end(self) -> None:
        """The visitor has ended and the upstream is not to know yet."""
        self._held = self.reactor.timer(self._held_long_enough)
        self._held_at = self._down.count
        self._held.set(HELD_SECONDS)

    def _held_long_enough(self) -> None:
        assert self._held is not None
        if self._down.count != self._held_at:  # the answer is on its way
            self._held_at = self._down.count
            self._held.set(HELD_SECONDS)
            return
        try:
            self._up.pass_end_on()
        except PortBroken as error:
            self._finish(str(error), "upstream")

    def moved(self) -> None:
        if self._timer is not None:
            assert self._idle is not None
            self._timer.set(self._idle)

    def flow_ended(self, flow: _Flow) -> None:
        if self._tap is not None:
            self._tell(self._tap.up_ended if flow is self._up else self._tap.down_ended)
        if self.all_ended:
            self._finish(None, "")

    def _tell(self, news: Callable[[], None]) -> None:
        with contextlib.suppress(Exception):  # an observer's defect must not touch traffic
            news()

    def fail(self, source: Port, sink: Port, error: PortBroken) -> None:
        broken = sink if isinstance(error, SinkBroken) else source
        self._finish(str(error), "visitor" if broken is self._visitor else "upstream")

    def _idle_too_long(self) -> None:
        self._finish(f"no byte for {self._idle:g} s", "")

    def _finish(self, failure: str | None, side: str, *, closing: bool = True) -> None:
        if self._over:
            return
        self._over = True
        self._up.over()  # one of them may be about to have its next turn
        self._down.over()
        for timer in (self._timer, self._held):
            if timer is not None:
                timer.end()
        for port in (self._visitor, self._upstream) if closing else ():
            if failure is None:
                port.close()
            else:
                port.abort()
        if self._tap is not None:
            self._tell(partial(self._tap.closed, f"{side}: {failure}" if failure is not None and side else failure))
        end = RelayEnd(self._up.count, self._down.count, self.reactor.refresh() - self._started, failure, side)
        on_end, self._on_end = self._on_end, _nobody
        on_end(end)
        self.reactor.later(self._untie)

    def _untie(self) -> None:
        """Flows and relay hold each other: let go, so that nothing waits for the cycle collector."""
        self._final = self.counts
        del self._up, self._down

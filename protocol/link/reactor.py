"""The reactor: one trio task that serves many descriptors in plain callbacks.

trio decides, the reactor moves: a task switch per chunk is what makes an async Python relay slow (docs/performance.md).
This module holds what both reactors share: turns, the ready list, timers and deferred closing. `epoll` waits for all
descriptors in one nested readiness set; `tasks` waits for each in trio tasks, for systems that have no such set.

A *turn* is: the handlers of what became ready, then the callbacks asked for with `soon` (a few rounds of them, so that
a flush asked for by a pump still leaves in the same turn), then the closing of descriptors let go in this turn. A
descriptor is closed after the turn and never within it, so a recycled number can't meet a stale event.

It must not know what a port, a tunnel or a frame is.
"""

from __future__ import annotations

import abc
import contextlib
import heapq
import math
import socket
from collections.abc import Callable, Iterator
from typing import Final

import trio

READABLE: Final = 1  # the values of EPOLLIN and EPOLLOUT, so that the epoll reactor passes masks on unchanged
URGENT: Final = 2  # EPOLLPRI: among the bytes there are urgent ones
WRITABLE: Final = 4
FAILED: Final = 8  # EPOLLERR; reactors without it say nothing
# Any other bit of a mask: the peer ended, or the socket failed. A read will tell.

Handler = Callable[[int], None]
Callback = Callable[[], None]
CrashHandler = Callable[[Callable[..., None], Exception], None]

SCRATCH_BYTES: Final = (
    256 * 1024
)  # one read of a bulk stream; 64-256 KiB measure equal, 1 MiB worse (docs/performance.md)
# What one flow moves before the others have their turn. Four times as much carries the same, and a small request beside it
# waits three times as long in each of the programs that it passes (docs/performance.md).
TURN_BYTES: Final = 256 * 1024
READS_PER_TURN: Final = 4  # nor does it read more often than that
ROUNDS: Final = 4  # of `soon` callbacks in one turn: pump, flush, and what a flush sets free


def _nothing() -> None:
    """What an ended timer calls."""


class Timer:
    """A deadline that is cheap to move: `set` only stores a number, the sweeper re-queues what comes due too early."""

    __slots__ = ("_callback", "_deadline", "_queued", "_reactor")

    def __init__(self, reactor: Reactor, callback: Callback) -> None:
        self._reactor = reactor
        self._callback = callback
        self._deadline = math.inf
        self._queued = math.inf

    def set(self, seconds: float) -> None:
        """(Re)arm: the callback runs once, `seconds` from now, within a turn."""
        reactor = self._reactor
        deadline = (reactor.now if reactor.in_turn else reactor.refresh()) + seconds
        self._deadline = deadline
        if deadline < self._queued:
            self._queued = deadline
            reactor.queue_timer(deadline, self)

    def clear(self) -> None:
        """Disarm. A cleared timer costs nothing but its place in the heap until then."""
        self._deadline = math.inf

    def end(self) -> None:
        """Disarm for good and let go of who would be called: the place in the heap may stay for a while."""
        self._deadline = math.inf
        self._callback = _nothing

    @property
    def armed(self) -> bool:
        return self._deadline != math.inf

    def come_due(self, queued_for: float, now: float) -> None:
        """For the sweeper: run, or queue again when the deadline was moved meanwhile."""
        if queued_for != self._queued:
            return  # an older entry: an earlier one has taken its place
        self._queued = math.inf
        if self._deadline <= now:
            self._deadline = math.inf
            self._callback()
        elif self._deadline != math.inf:
            self._queued = self._deadline
            self._reactor.queue_timer(self._deadline, self)


class Reactor(abc.ABC):
    """The readiness set of one thread. `run` serves it; everything else is called from its callbacks or from tasks of
    the same trio run, and never blocks.

    `on_crash(callback, error)` is told of an exception that left a callback (a defect); the default lets `run` raise it.
    """

    def __init__(self, on_crash: CrashHandler | None = None) -> None:
        self.now: float = 0.0
        """trio's clock at the start of this turn, in seconds."""
        self.in_turn = False
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        """The shared read buffer: valid for whoever read last, until the next read."""
        self.cipher_scratch = memoryview(bytearray(SCRATCH_BYTES))
        """The same for ciphertext on its way into a TLS object."""
        self._on_crash = on_crash
        self._ready: list[Callback] = []
        self._later: list[Callback] = []
        self._spinning = False  # the reactor looks for more by itself: no need to wake it
        self._closing: list[socket.socket] = []
        self.lingering: set[Callback] = set()
        """Of those who let go in the background and have no other owner: called when `run` ends before they are done."""
        self._heap: list[tuple[float, int, Timer]] = []
        self._pushes = 0
        self._sleep: trio.CancelScope | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._kicked = False
        self._failure: Exception | None = None
        self._stopped: trio.CancelScope | None = None

    # -- what the two kinds do differently
    @abc.abstractmethod
    def register(self, sock: socket.socket, handler: Handler) -> None:
        """Serve `sock` (non-blocking): `handler(mask)` on each edge, both directions, until `forget`. The first edge
        comes at once when the socket is ready already."""

    @abc.abstractmethod
    def forget(self, sock: socket.socket) -> None:
        """No more events for `sock`, also not those of this turn. The socket stays open."""

    @abc.abstractmethod
    def arm(self, sock: socket.socket, mask: int) -> None:
        """Tell the reactor that a call on `sock` would have blocked (READABLE, WRITABLE): the next edge is wanted."""

    edge_triggered: bool = False
    """Whether `arm` is a no-op that callers may leave out."""

    @abc.abstractmethod
    async def _serve(self) -> None: ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Descriptors that are still registered are forgotten, not closed: their owners close, and
        those in `lingering`, who have none, are told to."""
        self._token = trio.lowlevel.current_trio_token()
        self.refresh()
        try:
            async with trio.open_nursery() as nursery:
                self._stopped = nursery.cancel_scope
                nursery.start_soon(self._sweep)
                nursery.start_soon(self._serve)
                task_status.started()
        finally:
            self._token = None
            while self.lingering:
                self.lingering.pop()()
            self._close_let_go()
        if self._failure is not None:
            raise self._failure

    # -- turns
    def refresh(self) -> float:
        """Bring `now` up to date (outside turns) and return it."""
        self.now = trio.current_time()
        return self.now

    def soon(self, callback: Callback) -> None:
        """Run `callback` at the end of this turn, or at once in a turn of its own when none is under way."""
        self._ready.append(callback)
        if not self.in_turn and not self._kicked:
            self._kick()

    def later(self, callback: Callback) -> None:
        """Run `callback` at the end of the *next* turn, so that what becomes ready meanwhile is served before it. For
        work that would otherwise go round and round within one turn."""
        self._later.append(callback)
        if not self.in_turn and not self._kicked:
            self._kick()

    def close_later(self, sock: socket.socket) -> None:
        """Close `sock` (forgotten already) after this turn."""
        if self.in_turn:
            self._closing.append(sock)
        else:
            sock.close()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Make a turn of a block of synchronous code that runs in a task: what it asks for with `soon` is done when
        the block ends. Nested turns are one turn."""
        if self.in_turn:
            yield
            return
        self._begin()
        try:
            yield
        finally:
            self._end()

    def _begin(self) -> None:
        self.in_turn = True
        self.now = trio.current_time()
        if self._later:
            self._ready += self._later
            self._later.clear()

    def _end(self) -> None:
        for _ in range(ROUNDS):
            if not self._ready:
                break
            batch, self._ready = self._ready, []
            for callback in batch:
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 - told to the crash handler, or raised by `run`
                    self.crashed(callback, error)
        self.in_turn = False
        if self._closing:
            self._close_let_go()
        if (self._ready or self._later) and not self._kicked and not self._spinning:
            self._kick()

    def _close_let_go(self) -> None:
        closing, self._closing = self._closing, []
        for sock in closing:
            sock.close()

    def _kick(self) -> None:
        if self._token is not None:
            self._kicked = True
            self._token.run_sync_soon(self._kicked_turn)

    def _kicked_turn(self) -> None:
        self._kicked = False
        if not self.in_turn:
            with self.turn():
                pass

    def crashed(self, callback: Callable[..., None], error: Exception) -> None:
        """A callback raised: a defect of ours. The others go on when there is a crash handler, else `run` ends with it."""
        if self._on_crash is not None:
            self._on_crash(callback, error)
        elif self._failure is None:
            self._failure = error
            if self._stopped is not None:
                self._stopped.cancel()

    # -- time
    @property
    def deadlines(self) -> int:
        """Places in the heap, those of ended timers included until they would have come due. For metrics."""
        return len(self._heap)

    def timer(self, callback: Callback) -> Timer:
        """A new, unarmed timer."""
        return Timer(self, callback)

    def queue_timer(self, deadline: float, timer: Timer) -> None:
        """For timers: wake the sweeper at `deadline`."""
        self._pushes += 1  # keeps the heap from comparing timers
        heapq.heappush(self._heap, (deadline, self._pushes, timer))
        if self._sleep is not None and deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    async def _sweep(self) -> None:
        while True:
            with trio.CancelScope() as self._sleep:
                self._sleep.deadline = self._heap[0][0] if self._heap else math.inf
                await trio.sleep_forever()
            with self.turn():
                self._fire()

    def _fire(self) -> None:
        now = self.now
        while self._heap and self._heap[0][0] <= now:
            queued_for, _, timer = heapq.heappop(self._heap)
            try:
                timer.come_due(queued_for, now)
            except Exception as error:  # noqa: BLE001 - as in `_end`
                self.crashed(timer.come_due, error)

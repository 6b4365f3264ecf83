"""The fast reactor: every descriptor sits, edge-triggered in both directions, in one private epoll set, and one trio
task waits for that set. Registered once, a socket costs no further epoll_ctl call: what is readable or writable is
remembered by its port.

A pass through trio's loop costs 25 us, as much as some small exchanges, and a process that sleeps wakes up with cold caches:
its next turn takes twice as long. So where few visitors talk, the task is slow to go back (`_stay`): it waits for the next
events in the set itself, up to a millisecond, unless trio has other tasks to run (an instrument tells). While events follow
each other within SPIN_SECONDS it does not sleep in between at all, but yields the core. A lone visitor's p50 fell from four
times that of a direct connection to about the same by that; the price is that a descriptor or timer which trio itself waits for
may be noticed two milliseconds late, and only while visitors keep the reactor busy. In a crowd it goes back at once: there the
pass costs each of them little, and what comes meanwhile makes the next batches larger (a tenth more requests).
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Final

import trio

from protocol.link.reactor import CrashHandler, Handler, Reactor

MAX_EVENTS: Final = 16
"""In a turn; then what they made leaves, and the other program works on it beside us (128 visitors: 256 events 33 700
requests/s, 16 43 500, 8 39 400). The kernel rotates its ready list, so nobody starves."""
STAY_SECONDS: Final = 0.001  # without a look at trio, however much comes
LINGER_SECONDS: Final = 0.001  # of waiting after the last event; epoll counts milliseconds
SPIN_SECONDS: Final = 0.0002  # of looking again and again; the round trip through both programs is shorter
SPIN_AFTER: Final = 4  # so many pauses in a row were that short: it is a dialogue, and the next one will be short, too

CROWD: Final = 4  # events in one turn

available: Final = hasattr(select, "epoll")


class _Watch(trio.abc.Instrument):
    """Notices that trio has other tasks to run than `own`. One for all reactors of a run: an instrument costs every switch
    of tasks a call, and where there are several reactors each is what the others must not be kept waiting for."""

    def __init__(self) -> None:
        self.own: trio.lowlevel.Task | None = None
        self.others = False
        self.reactors = 0

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is not self.own:
            self.others = True


_WATCH: Final = trio.lowlevel.RunVar[_Watch]("reactors")


def _join() -> _Watch:
    try:
        watch = _WATCH.get()
    except LookupError:
        watch = _Watch()
        _WATCH.set(watch)
    if not watch.reactors:
        trio.lowlevel.add_instrument(watch)
    watch.reactors += 1
    return watch


def _leave(watch: _Watch) -> None:
    watch.reactors -= 1
    if not watch.reactors:
        trio.lowlevel.remove_instrument(watch)


class EpollReactor(Reactor):
    """Reactor on epoll (Linux)."""

    edge_triggered = True

    def __init__(self, on_crash: CrashHandler | None = None) -> None:
        super().__init__(on_crash)
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._watch = _Watch()
        self._short_pauses = 0
        self._crowded = False

    def register(self, sock: socket.socket, handler: Handler) -> None:
        fd = sock.fileno()
        self._handlers[fd] = handler
        # EPOLLPRI: a read stops short at urgent bytes, and a port must not take that for the end of what is there
        wanted = select.EPOLLIN | select.EPOLLPRI | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        self._epoll.register(fd, wanted)

    def forget(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def arm(self, sock: socket.socket, mask: int) -> None:
        """Nothing to do: an edge-triggered set tells by itself."""

    def __len__(self) -> int:
        return len(self._handlers)

    async def _serve(self) -> None:
        watch = self._watch = _join()
        task = trio.lowlevel.current_task()
        try:
            while True:
                watch.own = task
                watch.others = False  # who can run by now does so before this task is woken
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._stay()
        finally:
            _leave(watch)
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()
            self._handlers.clear()

    def _stay(self) -> None:
        """Turn after turn, until it is quiet or trio's turn."""
        self._spinning = True
        until = time.perf_counter() + STAY_SECONDS
        while self._turn(self._look()) and time.perf_counter() < until:
            pass
        self._spinning = False
        if (self._ready or self._later) and not self._kicked:
            self._kick()

    def _look(self) -> list[tuple[int, int]]:
        """The next events. Waits for them only when nobody else in this process has anything to do."""
        poll = self._epoll.poll
        events = poll(0, MAX_EVENTS)
        watch = self._watch
        if events or self._crowded or self._ready or self._later or watch.others or watch.reactors > 1:
            return events
        began = time.perf_counter()
        if self._short_pauses >= SPIN_AFTER:
            while not events and time.perf_counter() - began < SPIN_SECONDS:
                os.sched_yield()
                events = poll(0, MAX_EVENTS)
        if not events:
            events = poll(LINGER_SECONDS, MAX_EVENTS)
        self._short_pauses = self._short_pauses + 1 if time.perf_counter() - began < SPIN_SECONDS else 0
        return events

    def _turn(self, events: list[tuple[int, int]]) -> bool:
        """Serve `events` and what was asked for; whether there was anything."""
        if not events and not self._ready and not self._later:
            return False
        self._crowded = len(events) >= CROWD
        self._begin()
        handlers = self._handlers
        for fd, mask in events:
            handler = handlers.get(fd)
            if handler is not None:
                try:
                    handler(mask)
                except Exception as error:  # noqa: BLE001 - told to the crash handler, or raised by `run`
                    self.crashed(handler, error)
        self._end()
        return self._failure is None

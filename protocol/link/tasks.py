"""The portable reactor: two trio tasks wait for each socket. Slower than `epoll`, same behaviour, same tests; for
systems without a readiness set that can be waited for from another one (Windows)."""

from __future__ import annotations

import socket

import trio

from protocol.link.reactor import READABLE, WRITABLE, CrashHandler, Handler, Reactor


class _Watch:
    """One registered socket: each direction, once armed, waits for readiness and calls the handler."""

    __slots__ = ("_armed", "_handler", "_reactor", "_sock", "scope")

    def __init__(self, reactor: TaskReactor, sock: socket.socket, handler: Handler) -> None:
        self._reactor = reactor
        self._sock = sock
        self._handler = handler
        self._armed = {READABLE: trio.Event(), WRITABLE: trio.Event()}
        self.scope = trio.CancelScope()
        self.arm(READABLE)  # like an edge-triggered set, which reports the state at registration
        self.arm(WRITABLE)

    def arm(self, mask: int) -> None:
        self._armed[mask].set()

    async def serve(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, READABLE)
                nursery.start_soon(self._watch, WRITABLE)

    async def _watch(self, mask: int) -> None:
        wait = trio.lowlevel.wait_readable if mask == READABLE else trio.lowlevel.wait_writable
        while True:
            await self._armed[mask].wait()
            if self._sock.fileno() < 0:
                return
            try:
                await wait(self._sock)
            except trio.ClosedResourceError:
                return  # forgotten meanwhile
            if self.scope.cancel_called:
                return
            self._armed[mask] = trio.Event()
            with self._reactor.turn():
                try:
                    self._handler(mask)
                except Exception as error:  # noqa: BLE001 - told to the crash handler, or raised by `run`
                    self._reactor.crashed(self._handler, error)


class TaskReactor(Reactor):
    """Reactor on trio tasks (any system)."""

    def __init__(self, on_crash: CrashHandler | None = None) -> None:
        super().__init__(on_crash)
        self._watches: dict[int, _Watch] = {}
        self._nursery: trio.Nursery | None = None

    def register(self, sock: socket.socket, handler: Handler) -> None:
        watch = self._watches[sock.fileno()] = _Watch(self, sock, handler)
        if self._nursery is not None:
            self._nursery.start_soon(watch.serve)

    def forget(self, sock: socket.socket) -> None:
        watch = self._watches.pop(sock.fileno(), None)
        if watch is not None:
            watch.scope.cancel()
            if self._nursery is not None:
                trio.lowlevel.notify_closing(sock)

    def arm(self, sock: socket.socket, mask: int) -> None:
        watch = self._watches.get(sock.fileno())
        if watch is not None:
            watch.arm(mask)

    def __len__(self) -> int:
        return len(self._watches)

    async def _serve(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for watch in self._watches.values():
                    nursery.start_soon(watch.serve)
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._watches.clear()

"""A reactor that is turned by hand: no descriptors, no task, a clock of the test's own. For fuzzing callbacks in memory."""

from __future__ import annotations

import socket

from protocol.link.reactor import Handler, Reactor

TURNS_MAX = 2000  # in a row without anything new from outside: a loop that does not end


class HandReactor(Reactor):
    """`settle` runs all that is asked for; `pass_time` fires what is due. What a callback raises is raised there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def register(self, sock: socket.socket, handler: Handler) -> None:
        raise NotImplementedError("only ports in memory here")

    def forget(self, sock: socket.socket) -> None:
        raise NotImplementedError("only ports in memory here")

    def arm(self, sock: socket.socket, mask: int) -> None:
        raise NotImplementedError("only ports in memory here")

    async def _serve(self) -> None:
        raise NotImplementedError("turned by hand")

    def refresh(self) -> float:
        return self.now

    def _begin(self) -> None:
        self.in_turn = True
        if self._later:
            self._ready += self._later
            self._later.clear()

    def settle(self) -> None:
        """Turn until nobody asks for more."""
        for _ in range(TURNS_MAX):
            if not (self._ready or self._later):
                break
            with self.turn():
                pass
        else:
            raise AssertionError("the callbacks go round and round")
        if self._failure is not None:
            raise self._failure

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        with self.turn():
            self._fire()
        self.settle()

"""The reactor: one trio task that serves many descriptors in plain callbacks. See docs/architecture.md."""

from __future__ import annotations

import abc
from collections.abc import Callable

import trio

Handler = Callable[[bool, bool], None]  # (readable or ended, writable)


class Timer:
    """A deadline that is cheap to move: `set` only stores a number; the sweeper re-queues it when it comes due early."""

    __slots__ = ("_callback", "_queued_for", "_reactor", "deadline")

    def set(self, seconds: float) -> None:
        """(Re)arm: the callback runs once, `seconds` from the reactor's `now`."""
        raise NotImplementedError

    def clear(self) -> None:
        raise NotImplementedError


class Reactor(abc.ABC):
    """The readiness set of one thread."""

    now: float  # trio's clock at the start of this turn, seconds

    @abc.abstractmethod
    def register(self, fd: int, handler: Handler) -> None: ...
    @abc.abstractmethod
    def forget(self, fd: int) -> None: ...
    @abc.abstractmethod
    def soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` at the end of this turn (or start one)."""

    @abc.abstractmethod
    def timer(self, callback: Callable[[], None]) -> Timer: ...
    @abc.abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...

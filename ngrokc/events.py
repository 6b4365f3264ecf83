"""What an agent tells its user: frozen records, and the bus that carries them.

Publishing never waits. Each subscriber has a queue of its own with a cap; a slow one loses its oldest events and can
see how many, and nobody else notices. Events carry text for people; whoever prints them escapes what came from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import trio

QUEUE = 1024  # events per subscriber: a second of a busy agent; older ones are of no use to a screen

State = Literal["connecting", "online", "reconnecting", "closed"]
Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The session's state, why it changed, and when the next attempt comes (seconds), if one does."""

    state: State
    reason: str = ""
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """Logged in. `caps` is empty against a 1.7 server; `server_version` is `1.7` then, else a name too: `ngrokd 0.1.0`."""

    server_version: str
    session_id: str
    client_id: str
    caps: tuple[str, ...]
    server: str


@dataclass(frozen=True, slots=True)
class Latency:
    """One round trip on the control link."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TunnelOnline:
    name: str
    url: str
    protocol: str
    upstream: str


@dataclass(frozen=True, slots=True)
class TunnelRefused:
    """The server did not open it. With `retry` the agent asks again by itself, else only at its next login."""

    name: str
    protocol: str
    code: str
    message: str
    retry: bool


@dataclass(frozen=True, slots=True)
class TunnelClosed:
    name: str
    url: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    tunnel: str
    url: str
    conn_id: str
    client_addr: str


VISITOR_SIDE = "visitor:"  # how a failure begins that the visitor caused: it closed or reset its connection


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """`up` and `down` are bytes from and to the visitor; `failure` is None for an orderly end, else whose side and why.
    `relayed`: an upstream had taken the visitor."""

    tunnel: str
    conn_id: str
    up: int
    down: int
    seconds: float
    failure: str | None
    url: str = ""
    client_addr: str = ""
    relayed: bool = True

    @property
    def ours(self) -> bool:
        """Whether the agent's person should look at it: it failed, and not because the visitor left."""
        return self.failure is not None and not self.failure.startswith(VISITOR_SIDE)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should read, with no other place to stand."""

    level: Level
    message: str


Event = (
    StateChanged
    | SessionStarted
    | Latency
    | TunnelOnline
    | TunnelRefused
    | TunnelClosed
    | ConnectionOpened
    | ConnectionClosed
    | Notice
)


class Subscription:
    """One reader's queue: `async for event in subscription`. Ends when the bus closes."""

    def __init__(self, cap: int, visitors: bool = True) -> None:
        self.visitors = visitors
        self._queue: deque[Event] = deque()
        self._cap = cap
        self._closed = False
        self._waiting = trio.lowlevel.ParkingLot()
        self.dropped = 0  # events lost because this reader was too slow

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            await self._waiting.park()
        return self._queue.popleft()

    def take(self) -> Event | None:
        """The next event that is already here, or None; does not wait."""
        return self._queue.popleft() if self._queue else None

    def put(self, event: Event) -> None:
        if len(self._queue) >= self._cap:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(event)
        self._waiting.unpark_all()

    def close(self) -> None:
        """No more events follow; those in the queue can still be read."""
        self._closed = True
        self._waiting.unpark_all()


class EventBus:
    """Carries events from the agent to any number of readers of the same thread."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._heard = False

    def __repr__(self) -> str:
        return f"<EventBus {len(self._subscriptions)} subscribers>"

    @property
    def heard(self) -> bool:
        """Whether anybody wants the events that come with every visitor: they are built only then."""
        return self._heard

    def publish(self, event: Event) -> None:
        routine = isinstance(event, ConnectionOpened) or (isinstance(event, ConnectionClosed) and not event.ours)
        for subscription in self._subscriptions:
            if subscription.visitors or not routine:
                subscription.put(event)

    @contextmanager
    def subscribe(self, cap: int = QUEUE, *, visitors: bool = True) -> Iterator[Subscription]:
        """A queue that gets every event from now until the block is left; without `visitors` those that come with every
        visitor are left out (but not failures), and a busy agent is spared building them (20 us a visitor)."""
        subscription = Subscription(cap, visitors)
        self._subscriptions.add(subscription)
        self._count_listeners()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self._count_listeners()
            subscription.close()

    def _count_listeners(self) -> None:
        self._heard = any(subscription.visitors for subscription in self._subscriptions)

    def close(self) -> None:
        """Let every reader finish what it has and end."""
        for subscription in self._subscriptions:
            subscription.close()

"""The taps: what the relay calls for each piece of data. They copy, count and leave; about a microsecond per exchange.

A tap never waits, never raises and holds no lock. Its copies stand in its own queue in the order of time until the intake's
worker comes by. While its tunnel's lane is full, a tap looks away from the beginning of the next exchange on (`_away`), and looks
again where the visitor begins to speak after the upstream did and his first bytes are a request line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Final

from ngrokc.inspect.body import TOO_FAST
from ngrokc.inspect.conversation import Conversation
from ngrokc.inspect.intake import Intake
from ngrokc.inspect.lane import Lane
from ngrokc.inspect.model import Connection
from ngrokc.inspect.store import Store

UP: Final = 0
DOWN: Final = 1
GAP_UP: Final = 2
GAP_DOWN: Final = 3
END_UP: Final = 4
END_DOWN: Final = 5
AWAY: Final = 6
CLOSED: Final = 7

ITEM: Final = 150  # what an entry of the queue costs beside its bytes
Item = tuple[int, float, bytes | int | str | None]

_REQUEST = re.compile(rb"[A-Z]{3,20} [^ \r\n]{1,8192} HTTP/1\.[01]\r\n")


class HttpTap:
    """Tap of one connection of an http or https tunnel. `make_talk` is called when there is something to parse, `on_closed`
    when the connection is over."""

    __slots__ = (
        "_answered",
        "_away",
        "_clock",
        "_dead",
        "_intake",
        "_items",
        "_make_talk",
        "_on_closed",
        "_queued",
        "_special",
        "_steady",
        "lane",
        "talk",
    )

    def __init__(
        self,
        intake: Intake,
        lane: Lane,
        make_talk: Callable[[], Conversation],
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        self.talk: Conversation | None = None
        self._make_talk = make_talk
        self._on_closed = on_closed
        self._intake = intake
        self.lane = lane
        lane.taps += 1
        self._clock = intake.clock
        self._items: deque[Item] = deque()
        self._queued = 0
        self._answered = True  # the upstream spoke last, or nobody did: an exchange may begin
        self._away = False
        self._dead = False  # unreadable: there is nothing to look at again
        self._steady = False  # upgraded: there is no next beginning to look away at
        self._special = [0, 0]  # bytes of each direction that need no copy

    def __repr__(self) -> str:
        return f"<HttpTap {len(self._items)} queued{' away' if self._away else ''} {self.talk}>"

    # -- the relay's side
    def up(self, data: memoryview) -> None:
        if self._answered:
            self._answered = False
            lane = self.lane
            if (self._away or lane.full) and not self._look(data):
                return
            lane.left -= 1
            if lane.left < 1:
                lane.full = True
        elif self._away:
            return
        cost = len(data) + ITEM
        intake = self._intake
        if cost > intake.room or self._queued + cost > intake.limits.connection_queue or self._special[UP]:
            self._sparse(UP, data)
            return
        intake.room -= cost
        self._queued += cost
        items = self._items
        items.append((UP, self._clock(), bytes(data)))
        if len(items) == 1:
            intake.ready(self)

    def down(self, data: memoryview) -> None:
        self._answered = True
        if self._away:
            return
        cost = len(data) + ITEM
        intake = self._intake
        if cost > intake.room or self._queued + cost > intake.limits.connection_queue or self._special[DOWN]:
            self._sparse(DOWN, data)
            return
        intake.room -= cost
        self._queued += cost
        items = self._items
        items.append((DOWN, self._clock(), bytes(data)))
        if len(items) == 1:
            intake.ready(self)

    def up_ended(self) -> None:
        self._mark(END_UP, None)

    def down_ended(self) -> None:
        self._mark(END_DOWN, None)

    def closed(self, reason: str | None) -> None:
        self.lane.taps -= 1
        if self._on_closed is not None:
            self._on_closed()
        self._mark(CLOSED, reason)

    @property
    def _seen(self) -> bool:
        """Whether what comes may belong to something that was copied."""
        return not self._away and (self.talk is not None or bool(self._items))

    def _look(self, data: memoryview) -> bool:
        """At the beginning of an exchange, or what looks like one: whether to copy it."""
        lane = self.lane
        if self._dead:
            return False
        if lane.full:
            if self._steady or (self._seen and _REQUEST.match(data) is None):
                return True  # what is under way goes on
            lane.missed += 1
            self._intake.store.counts.missed += 1
            if not self._away:
                self._mark(AWAY, None)
                self._away = True
            return False
        if _REQUEST.match(data) is None:
            return False
        self._away = False
        return True

    def _mark(self, kind: int, value: str | None) -> None:
        """Few and small: outside the budget. None of it matters while nothing was copied that it could belong to."""
        if not self._seen:
            return
        self._items.append((kind, self._clock(), value))
        if len(self._items) == 1:
            self._intake.ready(self)

    def _sparse(self, direction: int, data: memoryview) -> None:
        """Copy only what is wanted and has room; the rest is a gap, of which neighbours become one."""
        skip = min(self._special[direction], len(data))
        self._special[direction] -= skip
        rest = len(data) - skip
        cost = rest + ITEM
        intake = self._intake
        if rest and (cost > intake.room or self._queued + cost > intake.limits.connection_queue):
            skip, rest = len(data), 0
        if skip:
            kind = GAP_UP if direction == UP else GAP_DOWN
            items = self._items
            if items and items[-1][0] == kind:
                before = items[-1][2]
                assert isinstance(before, int)
                items[-1] = (kind, self._clock(), before + skip)
            else:
                items.append((kind, self._clock(), skip))
                if len(items) == 1:
                    intake.ready(self)
        if rest:
            intake.room -= cost
            self._queued += cost
            self._items.append((direction, self._clock(), bytes(data[len(data) - rest :])))
            if len(self._items) == 1:
                intake.ready(self)

    # -- the worker's side
    def work(self, until: float) -> bool:
        """Parse what is queued; whether all of it was done before `until`."""
        items = self._items
        intake = self._intake
        talk = self.talk
        if talk is None:
            talk = self.talk = self._make_talk()
        while items:
            kind, at, value = items.popleft()
            if isinstance(value, bytes):
                cost = len(value) + ITEM
                intake.room += cost
                self._queued -= cost
            self._step(talk, kind, intake.wall(at), value)
            if intake.clock() >= until and items:
                return False
        if talk.broken:
            self._away = True
            self._dead = talk.broken != TOO_FAST
            if not self._dead:
                talk.look_away(intake.wall(intake.clock()))
        self._steady = talk.streams is not None
        self._special[UP] = talk.skippable(True)
        self._special[DOWN] = talk.skippable(False)
        return True

    @staticmethod
    def _step(talk: Conversation, kind: int, at: float, value: bytes | int | str | None) -> None:
        if isinstance(value, bytes):
            talk.feed(kind == UP, at, value)
        elif isinstance(value, int):
            talk.gap(kind == GAP_UP, at, value)
        elif kind == AWAY:
            talk.look_away(at)
        elif kind == CLOSED:
            talk.closed(at, value)
        else:
            talk.ended(kind == END_UP, at)


class CountingTap:
    """Tap of one connection of a tcp tunnel: counts, and tells the store twice a second at most."""

    __slots__ = ("_connection", "_next", "_on_closed", "_store")

    def __init__(self, store: Store, connection: Connection, on_closed: Callable[[], None] | None = None) -> None:
        self._store = store
        self._on_closed = on_closed
        self._connection = connection
        self._next = 0.0

    def up(self, data: memoryview) -> None:
        self._connection.up += len(data)
        self._moved()

    def down(self, data: memoryview) -> None:
        self._connection.down += len(data)
        self._moved()

    def up_ended(self) -> None:
        """Only the end of both matters here."""

    def down_ended(self) -> None:
        """Only the end of both matters here."""

    def closed(self, reason: str | None) -> None:
        self._connection.ended_at = self._store.clock()
        self._connection.failure = reason or ""
        self._store.changed(self._connection)
        if self._on_closed is not None:
            self._on_closed()

    def _moved(self) -> None:
        now = self._store.clock()
        self._connection.last_at = now
        if now >= self._next:
            self._next = now + 0.5
            self._store.changed(self._connection)

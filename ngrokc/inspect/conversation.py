"""One inspected connection: what its two readers find becomes exchanges.

Keep-alive, pipelining, 1xx, early answers, upgrades and half-closes are told apart here. Whatever it can't follow ends the
capture with a note; it never raises. Knows nothing of queues and budgets of time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ngrokc.inspect.backroom import Offload, at_once
from ngrokc.inspect.body import TOO_FAST, TOO_LARGE, Body
from ngrokc.inspect.heads import (
    Fields,
    Unreadable,
    answer_framing,
    answer_start,
    request_framing,
    request_start,
    split_head,
    values,
)
from ngrokc.inspect.model import Exchange, Half, Origin, State
from ngrokc.inspect.reader import RAW, Reader
from ngrokc.inspect.store import Store
from ngrokc.inspect.streams import Streams

PIPELINED: Final = 64  # exchanges that may wait for their answer on one connection
INTERIM: Final = 16  # 1xx heads kept of one exchange


class Conversation:
    """Fed in the order of time: `feed`, `gap`, `ended`, `closed`. `at` are times since the epoch. `on_done` is told of each
    exchange that is over; `offload` takes what may take long."""

    def __init__(
        self, store: Store, origin: Origin, on_done: Callable[[Exchange], None], offload: Offload = at_once
    ) -> None:
        self.store = store
        self.origin = origin
        self.now = 0.0
        self.waiting: deque[Exchange] = deque()
        self.broken = ""
        self.streams: Streams | None = None
        self.offload = offload
        self._on_done = on_done
        self._touched: Exchange | None = None
        self._requests = _Requests(self)
        self._answers = _Answers(self)
        self.up = Reader(self._requests, store.limits.head)
        self.down = Reader(self._answers, store.limits.head)

    def __repr__(self) -> str:
        return f"<Conversation {len(self.waiting)} waiting {self.broken}>"

    @property
    def idle(self) -> bool:
        """Between exchanges, with nothing half read: a good place to look away."""
        return not self.waiting and self.up.idle and self.down.idle

    def feed(self, up: bool, at: float, data: bytes) -> None:
        """Bytes of one direction."""
        if self.broken:
            return
        self.now = at
        try:
            (self.up if up else self.down).feed(data)
        except Unreadable as error:
            self.give_up(str(error))
        self._settle()

    def gap(self, up: bool, at: float, count: int) -> None:
        """Bytes of one direction that nobody copied."""
        if self.broken:
            return
        self.now = at
        reader = self.up if up else self.down
        if self.streams is not None and self.streams.kind != "sse" and reader.endless:
            self.streams.gap(up, count)
        elif not reader.gap(count):
            self.give_up(TOO_FAST)
        self._settle()

    def touch(self, exchange: Exchange) -> None:
        """Something of it changed; the store is told once for all that the same bytes brought."""
        if self._touched is not exchange:
            self._settle()
            self._touched = exchange

    def _settle(self) -> None:
        touched, self._touched = self._touched, None
        if touched is not None:
            self.store.changed(touched)

    def skippable(self, up: bool) -> int:
        """How many of the next bytes of a direction need not be copied, because their body is cut anyway."""
        reader = self.up if up else self.down
        side = self._requests.body if up else self._answers.body
        if self.broken or side is None or not side.closed or reader.body_left < 1 or self.streams is not None:
            return 0
        return reader.body_left

    def ended(self, up: bool, at: float) -> None:
        """A direction's end of file."""
        if self.broken:
            return
        self.now = at
        reader = self.up if up else self.down
        if reader.eof():
            return
        if not up and self.waiting:
            self.finish(self.waiting[0], "failed", "the upstream ended its answer too early")
            self.waiting.popleft()

    def closed(self, at: float, reason: str | None) -> None:
        """The connection is over: whatever still waits has failed, or, upgraded, is complete."""
        self.now = at
        for exchange in list(self.waiting):
            if exchange.state == "open":
                self.finish(exchange, "done" if reason is None else "failed", reason or "")
            elif exchange.answer is None:
                self.finish(exchange, "failed", reason or "the connection ended before an answer came")
            else:
                self.finish(exchange, "failed", reason or "the connection ended within the answer")
        self.waiting.clear()
        self.broken = self.broken or "closed"

    def look_away(self, at: float) -> None:
        """From here on unseen bytes pass: what is under way is cut; the next exchange starts afresh."""
        self.now = at
        for exchange in self.waiting:
            self.finish(exchange, "cut", TOO_FAST)
        self.waiting.clear()
        self.streams = None
        self.broken = ""
        self.up.reset()
        self.down.reset()
        self._requests.body = self._answers.body = None

    def give_up(self, why: str) -> None:
        """Stop following this connection; what is under way says why. Traffic goes on."""
        self.broken = why
        self.store.counts.cut += 1
        for exchange in self.waiting:
            self.finish(exchange, "cut", why)
        self.waiting.clear()

    def finish(self, exchange: Exchange, state: State, why: str = "") -> None:
        if self._touched is exchange:
            self._touched = None
        exchange.state = state
        exchange.ended_at = self.now
        exchange.failure = why if state == "failed" else ""
        if state == "cut":
            exchange.notes.append(f"the capture ended here: {why}")
        self.store.changed(exchange)
        self._on_done(exchange)

    def upgrade(self, exchange: Exchange) -> None:
        """Both directions are data from here on."""
        assert exchange.answer is not None
        exchange.state = "open"
        self.streams = Streams(self.store, exchange, self.offload)
        exchange.kind = self.streams.kind
        self.up.become_raw()


class _Requests:
    """The visitor's side."""

    __slots__ = ("_owner", "body", "exchange")

    def __init__(self, owner: Conversation) -> None:
        self._owner = owner
        self.body: Body | None = None
        self.exchange: Exchange | None = None

    def head(self, raw: bytes) -> int:
        owner = self._owner
        start, fields = split_head(raw)
        request_start(start)
        if len(owner.waiting) >= PIPELINED:
            raise Unreadable("more pipelined requests than are followed")
        store = owner.store
        self.body = Body(store.vault)
        half = Half(raw, start, self.body)
        half.whole = False
        self.exchange = Exchange(store.new_id(), owner.origin, half, owner.now, owner.now)
        framing = request_framing(fields)
        owner.waiting.append(self.exchange)
        store.add(self.exchange)
        return framing

    def data(self, data: bytes) -> None:
        owner = self._owner
        if owner.streams is not None and owner.up.endless:
            owner.streams.feed(True, owner.now, data)
        elif self.body is not None and self.exchange is not None:
            self.body.add(data)
            owner.touch(self.exchange)

    def skipped(self, count: int) -> None:
        if self.body is not None and self.exchange is not None:
            self.body.skip(count, TOO_LARGE)
            self._owner.touch(self.exchange)

    def trailers(self, fields: Fields) -> None:
        if self.exchange is not None:
            self.exchange.request.trailers = fields

    def end(self) -> None:
        self.body = None
        if self.exchange is not None:
            self.exchange.request.whole = True


class _Answers:
    """The upstream's side."""

    __slots__ = ("_interim", "_owner", "body")

    def __init__(self, owner: Conversation) -> None:
        self._owner = owner
        self._interim = False
        self.body: Body | None = None

    def head(self, raw: bytes) -> int:
        owner = self._owner
        start, fields = split_head(raw)
        status = answer_start(start)
        if not owner.waiting:
            raise Unreadable("an answer that nobody asked for")
        exchange = owner.waiting[0]
        self._interim = 100 <= status < 200 and status != 101
        if self._interim:
            if len(exchange.interim) < INTERIM:
                exchange.interim.append((owner.now, raw))
            owner.touch(exchange)
            return 0
        self.body = Body(owner.store.vault)
        exchange.answer = Half(raw, start, self.body)
        exchange.first_at = owner.now
        exchange.state = "answering"
        method = exchange.request.start[0]
        if status == 101 or (method == b"CONNECT" and status < 300):
            owner.upgrade(exchange)
            owner.touch(exchange)
            return RAW
        if any(b"text/event-stream" in kind for kind in values(fields, b"content-type")):
            self._events(exchange)
        framing = answer_framing(status, method, fields)
        if framing != 0:
            owner.touch(exchange)
        return framing

    def _events(self, exchange: Exchange) -> None:
        exchange.kind = "sse"
        self._owner.streams = Streams(self._owner.store, exchange, self._owner.offload)

    def data(self, data: bytes) -> None:
        owner = self._owner
        if owner.streams is not None:
            owner.streams.feed(False, owner.now, data)
        if self.body is not None and owner.waiting and owner.waiting[0].state != "open":
            self.body.add(data)
            owner.touch(owner.waiting[0])

    def skipped(self, count: int) -> None:
        if self._owner.streams is not None:
            self._owner.streams.gap(False, count)
        if self.body is not None and self._owner.waiting:
            self.body.skip(count, TOO_LARGE)
            self._owner.touch(self._owner.waiting[0])

    def trailers(self, fields: Fields) -> None:
        if self._owner.waiting and self._owner.waiting[0].answer is not None:
            self._owner.waiting[0].answer.trailers = fields

    def end(self) -> None:
        owner = self._owner
        if self._interim or not owner.waiting:
            return
        self.body = None
        owner.streams = None
        owner.finish(owner.waiting.popleft(), "done")

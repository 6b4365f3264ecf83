"""What happens within an exchange that goes on: WebSocket messages both ways, server-sent events, other upgrades.

Decodes for show into the exchange's messages; a direction it can't read any more is left with a note.
"""

from __future__ import annotations

from typing import Literal

from ngrokc.inspect.backroom import Offload
from ngrokc.inspect.body import TOO_FAST
from ngrokc.inspect.coded_events import CodedEvents, Found
from ngrokc.inspect.heads import Unreadable, values
from ngrokc.inspect.model import Exchange, Message
from ngrokc.inspect.sse import EventReader, ServerEvent
from ngrokc.inspect.store import Store
from ngrokc.inspect.websocket import Frames, deflate_of


class Streams:
    """Made when the head of the answer is known. `kind` is what it turned out to be; `offload` takes what may take long."""

    def __init__(self, store: Store, exchange: Exchange, offload: Offload) -> None:
        assert exchange.answer is not None
        self._store = store
        self._exchange = exchange
        self._coded: CodedEvents | None = None
        self._lost: set[bool] = set()
        self._frames: dict[bool, Frames] = {}
        self._events: EventReader | None = None
        self.kind: Literal["http", "websocket", "sse", "upgraded"] = "upgraded"
        cap = store.limits.message
        if exchange.kind == "sse":
            self.kind = "sse"
            self._events = EventReader(cap)
            if codings := values(exchange.answer.fields, b"content-encoding"):
                self._open_coded(codings, offload)
        elif b"websocket" in values(exchange.answer.fields, b"upgrade"):
            self.kind = "websocket"
            extensions = b",".join(values(exchange.answer.fields, b"sec-websocket-extensions"))
            for up in (True, False):
                deflate, takeover = deflate_of(extensions, server=not up)
                self._frames[up] = Frames(cap, deflate=deflate, takeover=takeover)

    def _open_coded(self, codings: list[bytes], offload: Offload) -> None:
        try:
            self._coded = CodedEvents(codings, self._store.limits.message, offload, self._decoded)
        except Unreadable as error:
            self._lose(False, str(error))

    def _decoded(self, found: Found, why: str) -> None:
        for at, event in found:
            self._event(at, event)
        if why and False not in self._lost:
            self._lose(False, why)

    def feed(self, up: bool, at: float, data: bytes) -> None:
        """Bytes of one direction."""
        if up in self._lost:
            return
        try:
            if self._coded is not None:
                if not up:
                    self._coded.feed(at, data)
            elif self._events is not None:
                if not up:
                    for event in self._events.feed(data):
                        self._event(at, event)
            elif self._frames:
                for found in self._frames[up].feed(data):
                    self._add(Message(at, up, found.kind, found.data, found.size, "", found.cut))
            else:
                self._count(up, len(data))
        except Unreadable as error:
            self._lose(up, str(error))

    def gap(self, up: bool, count: int) -> None:
        """Bytes that nobody copied. Messages of this direction may be lost from here on; the bytes are counted."""
        if up in self._lost:
            return
        if self._frames:
            if not self._frames[up].gap(count):
                self._lose(up, TOO_FAST)
            return
        if self._events is None:
            self._count(up, count)
        elif not up:
            self._lose(up, TOO_FAST)

    def _event(self, at: float, event: ServerEvent) -> None:
        cut = event.size > len(event.data)
        self._add(Message(at, False, "event", event.data, event.size, event.name, cut))

    def _add(self, message: Message) -> None:
        limits = self._store.limits
        self._exchange.add_message(message, limits.messages, limits.messages_memory)
        self._store.changed(self._exchange)

    def _count(self, up: bool, count: int) -> None:
        """An upgrade to something else: only sizes."""
        side = self._exchange.request if up else self._exchange.answer
        if side is not None:
            side.body.skip(count, "not HTTP any more")
            self._store.changed(self._exchange)

    def _lose(self, up: bool, why: str) -> None:
        self._lost.add(up)
        who = "visitor's" if up else "upstream's"
        self._exchange.notes.append(f"the {who} messages are not shown from here on: {why}")
        self._store.changed(self._exchange)

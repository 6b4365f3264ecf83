"""The nouns of the inspector: an exchange, its two sides, messages within it, a tcp connection. Only values; no parsing.

Times are seconds since the epoch, as floats; None for what has not happened.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from ngrokc.inspect.body import Body
from ngrokc.inspect.heads import Fields, split_head

State = Literal["pending", "answering", "open", "done", "failed", "cut"]
"""pending: no answer yet; answering: its body flows; open: upgraded, runs on; done; failed: ended early; cut: we looked away."""

EXCHANGE_COST = 2048  # what the objects of an exchange weigh beside heads, bodies and messages
MESSAGE_COST = 256
IMPORTED: Final = "imported"  # the tunnel and the connection of what came out of a file


@dataclass(frozen=True, slots=True)
class Origin:
    """Where exchanges of one connection come from. `replay_of`: the id of the exchange that was sent again, or ""."""

    tunnel: str
    url: str
    protocol: str
    connection: str
    client_addr: str
    replay_of: str = ""


class Half:
    """A request or an answer. `raw` is the head as received, with its closing empty line; `start` and `fields` come from it.

    Fields are split again whenever somebody looks: kept, they would be most of the objects of an exchange that nobody looks
    at. `fields`: those of a head that was never received as such (an import).
    """

    __slots__ = ("_fields", "body", "raw", "start", "trailers", "whole")

    def __init__(self, raw: bytes, start: tuple[bytes, bytes, bytes], body: Body, fields: Fields | None = None) -> None:
        self.raw = raw
        self.start = start
        self._fields = fields
        self.trailers: Fields = []
        self.body = body
        self.whole = True
        """False while its end has not been seen."""

    @property
    def fields(self) -> Fields:
        """In order and case."""
        return split_head(self.raw)[1] if self._fields is None else self._fields

    def get(self, name: bytes) -> bytes:
        """The first field of that (lower case) name, b"" for none."""
        for key, value in self.fields:
            if key.lower() == name:
                return value
        return b""


@dataclass(frozen=True, slots=True)
class Message:
    """A WebSocket message or a server-sent event. `kind`: text, binary, ping, pong, close, event. `size`: of the whole."""

    at: float
    up: bool
    kind: str
    data: bytes
    size: int
    name: str = ""
    cut: bool = False


class Exchange:
    """One request with its answer, filled in while it runs."""

    __slots__ = (
        "answer",
        "ended_at",
        "failure",
        "first_at",
        "head_at",
        "id",
        "interim",
        "kind",
        "messages",
        "messages_lost",
        "messages_size",
        "notes",
        "origin",
        "request",
        "started_at",
        "state",
        "version",
    )

    def __init__(self, id: str, origin: Origin, request: Half, started_at: float, head_at: float) -> None:  # noqa: A002
        self.id = id
        self.origin = origin
        self.request = request
        self.answer: Half | None = None
        self.interim: list[tuple[float, bytes]] = []
        self.kind: Literal["http", "websocket", "sse", "upgraded"] = "http"
        self.state: State = "pending"
        self.started_at = started_at
        self.head_at = head_at
        self.first_at: float | None = None
        self.ended_at: float | None = None
        self.failure = ""
        self.notes: list[str] = []
        self.messages: deque[Message] = deque()
        self.messages_size = 0
        self.messages_lost = 0
        self.version = 0

    def __repr__(self) -> str:
        return f"<Exchange {self.id} {self.method} {self.target} {self.status or '-'} {self.state}>"

    @property
    def method(self) -> str:
        return self.request.start[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.request.start[1].decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()

    @property
    def status(self) -> int:
        return int(self.answer.start[1]) if self.answer is not None else 0

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cut")

    @property
    def weight(self) -> int:
        """Bytes of memory it is charged with."""
        answer = self.answer
        heads = len(self.request.raw) + (len(answer.raw) if answer is not None else 0)
        bodies = self.request.body.memory + (answer.body.memory if answer is not None else 0)
        return EXCHANGE_COST + 3 * heads + bodies + self.messages_size

    def release(self) -> None:
        self.request.body.release()
        if self.answer is not None:
            self.answer.body.release()
        self.messages.clear()

    def add_message(self, message: Message, count: int, size: int) -> None:
        """Keep a message; the oldest go when there are more than `count` or they take more than `size` bytes."""
        self.messages.append(message)
        self.messages_size += len(message.data) + MESSAGE_COST
        while len(self.messages) > count or (self.messages_size > size and len(self.messages) > 1):
            old = self.messages.popleft()
            self.messages_size -= len(old.data) + MESSAGE_COST
            self.messages_lost += 1


class Connection:
    """A connection of a tcp tunnel: counts and times, no bytes."""

    __slots__ = ("down", "ended_at", "failure", "id", "last_at", "origin", "started_at", "up", "version")

    def __init__(self, id: str, origin: Origin, started_at: float) -> None:  # noqa: A002
        self.id = id
        self.origin = origin
        self.started_at = started_at
        self.last_at = started_at
        self.ended_at: float | None = None
        self.up = 0
        self.down = 0
        self.failure = ""
        self.version = 0

    def __repr__(self) -> str:
        return f"<Connection {self.id} up {self.up} down {self.down}>"

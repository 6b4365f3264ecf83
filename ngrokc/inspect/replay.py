"""Sending a captured request again, as it was or edited: always to the upstream of its own tunnel, nowhere else.

The answer is captured like any other and marked as a replay. Framing is done anew (Content-Length, Connection: close), so an
edit can't smuggle; redirects are not followed; names in the request decide nothing about where it goes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from ngrokc.inspect.backroom import Offload, at_once
from ngrokc.inspect.conversation import Conversation
from ngrokc.inspect.heads import Fields
from ngrokc.inspect.model import IMPORTED, Exchange, Origin
from ngrokc.inspect.seams import RouteLike
from ngrokc.inspect.store import Store
from protocol import proxy_header
from protocol.address import Upstream
from protocol.errors import Blame, Fault, LinkError

TIMES: Final = 100
AT_ONCE: Final = 8
DIAL: Final = 5.0
WHOLE: Final = 300.0  # seconds for one replay, streams included
START: Final = 6.0  # seconds until the new exchange must be there
BODY_CAP: Final = 16 * 1024 * 1024
FIELD_LIMIT: Final = 200

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}\Z")
_TARGET = re.compile(rb"(?:/[^\x00-\x20\x7f]*|\*)\Z")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_FRAMING = frozenset(
    {b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"expect", b"te", b"trailer", b"upgrade"}
)

Dial = Callable[[Upstream], Awaitable[trio.abc.HalfCloseableStream]]
Find = Callable[[str, str], "RouteLike | None"]


@dataclass(frozen=True, slots=True)
class Edit:
    """What to send instead; None keeps what was captured."""

    method: bytes | None = None
    target: bytes | None = None
    fields: tuple[tuple[bytes, bytes], ...] | None = None
    body: bytes | None = None


def refused(code: str, message: str) -> Fault:
    return Fault(code, message, blame=Blame.OPERATOR)


def obstacle(exchange: Exchange) -> str:
    """Why this exchange can't be sent again as it was, "" when it can."""
    if exchange.origin.connection == IMPORTED:
        return "it comes from a file: there is no tunnel to send it through"
    if exchange.kind in ("websocket", "upgraded"):
        return "an upgraded connection can't be replayed"
    if exchange.request.body.kept < exchange.request.body.size:
        return "its body was not kept whole; edit it to send another"
    if not exchange.request.whole:
        return "its body is not whole: the capture ended within it, or it is still coming; edit it to send another"
    return ""


def compose(exchange: Exchange, edit: Edit, body: bytes) -> bytes:
    """The bytes to send. Raises Fault for what can't be a request."""
    method = edit.method if edit.method is not None else exchange.request.start[0]
    target = edit.target if edit.target is not None else exchange.request.start[1]
    fields: Fields = list(edit.fields) if edit.fields is not None else exchange.request.fields
    if not _TOKEN.match(method) or method == b"CONNECT":
        raise refused("bad_method", "the method must be a word such as GET")
    if not _TARGET.match(target):
        raise refused("bad_path", "the path must begin with / and have no spaces")
    if len(fields) > FIELD_LIMIT:
        raise refused("bad_header", f"more than {FIELD_LIMIT} headers")
    lines = [method + b" " + target + b" HTTP/1.1"]
    for name, value in fields:
        if name.lower() in _FRAMING:
            continue
        if not _TOKEN.match(name) or not _VALUE.match(value):
            raise refused("bad_header", "a header name is a word, a value one line without control characters")
        lines.append(name + b": " + value)
    if body or method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"Content-Length: %d" % len(body))
    lines += [b"Connection: close", b"", b""]
    return b"\r\n".join(lines) + body


class Replayer:
    """`find(tunnel, protocol)` gives the route of a tunnel that is open now; `dial` connects to its upstream."""

    def __init__(
        self, store: Store, find: Find, dial: Dial, on_done: Callable[[Exchange], None], offload: Offload = at_once
    ) -> None:
        self._store = store
        self._find = find
        self._dial = dial
        self._on_done = on_done
        self._offload = offload
        self._limit = trio.CapacityLimiter(AT_ONCE)

    async def replay(self, exchange: Exchange, edit: Edit, times: int, nursery: trio.Nursery) -> str:
        """Send it `times` times, one after the other; the id of the first new exchange. The rest goes on in `nursery`.
        Raises Fault when it can't be sent."""
        if not 1 <= times <= TIMES:
            raise refused("bad_times", f"from 1 to {TIMES} times")
        if exchange.origin.connection == IMPORTED:  # a tunnel of today may be called "imported"
            raise refused("imported", obstacle(exchange))
        route = self._find(exchange.origin.tunnel, exchange.origin.protocol)
        if route is None or route.upstream is None:
            raise refused("no_upstream", "its tunnel is not open, or ends in a program")
        if edit.body is None and (why := obstacle(exchange)):
            raise refused("not_whole", why)
        body = edit.body
        if body is None:
            body = await trio.to_thread.run_sync(exchange.request.body.read)
            if len(body) != exchange.request.body.size:
                raise refused("not_whole", "its body is no longer there")
        wire = compose(exchange, edit, body)
        made: list[str] = []
        seen = trio.Event()

        async def work() -> None:
            for _ in range(times):
                await self._once(wire, exchange, route, made, seen)

        nursery.start_soon(work)
        with trio.move_on_after(START):
            await seen.wait()
            return made[0]
        raise refused("busy", "too many replays are running")

    async def _once(self, wire: bytes, old: Exchange, route: RouteLike, made: list[str], seen: trio.Event) -> None:
        origin = Origin(old.origin.tunnel, old.origin.url, old.origin.protocol, "replay", "replay", replay_of=old.id)
        assert route.upstream is not None
        async with self._limit:
            talk = Conversation(self._store, origin, self._on_done, self._offload)
            talk.feed(True, time.time(), wire)
            made += [exchange.id for exchange in talk.waiting]
            seen.set()
            failure: str | None = f"no complete answer within {WHOLE:g} s"
            with trio.move_on_after(WHOLE):
                failure = await self._exchange(wire, talk, route)
            talk.closed(time.time(), failure)

    async def _exchange(self, wire: bytes, talk: Conversation, route: RouteLike) -> str | None:
        """Dial, send, listen until the answer is complete; what failed, None for nothing."""
        assert route.upstream is not None
        try:
            with trio.fail_after(DIAL):
                stream = await self._dial(route.upstream)
        except LinkError as error:
            return f"upstream: {error.message}"
        except trio.TooSlowError:
            return f"upstream: no connection within {DIAL:g} s"
        async with stream:
            try:
                if route.options.proxy_protocol:
                    await stream.send_all(proxy_header.encode(route.options.proxy_protocol, None))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_send, stream, wire)
                    while talk.waiting and (data := await stream.receive_some(65536)):
                        talk.feed(False, time.time(), bytes(data))
                        if talk.broken:
                            break
                    talk.ended(False, time.time())
                    nursery.cancel_scope.cancel()
            except trio.BrokenResourceError as error:
                return f"upstream: {error.__cause__ or error}"
        return None


async def _send(stream: trio.abc.SendStream, wire: bytes) -> None:
    """An upstream may answer, and close, before it has read everything: what it said counts."""
    try:
        await stream.send_all(wire)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return

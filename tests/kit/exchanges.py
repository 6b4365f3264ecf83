"""The same exchange twice: straight to a service and through the tunnel, and what either side saw of it.

An exchange is a script of steps for a visitor and a service, both of which only move bytes. What both received is taken
apart into messages and compared; the differences that docs/http.md names are left out, every other one is a finding.
Shares no code with the programs.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from tests.kit.http1 import Head, parse_head

STEP_SECONDS = 8.0
READ = 256 * 1024

# docs/http.md, "What is changed": hop-by-hop fields go, the edge's own are written.
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection"}
ADDED = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}


# -- steps: who does what. Small letters wait, capital ones send.
@dataclass(frozen=True, slots=True)
class Step:
    """`who` is "visitor" or "service"; `what`: send, sees (these bytes), whole (so many messages), end, ended."""

    who: str
    what: str
    data: bytes = b""
    count: int = 0


def visit(data: bytes) -> Step:
    return Step("visitor", "send", data)


def serve(data: bytes) -> Step:
    return Step("service", "send", data)


def visitor_sees(data: bytes) -> Step:
    return Step("visitor", "sees", data)


def service_sees(data: bytes) -> Step:
    return Step("service", "sees", data)


def visitor_has(count: int = 1) -> Step:
    """So many whole answers."""
    return Step("visitor", "whole", count=count)


def service_has(count: int = 1) -> Step:
    """So many whole requests."""
    return Step("service", "whole", count=count)


VISITOR_ENDS, SERVICE_ENDS = Step("visitor", "end"), Step("service", "end")
VISITOR_SEES_THE_END, SERVICE_SEES_THE_END = Step("visitor", "ended"), Step("service", "ended")


@dataclass(frozen=True, slots=True)
class Case:
    """One exchange. `HOST` in what the visitor sends stands for the tunnel's name. `also`: further fields that this case
    loses on the way, by name in lower case, as documented."""

    name: str
    steps: tuple[Step, ...]
    also: frozenset[bytes] = frozenset()


def simple(
    name: str, request: bytes, answer: bytes, *, close: bool = False, also: frozenset[bytes] = frozenset()
) -> Case:
    """A request, then its answer; `close`: which ends with the connection."""
    end = (SERVICE_ENDS, VISITOR_SEES_THE_END) if close else (visitor_has(),)
    return Case(name, (visit(request), service_has(), serve(answer), *end), also)


# -- what was seen
@dataclass(slots=True)
class Message:
    """A head and the bytes of its body as they stood on the wire."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes


def messages(
    raw: bytes, methods: list[bytes] | None, *, ended: bool = False, partial_too: bool = False
) -> tuple[list[Message], int]:
    """The whole messages in `raw` and where the rest begins. `methods`: those of the requests that these are answers to.
    `partial_too`: the last one's body may be cut short."""
    found: list[Message] = []
    at = finals = 0
    while True:
        end = raw.find(b"\r\n\r\n", at)
        if end < 0:
            return found, at
        head = parse_head(raw[at:end])
        start = end + 4
        if methods is None:
            stop = _request_end(head, raw, start)
        else:
            method = methods[min(finals, len(methods) - 1)] if methods else b"GET"
            stop = _answer_end(head, method, raw, start, ended=ended)
        if stop < 0 and not partial_too:
            return found, at
        stop = len(raw) if stop < 0 else stop
        found.append(Message(head.start, list(head.fields), raw[start:stop]))
        at = stop
        if methods is not None:
            if head.status == 101:
                return found, at
            finals += head.status >= 200


def _request_end(head: Head, raw: bytes, start: int) -> int:
    if head.chunked:
        return _chunked_end(raw, start)
    stop = start + int(head.get(b"content-length") or 0)
    return stop if stop <= len(raw) else -1


def _answer_end(head: Head, method: bytes, raw: bytes, start: int, *, ended: bool) -> int:
    if method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        return start
    if not head.chunked and head.get(b"content-length") is None:
        return len(raw) if ended else -1
    return _request_end(head, raw, start)


def _chunked_end(raw: bytes, at: int) -> int:
    while True:
        end = raw.find(b"\r\n", at)
        if end < 0:
            return -1
        size = int(raw[at:end].partition(b";")[0], 16)
        at = end + 2
        if size == 0:
            stop = at if raw[at : at + 2] == b"\r\n" else raw.find(b"\r\n\r\n", at) + 2
            return -1 if stop < at or stop + 2 > len(raw) else stop + 2
        at += size + 2


Outbox = tuple[trio.MemorySendChannel[bytes | None], trio.MemoryReceiveChannel[bytes | None]]


@dataclass(slots=True)
class End:
    """One end of a connection: everything that it received, and how that ended (None: not yet)."""

    stream: trio.SocketStream
    received: bytearray = field(default_factory=bytearray)
    ended: str | None = None
    _outbox: Outbox = field(default_factory=lambda: trio.open_memory_channel[bytes | None](100))

    def send(self, data: bytes | None) -> None:
        """In the order of the steps, however long it takes; None is the end."""
        self._outbox[0].send_nowait(data)

    async def write(self) -> None:
        """Send for ever what is asked for; a peer that left is met by the reading."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in self._outbox[1]:
                if data is None:
                    await self.stream.send_eof()
                else:
                    await self.stream.send_all(data)

    async def read(self) -> None:
        try:
            data = await self.stream.receive_some(READ)
        except trio.BrokenResourceError:
            self.ended = "reset"
        else:
            self.received += data
            if not data:
                self.ended = "end"

    async def until(self, done: Callable[[], bool]) -> None:
        with trio.fail_after(STEP_SECONDS):
            while not done() and self.ended is None:
                await self.read()


@dataclass(frozen=True, slots=True)
class Seen:
    """What both ends had at the end of a script; `stuck`: the step that did not come about."""

    visitor: bytes
    service: bytes
    visitor_ended: str | None
    service_ended: str | None
    stuck: str | None


class Service:
    """A service that does nothing by itself: scripts take its connections."""

    def __init__(self, port: int, arrivals: trio.MemoryReceiveChannel[trio.SocketStream]) -> None:
        self.port = port
        self._arrivals = arrivals

    async def next(self) -> trio.SocketStream:
        with trio.fail_after(STEP_SECONDS):
            return await self._arrivals.receive()

    async def forget(self) -> None:
        """Close what an earlier script left."""
        with contextlib.suppress(trio.WouldBlock):
            while True:
                await trio.aclose_forcefully(self._arrivals.receive_nowait())


@contextlib.asynccontextmanager
async def open_service() -> AsyncIterator[Service]:
    send, receive = trio.open_memory_channel[trio.SocketStream](1000)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def accept() -> None:
            while True:
                send.send_nowait(await listeners[0].accept())

        nursery.start_soon(accept)
        async with listeners[0]:
            service = Service(listeners[0].socket.getsockname()[1], receive)
            yield service
            await service.forget()
            nursery.cancel_scope.cancel()


async def play(case: Case, service: Service, port: int, host: bytes) -> Seen:
    """Run the script over a new connection to `port` of this machine."""
    await service.forget()
    visitor = End(await trio.open_tcp_stream("127.0.0.1", port))
    far: list[End] = []
    stuck: str | None = None
    number = -1
    try:
        async with trio.open_nursery() as writers:
            writers.start_soon(visitor.write)
            for number, step in enumerate(case.steps):  # noqa: B007 - said below, when it sticks
                if step.who == "service" and not far:
                    far.append(End(await service.next()))
                    writers.start_soon(far[0].write)
                end = far[0] if step.who == "service" else visitor
                done = partial(_came_about, step, visitor, far)
                if step.what in ("send", "end"):
                    end.send(step.data.replace(b"HOST", host) if step.what == "send" else None)
                    continue
                await end.until(done)
                if not done():
                    stuck = "ended too early"
                    break
            writers.cancel_scope.cancel()
    except* (trio.TooSlowError, trio.BrokenResourceError) as group:
        stuck = type(group.exceptions[0]).__name__
    finally:
        for end in [visitor, *far]:
            await trio.aclose_forcefully(end.stream)
    if stuck is not None:
        step = case.steps[number]
        stuck = f"step {number}: {step.who} {step.what} {step.data[:60]!r}: {stuck}"
    other = far[0] if far else End(visitor.stream)
    return Seen(bytes(visitor.received), bytes(other.received), visitor.ended, other.ended, stuck)


def _came_about(step: Step, visitor: End, far: list[End]) -> bool:
    end = visitor if step.who == "visitor" else far[0]
    if step.what == "sees":
        return step.data in end.received
    if step.what == "ended":
        return end.ended is not None
    if step.what == "whole":
        methods = _methods(far) if end is visitor else None
        found, _ = messages(bytes(end.received), methods, ended=end.ended is not None)
        return sum(1 for one in found if methods is None or int(one.start.split(b" ")[1]) >= 200) >= step.count
    return True


def _methods(far: list[End]) -> list[bytes]:
    found, _ = messages(bytes(far[0].received), None) if far else ([], 0)
    return [one.start.partition(b" ")[0] for one in found]


# -- comparing
def differences(case: Case, direct: Seen, tunnelled: Seen) -> list[str]:
    """What went otherwise through the tunnel, each a line."""
    found = []
    if direct.stuck or tunnelled.stuck:
        if direct.stuck != tunnelled.stuck:
            found.append(
                f"{case.name}: directly {direct.stuck or 'all went well'}; tunnelled {tunnelled.stuck or 'well'}"
            )
        return found
    methods = [one.start.partition(b" ")[0] for one in messages(direct.service, None)[0]]
    for what, ours, theirs, kind in (
        ("the service saw", direct.service, tunnelled.service, None),
        ("the visitor saw", direct.visitor, tunnelled.visitor, methods),
    ):
        found += [f"{case.name}: {what}: {line}" for line in _compare(case, ours, theirs, kind)]
    if direct.visitor_ended != tunnelled.visitor_ended:
        found.append(f"{case.name}: for the visitor {direct.visitor_ended}, tunnelled {tunnelled.visitor_ended}")
    return found


def _compare(case: Case, direct: bytes, tunnelled: bytes, methods: list[bytes] | None) -> list[str]:
    ours, at = messages(direct, methods, ended=True, partial_too=True)
    theirs, other_at = messages(tunnelled, methods, ended=True, partial_too=True)
    if len(ours) != len(theirs):
        return [f"{len(ours)} messages, tunnelled {len(theirs)}: {tunnelled[:300]!r}"]
    lines = []
    for one, other in zip(ours, theirs, strict=True):
        if _start(one.start) != _start(other.start):
            lines.append(f"{one.start!r}, tunnelled {other.start!r}")
        if _fields(one, case.also) != _fields(other, case.also):
            lines.append(f"fields {_fields(one, case.also)}, tunnelled {_fields(other, case.also)}")
        if one.body != other.body:
            lines.append(
                f"a body of {len(one.body)} bytes, tunnelled {len(other.body)} other ones: {other.body[:100]!r}"
            )
    if direct[at:] != tunnelled[other_at:]:
        lines.append(f"then {direct[at:][:100]!r}, tunnelled {tunnelled[other_at:][:100]!r}")
    return lines


def _start(line: bytes) -> bytes:
    """Answers are always HTTP/1.1 behind the edge."""
    return line.partition(b" ")[2] if line.startswith(b"HTTP/") else line


def _fields(message: Message, also: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    gone = HOP_BY_HOP | also | (set() if message.start.startswith(b"HTTP/") else ADDED)
    return [(name, value) for name, value in message.fields if name.lower() not in gone]

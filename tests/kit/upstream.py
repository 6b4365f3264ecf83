"""The private service of the tests: an HTTP server that shows exactly what arrived, and three small tcp services.

As a library: `async with open_upstream() as upstream`; as a process: `python -m tests.kit.upstream`, which prints one JSON
line with its ports and serves until a signal. Where a test must see two things one after the other it opens a *gate*
(`POST /gate/NAME`, or `upstream.gate(NAME).release()`) that the service waits for, so nobody sleeps.

| path | answer |
|---|---|
| anything else | JSON: the request as received (see `Exchange.seen`) |
| /bytes/N | N bytes of tests.kit.patterns with their checksum in X-Sha256; /chunked/N and /until-close/N framed otherwise |
| /upload | JSON: length and sha256 of the body |
| /status/N | that status; 204 and 304 without a body |
| /sse?events=3&gate=g | server-sent events, each but the first waits for the gate |
| /drip?parts=5&gap=0.1 | parts with pauses |
| /trailers, /early-hints, /early-answer | trailers, 103 before 200, 413 before the body was read |
| /wait?gate=g | answers when the gate opens |
| /ws | WebSocket echo, permessage-deflate when offered; ?greet=text speaks first |
| /fault/KIND | see tests.kit.faults |
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

import trio

from tests.kit.http1 import Body, Head, Truncated, Wire
from tests.kit.patterns import blocks, digest

Fields = list[tuple[str, str]]
SHOWN_BODY = 64 * 1024


class Exchange:
    """One request on a connection of the service, and the means to answer it."""

    def __init__(self, upstream: Upstream, wire: Wire, head: Head, number: int) -> None:
        self.upstream = upstream
        self.wire = wire
        self.head = head
        self.number = number
        url = urlsplit(head.target.decode("latin-1"))
        self.path = url.path
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.close = not head.keep_alive
        self._body_read = False

    async def body(self) -> Body:
        """The request's body, to be read once; 100 is sent first to whoever expects it."""
        self._body_read = True
        if (self.head.get(b"expect") or b"").lower() == b"100-continue":
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.wire.body(self.head)

    async def drain(self) -> None:
        """Skip a body that the handler did not want."""
        if not self._body_read:
            async for _ in await self.body():
                pass

    async def send(self, data: bytes) -> None:
        await self.wire.stream.send_all(data)

    async def start(self, status: int, fields: Fields) -> None:
        """Send the head of the answer."""
        if self.close:
            fields = [*fields, ("Connection", "close")]
        lines = [f"HTTP/1.1 {status} Status {status}", "Server: kit", *(f"{name}: {value}" for name, value in fields)]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def answer(self, status: int, body: bytes, fields: Fields | None = None, kind: str = "text/plain") -> None:
        await self.drain()
        await self.start(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *(fields or [])])
        if self.head.method != b"HEAD":
            await self.send(body)

    async def answer_json(self, value: object, status: int = 200) -> None:
        await self.answer(status, json.dumps(value).encode(), kind="application/json")

    async def seen(self) -> dict[str, object]:
        """The request as it was received: text is latin-1, so that every byte shows."""
        sha, length, shown = hashlib.sha256(), 0, bytearray()
        async for part in await self.body():
            sha.update(part)
            length += len(part)
            shown += part[: max(0, SHOWN_BODY - len(shown))]
        method, target, version = self.head.words
        return {
            "method": method.decode("latin-1"),
            "target": target.decode("latin-1"),
            "version": version.decode("latin-1"),
            "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.head.fields],
            "body": shown.decode("latin-1"),
            "length": length,
            "sha256": sha.hexdigest(),
            "trailers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.wire.trailers],
            "exchange": self.number,
        }


Handler = Callable[[Exchange], Awaitable[None]]


# -- the paths
async def _echo(exchange: Exchange) -> None:
    await exchange.answer_json(await exchange.seen())


async def _bytes(exchange: Exchange) -> None:
    await exchange.drain()
    size = int(exchange.path.rpartition("/")[2])
    await exchange.start(200, [("Content-Length", str(size)), ("X-Sha256", digest(size))])
    if exchange.head.method != b"HEAD":
        for block in blocks(size):
            await exchange.send(block)


async def _chunked(exchange: Exchange) -> None:
    await exchange.drain()
    size = int(exchange.path.rpartition("/")[2])
    await exchange.start(200, [("Transfer-Encoding", "chunked"), ("X-Sha256", digest(size))])
    for block in blocks(size):
        await exchange.send(b"%x;kit=1\r\n%b\r\n" % (len(block), block))
    await exchange.send(b"0\r\n\r\n")


async def _until_close(exchange: Exchange) -> None:
    await exchange.drain()
    exchange.close = True
    size = int(exchange.path.rpartition("/")[2])
    await exchange.start(200, [("X-Sha256", digest(size))])
    for block in blocks(size):
        await exchange.send(block)


async def _upload(exchange: Exchange) -> None:
    sha, length = hashlib.sha256(), 0
    async for part in await exchange.body():
        sha.update(part)
        length += len(part)
    await exchange.answer_json({"length": length, "sha256": sha.hexdigest()})


async def _status(exchange: Exchange) -> None:
    status = int(exchange.path.rpartition("/")[2])
    if status in (204, 304):
        await exchange.drain()
        await exchange.start(status, [("ETag", '"kit"')] + ([("Content-Length", "5")] if status == 304 else []))
    else:
        await exchange.answer(status, f"status {status}\n".encode())


async def _sse(exchange: Exchange) -> None:
    await exchange.drain()
    await exchange.start(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
    gate = exchange.upstream.gate(exchange.query["gate"]) if "gate" in exchange.query else None
    for number in range(int(exchange.query.get("events", "3"))):
        if number and gate is not None:
            await gate.acquire()
        event = f"id: {number}\ndata: event {number}\n\n".encode()
        await exchange.send(b"%x\r\n%b\r\n" % (len(event), event))
    await exchange.send(b"0\r\n\r\n")


async def _drip(exchange: Exchange) -> None:
    await exchange.drain()
    await exchange.start(200, [("Transfer-Encoding", "chunked")])
    for number in range(int(exchange.query.get("parts", "5"))):
        await trio.sleep(float(exchange.query.get("gap", "0.1")))
        await exchange.send(b"8\r\npart %2d\n\r\n" % (number % 100))
    await exchange.send(b"0\r\n\r\n")


async def _trailers(exchange: Exchange) -> None:
    await exchange.drain()
    await exchange.start(200, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Checksum")])
    await exchange.send(b"5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n")


async def _early_hints(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    await exchange.answer(200, b"after the hints\n")


async def _early_answer(exchange: Exchange) -> None:
    """Refuses without reading. It lingers, so that a reset can't overtake the answer."""
    exchange.close = True
    body = b"too large\n"
    await exchange.start(413, [("Content-Length", str(len(body)))])
    await exchange.send(body)
    with trio.move_on_after(5):
        async for _ in exchange.wire.rest():
            pass


async def _wait(exchange: Exchange) -> None:
    await exchange.drain()
    await exchange.upstream.gate(exchange.query["gate"]).acquire()
    await exchange.answer(200, b"the gate is open\n")


async def _gate(exchange: Exchange) -> None:
    exchange.upstream.gate(exchange.path.rpartition("/")[2]).release()
    await exchange.answer(200, b"opened\n")


def _handler(path: str) -> Handler:
    from tests.kit import faults, websocket

    table: dict[str, Handler] = {
        "bytes": _bytes, "chunked": _chunked, "until-close": _until_close, "upload": _upload, "status": _status,
        "sse": _sse, "drip": _drip, "trailers": _trailers, "early-hints": _early_hints, "early-answer": _early_answer,
        "wait": _wait, "gate": _gate, "ws": websocket.echo, "fault": faults.misbehave,
    }  # fmt: skip
    return table.get(path.strip("/").partition("/")[0], _echo)


# -- the service
class Upstream:
    """The running service. `http_port` speaks HTTP; `echo_port` returns bytes as they come and ends when the peer ended
    (half-close); `digest_port` answers the sha256 of everything once the peer ended; `greeting_port` speaks first, then echoes.
    `seen` are the heads of all requests, `received` counts every byte that reached it."""

    def __init__(self) -> None:
        self.seen: list[Head] = []
        self.received = 0
        self.connections = 0
        self.open = 0
        self.http_port = self.echo_port = self.digest_port = self.greeting_port = 0
        self._gates: dict[str, trio.Semaphore] = defaultdict(partial(trio.Semaphore, 0))

    def gate(self, name: str) -> trio.Semaphore:
        return self._gates[name]

    @property
    def ports(self) -> dict[str, int]:
        return {
            "http": self.http_port,
            "echo": self.echo_port,
            "digest": self.digest_port,
            "greeting": self.greeting_port,
        }

    async def serve(
        self,
        host: str = "127.0.0.1",
        http_port: int = 0,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; started once all ports are known."""
        async with trio.open_nursery() as nursery:
            self.http_port = await self._listen(nursery, self._http, host, http_port)
            self.echo_port = await self._listen(nursery, self._echo, host)
            self.digest_port = await self._listen(nursery, self._digest, host)
            self.greeting_port = await self._listen(nursery, self._greeting, host)
            task_status.started()

    async def _listen(
        self, nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[None]], host: str, port: int = 0
    ) -> int:
        async def guarded(stream: trio.SocketStream) -> None:
            self.connections += 1
            self.open += 1
            try:
                await handler(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, Truncated):
                pass  # the tests look at the other end
            finally:
                self.open -= 1
                await trio.aclose_forcefully(stream)

        listeners = await nursery.start(partial(trio.serve_tcp, guarded, port, host=host, backlog=4096))
        bound: int = listeners[0].socket.getsockname()[1]
        return bound

    async def _http(self, stream: trio.SocketStream) -> None:
        wire, number = Wire(stream), 0
        try:
            while (head := await wire.head()) is not None:
                number += 1
                self.seen.append(head)
                exchange = Exchange(self, wire, head, number)
                await _handler(exchange.path)(exchange)
                await exchange.drain()
                if exchange.close:
                    break
            await stream.send_eof()
        finally:
            self.received += wire.received

    async def _echo(self, stream: trio.SocketStream) -> None:
        async for data in stream:
            self.received += len(data)
            await stream.send_all(data)
        await stream.send_eof()

    async def _digest(self, stream: trio.SocketStream) -> None:
        sha = hashlib.sha256()
        async for data in stream:
            self.received += len(data)
            sha.update(data)
        await stream.send_all(sha.hexdigest().encode() + b"\n")
        await stream.send_eof()

    async def _greeting(self, stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 kit at your service\r\n")
        await self._echo(stream)


@asynccontextmanager
async def open_upstream() -> AsyncIterator[Upstream]:
    """A service on 127.0.0.1 for the length of the block."""
    upstream = Upstream()
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.serve)
        yield upstream
        nursery.cancel_scope.cancel()


async def _main(host: str, port: int) -> None:
    upstream = Upstream()
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.serve, host, port)
        print(json.dumps(upstream.ports), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The private service of the tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of the HTTP service; the others are free ones")
    options = parser.parse_args()
    try:
        trio.run(_main, options.host, options.port)
    except KeyboardInterrupt:
        raise SystemExit(0) from None

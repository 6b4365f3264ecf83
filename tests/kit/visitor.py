"""A visitor: one connection to the edge, with a name in Host (and SNI), that sends just what a test says."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from tests.kit.http1 import Answer, Head, Wire


class Visitor:
    """One keep-alive connection. `host` goes into Host as it stands."""

    def __init__(self, stream: trio.abc.Stream, host: str) -> None:
        self.stream = stream
        self.host = host
        self.wire = Wire(stream)

    async def send(
        self, target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None, host: str | None = None
    ) -> None:
        """One request in one write; `fields` are whole lines; a body brings its Content-Length."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host if host is None else host}", *fields]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        await self.stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))

    async def ask(
        self, target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None, host: str | None = None
    ) -> Answer:
        """One request and its whole answer."""
        await self.send(target, *fields, method=method, body=body, host=host)
        return await self.wire.answer(method=method.encode())

    async def download(self, target: str) -> tuple[Head, int, str]:
        """(head, length, sha256) of an answer that need not fit in memory."""
        await self.send(target)
        head = await self.wire.head()
        assert head is not None
        sha, length = hashlib.sha256(), 0
        async for part in self.wire.body(head):
            sha.update(part)
            length += len(part)
        return head, length, sha.hexdigest()

    async def upload(self, target: str, blocks: Iterable[bytes], length: int | None) -> Answer:
        """A body of `length` bytes, or chunked when that is None."""
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        await self.send(target, framing, method="POST")
        for block in blocks:
            await self.stream.send_all(b"%x\r\n%b\r\n" % (len(block), block) if length is None else block)
        if length is None:
            await self.stream.send_all(b"0\r\n\r\n")
        return await self.wire.answer(method=b"POST")


def trusting() -> ssl.SSLContext:
    """TLS without asking who it is: the tests that care have their own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def open_visitor(
    port: int, host: str, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[Visitor]:
    """A connection to `address`:`port`; with `tls` the name goes into SNI too."""
    stream: trio.abc.Stream = await trio.open_tcp_stream(address, port)
    try:
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_hostname=host.partition(":")[0], https_compatible=True)
            await stream.do_handshake()
        yield Visitor(stream, host)
    finally:
        await trio.aclose_forcefully(stream)

"""Private services that misbehave, one path each: /fault/KIND of tests.kit.upstream. `KINDS` lists them.

`refused_port()` is the service that is not there at all.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tests.kit.upstream import Exchange

OK = b"HTTP/1.1 200 OK\r\n"
FLOOD = 64 * 1024 * 1024  # where "endless" ends, so that a test that fails ends too


async def _hang_before_head(exchange: Exchange) -> None:
    await exchange.drain()
    await trio.sleep_forever()


async def _hang_in_head(exchange: Exchange) -> None:
    await exchange.send(OK + b"Content-Le")
    await trio.sleep_forever()


async def _hang_after_head(exchange: Exchange) -> None:
    await exchange.send(OK + b"Content-Length: 10\r\n\r\n12345")
    await trio.sleep_forever()


async def _close_before_head(exchange: Exchange) -> None:
    exchange.close = True


async def _close_in_head(exchange: Exchange) -> None:
    exchange.close = True
    await exchange.send(OK + b"Content-Le")


async def _reset(exchange: Exchange) -> None:
    """The connection is reset before any answer."""
    _arm_reset(exchange)


async def _reset_in_body(exchange: Exchange) -> None:
    await exchange.send(OK + b"Content-Length: 10\r\n\r\n12345")
    _arm_reset(exchange)


def _arm_reset(exchange: Exchange) -> None:
    stream = exchange.wire.stream
    assert isinstance(stream, trio.SocketStream)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()  # now, with a reset; the service's own closing finds it closed
    exchange.close = True


async def _short(exchange: Exchange) -> None:
    """Less than Content-Length promises."""
    exchange.close = True
    await exchange.send(OK + b"Content-Length: 10\r\n\r\n12345")


async def _long(exchange: Exchange) -> None:
    """More than Content-Length promises."""
    await exchange.send(OK + b"Content-Length: 5\r\n\r\n12345surplus")
    exchange.close = True


async def _two_lengths(exchange: Exchange) -> None:
    await exchange.send(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456")
    exchange.close = True


async def _length_and_chunked(exchange: Exchange) -> None:
    await exchange.send(OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    exchange.close = True


async def _close_in_chunk(exchange: Exchange) -> None:
    exchange.close = True
    await exchange.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe")


async def _bad_chunk(exchange: Exchange) -> None:
    exchange.close = True
    await exchange.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnot hex\r\n\r\n")


async def _two_answers(exchange: Exchange) -> None:
    """A second answer that nobody asked for, in the same write."""
    exchange.close = True
    await exchange.send((OK + b"Content-Length: 5\r\n\r\nfirst") + (OK + b"Content-Length: 6\r\n\r\nsecond"))


async def _garbage(exchange: Exchange) -> None:
    exchange.close = True
    await exchange.send(b"\x00\x01\x02 this is not HTTP\r\n\r\n")


async def _header_injection(exchange: Exchange) -> None:
    exchange.close = True
    await exchange.send(OK + b"X-Bad: a\x00b\rc\r\nContent-Length: 0\r\n\r\n")


async def _unasked_101(exchange: Exchange) -> None:
    exchange.close = True
    await exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nraw bytes")


async def _endless_head(exchange: Exchange) -> None:
    exchange.close = True
    await exchange.send(OK)
    await _flood(exchange, b"X-More: " + b"a" * 1000 + b"\r\n")


async def _interim_flood(exchange: Exchange) -> None:
    exchange.close = True
    await _flood(exchange, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


async def _flood(exchange: Exchange, line: bytes) -> None:
    batch = line * 64
    for _ in range(FLOOD // len(batch)):
        await exchange.send(batch)


_TABLE: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "hang-before-head": _hang_before_head, "hang-in-head": _hang_in_head, "hang-after-head": _hang_after_head,
    "close-before-head": _close_before_head, "close-in-head": _close_in_head, "reset": _reset,
    "reset-in-body": _reset_in_body, "short": _short, "long": _long, "two-lengths": _two_lengths,
    "length-and-chunked": _length_and_chunked, "close-in-chunk": _close_in_chunk, "bad-chunk": _bad_chunk,
    "two-answers": _two_answers, "garbage": _garbage, "header-injection": _header_injection,
    "unasked-101": _unasked_101, "endless-head": _endless_head, "interim-flood": _interim_flood,
}  # fmt: skip

KINDS = tuple(_TABLE)


async def misbehave(exchange: Exchange) -> None:
    """Serve /fault/KIND."""
    await _TABLE[exchange.path.rpartition("/")[2]](exchange)


def refused_port() -> int:
    """A port of 127.0.0.1 where nobody listens: it was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

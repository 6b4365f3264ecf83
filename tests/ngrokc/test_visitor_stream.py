"""The stream a listening program gets passes trio's own conformance check, and counts once."""

import socket

import trio
import trio.testing

from ngrokc.visitor_stream import VisitorStream
from protocol.link.plain import PlainPort


def pair(counts: list[tuple[int, int]] | None = None) -> tuple[VisitorStream, VisitorStream]:
    told = counts if counts is not None else []
    near, far = socket.socketpair()

    def stream(sock: socket.socket) -> VisitorStream:
        return VisitorStream(
            PlainPort(sock).stream(),
            url="http://t",
            client_addr="192.0.2.1:1",
            counted=lambda up, down: told.append((up, down)),
        )

    return stream(near), stream(far)


async def test_conformance() -> None:
    async def make() -> tuple[VisitorStream, VisitorStream]:
        return pair()

    await trio.testing.check_half_closeable_stream(make, None)


async def test_counts_once() -> None:
    counts: list[tuple[int, int]] = []
    one, two = pair(counts)
    await one.send_all(b"four")
    assert await two.receive_some() == b"four"
    await two.aclose()
    await two.aclose()
    assert counts == [(4, 0)]
    one.abort()
    one.abort()
    assert counts == [(4, 0), (0, 4)]
    assert "192.0.2.1:1" in repr(one)

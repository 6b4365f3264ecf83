"""The long line keeps bytes, order and ends, and is as long as it says."""

from __future__ import annotations

import hashlib
import threading
import time

import trio

from tests.kit.delay import open_listener, serve
from tests.kit.patterns import blocks, digest
from tests.kit.upstream import open_upstream


async def test_the_line_is_long_and_honest() -> None:
    async with open_upstream() as upstream:
        listener = open_listener()
        target = ("127.0.0.1", upstream.echo_port)
        threading.Thread(target=serve, args=(listener, target, 0.04, 0), daemon=True).start()
        stream = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        async with stream, trio.open_nursery() as nursery:
            began = time.monotonic()
            await stream.send_all(b"!")
            assert await stream.receive_some() == b"!"
            assert time.monotonic() - began >= 0.04

            async def send() -> None:
                for block in blocks(500_000):
                    await stream.send_all(block)
                await stream.send_eof()

            nursery.start_soon(send)
            sha = hashlib.sha256()
            async for data in stream:
                sha.update(data)
            assert sha.hexdigest() == digest(500_000)

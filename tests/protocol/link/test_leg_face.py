"""The async face of a stream: it carries bytes, hears of resets and closing, and gives the stream back."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.protocol.link.test_leg import legs


async def test_the_async_face_carries_bytes_and_ends() -> None:
    async with legs("tls-socket") as both:
        port = both.server.open()
        with pytest.raises(trio.BusyResourceError):
            port.stream()
        port.detach()
        face = port.stream()
        data = bytes(range(256)) * 6000
        got = bytearray()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await face.send_all(data)
                await face.send_eof()

            nursery.start_soon(send)
            with trio.fail_after(10):
                async for part in face:
                    got += part
        assert got == data
        await face.aclose()


async def test_the_async_face_hears_of_resets_and_of_its_own_closing() -> None:
    async with legs() as both:
        one, other = both.server.open(), both.server.open()
        faces = []
        for port in (one, other):
            port.write(b"x")
            port.detach()
            faces.append(port.stream())
        with trio.fail_after(5):
            assert await faces[0].receive_some() == b"x"
            assert await faces[1].receive_some() == b"x"
        async with trio.open_nursery() as nursery:

            async def broken() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await faces[0].receive_some()

            async def closed() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await faces[1].receive_some()

            nursery.start_soon(broken)
            nursery.start_soon(closed)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                one.attach(both.reactor)
            both.accepted[0].abort()
            await faces[1].aclose()


async def test_attach_takes_a_stream_back_with_its_early_bytes() -> None:
    async with legs() as both:
        port = both.server.open()
        port.write(b"hello")
        port.detach()
        face = port.stream()
        await port.wait_readable()
        assert face.port is port
        seen = trio.Event()
        port.attach(both.reactor)
        port.on_readable = seen.set
        with trio.fail_after(5):
            await seen.wait()
        view = port.read()
        assert view is not None
        assert bytes(view) == b"hello"
        port.abort()

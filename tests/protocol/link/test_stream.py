"""The async face passes trio's own conformance checks, over every kind of port."""

from __future__ import annotations

import tracemalloc

import pytest
import trio
import trio.testing

from tests.kit.ports import HALF_CLOSING, PAIRS


@pytest.mark.parametrize("kind", [name for name in PAIRS if name != "unix"])
async def test_bytes_and_errors(kind: str) -> None:
    near, far = await PAIRS[kind]()
    one, other = near.stream(), far.stream()
    assert near.stream() is one
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, bytes(1_000_000))
        got = 0
        while got < 1_000_000:
            got += len(await other.receive_some())
    await one.wait_send_all_might_not_block()
    with pytest.raises(ValueError):
        await one.receive_some(0)
    await one.aclose()
    await one.aclose()
    for use in (one.receive_some, lambda: one.send_all(b"x"), one.send_eof, one.wait_send_all_might_not_block):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    with pytest.raises(trio.ClosedResourceError):
        one.detach()
    await other.aclose()


@pytest.mark.parametrize("kind", [kind for kind in HALF_CLOSING if kind in PAIRS])
async def test_half_close(kind: str) -> None:
    near, far = await PAIRS[kind]()
    one, other = near.stream(), far.stream()
    await one.send_all(b"question")
    await one.send_eof()
    assert await other.receive_some() == b"question"
    assert await other.receive_some() == b""
    await other.send_all(b"answer")
    await other.send_eof()
    assert await one.receive_some() == b"answer"
    assert await one.receive_some() == b""
    await one.aclose()
    await other.aclose()


@pytest.mark.parametrize("kind", list(PAIRS))
async def test_closing_wakes_a_waiting_reader(kind: str) -> None:
    near, far = await PAIRS[kind]()
    stream = near.stream()

    async def wait() -> None:
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    far.close()


@pytest.mark.parametrize("kind", list(PAIRS))
async def test_a_cancelled_read_loses_nothing(kind: str) -> None:
    near, far = await PAIRS[kind]()
    stream = near.stream()
    with trio.move_on_after(0.01):
        await stream.receive_some()
    far.write(b"later")
    with trio.fail_after(5):
        assert await stream.receive_some() == b"later"
    near.close()
    far.close()


@pytest.mark.parametrize("kind", ["plain", "tls-client", "tls-socket"])
async def test_a_task_that_waits_holds_no_buffer(kind: str) -> None:
    """A server has thousands of links that say something every few seconds."""
    near, far = await PAIRS[kind]()
    far.write(b"once")
    stream = near.stream()
    tracemalloc.start()
    try:
        assert await stream.receive_some() == b"once"
        await stream.send_all(bytes(16_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            await trio.testing.wait_all_tasks_blocked(0.01)
            held = tracemalloc.get_traced_memory()[0]
            nursery.cancel_scope.cancel()
    finally:
        tracemalloc.stop()
    assert held < 12 * 1024, "no room of a record's size, nothing of what was sent"
    near.close()
    far.close()

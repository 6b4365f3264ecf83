"""WebSockets at the end of the grace: a close frame between two frames, never within one, and bytes pass as they are."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.edge.upgraded import FRAMES_AT_ONCE, Frames
from tests.kit.edgeworld import World, edge_world, read_exactly, read_to_end, read_until

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
GONE = b"\x88\x02\x03\xe9"


def frame(size: int, *, masked: bool = False, opcode: int = 2) -> bytes:
    mark = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x80 | opcode, mark | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, mark | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, mark | 127]) + size.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + b"\x88" * size


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 5, 125, 126, 127, 300, 65535, 65536]), st.booleans()), max_size=6),
    st.lists(st.integers(1, 5000)),
)
def test_the_place_between_two_frames_is_known(sizes: list[tuple[int, bool]], cuts: list[int]) -> None:
    """However the bytes are cut: it is between exactly where a frame has ended."""
    frames, data, ends = Frames(), b"", {0}
    for size, masked in sizes:
        data += frame(size, masked=masked)
        ends.add(len(data))
    at = 0
    for cut in [*cuts, len(data)]:
        piece = data[at : at + cut]  # the last one is all that is left
        if piece:
            frames.passed(memoryview(piece))
        at += len(piece)
        assert frames.between == (at in ends)


def test_byte_by_byte_with_a_trailer() -> None:
    frames, data = Frames(), frame(0) + frame(3, masked=True) + frame(200)
    for byte in data:
        frames.passed(memoryview(bytes([byte])))
    assert frames.between
    frames.passed(memoryview(b"\x82"))
    assert not frames.between


@pytest.mark.parametrize("last", [b"", b"\x82"])
def test_nothing_follows_a_close_frame(last: bytes) -> None:
    frames = Frames()
    frames.passed(memoryview(frame(2) + frame(2, opcode=8) + last))
    assert not frames.between
    frames.passed(memoryview(frame(1)))
    assert not frames.between


def test_too_many_frames_at_once_are_not_followed() -> None:
    frames = Frames()
    frames.passed(memoryview(frame(1) * (FRAMES_AT_ONCE - 1)))
    assert frames.between
    frames.passed(memoryview(frame(1) * (FRAMES_AT_ONCE + 1)))
    assert not frames.between


async def upgraded(w: World, what: bytes = b"websocket") -> tuple[trio.SocketStream, trio.SocketStream]:
    visitor = w.visitor()
    await visitor.send_all(UPGRADE % what)
    service = await w.stream()
    await read_until(service, b"\r\n\r\n")
    await service.send_all(SWITCH % what)
    await read_until(visitor, b"\r\n\r\n")
    return visitor, service


async def end_grace(w: World) -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)
    w.edge.end_idle()


async def test_both_ends_are_told() -> None:
    async with edge_world() as w:
        w.tunnel("one.test")
        visitor, service = await upgraded(w)
        await service.send_all(frame(300))
        await read_exactly(visitor, len(frame(300)))
        await visitor.send_all(frame(5, masked=True))
        await read_exactly(service, len(frame(5, masked=True)))
        await end_grace(w)
        assert await read_to_end(visitor) == GONE
        told = await read_to_end(service)
        assert told[:2] == b"\x88\x82"
        mask = told[2:6]
        assert bytes(byte ^ mask[index] for index, byte in enumerate(told[6:])) == b"\x03\xe9"
        assert not w.edge.visitors
        await visitor.aclose()
        await service.aclose()


async def test_within_a_frame_nothing_is_added() -> None:
    """It goes on until the end, and is then reset as before."""
    async with edge_world() as w:
        w.tunnel("one.test")
        visitor, service = await upgraded(w)
        await service.send_all(frame(300)[:-1])
        await read_exactly(visitor, len(frame(300)) - 1)
        await end_grace(w)
        await service.send_all(b"x")
        assert await read_exactly(visitor, 1) == b"x"
        w.edge.abort()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()


async def test_a_service_within_a_frame_is_let_go_without_one() -> None:
    async with edge_world() as w:
        w.tunnel("one.test")
        visitor, service = await upgraded(w)
        await visitor.send_all(b"\x82")
        await read_exactly(service, 1)
        await end_grace(w)
        assert await read_to_end(visitor) == GONE
        assert await read_to_end(service) == b""


async def test_other_protocols_are_left_alone() -> None:
    async with edge_world() as w:
        w.tunnel("one.test")
        visitor, service = await upgraded(w, b"other")
        await end_grace(w)
        await service.send_all(b"still here")
        assert await read_exactly(visitor, 10) == b"still here"

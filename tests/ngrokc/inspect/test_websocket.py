from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.heads import Unreadable
from ngrokc.inspect.websocket import Decoded, Frames, deflate_of, unmask


def frame(opcode: int, data: bytes, *, fin: bool = True, mask: bytes = b"", rsv1: bool = False) -> bytes:
    first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
    size = len(data)
    head = bytes([first, (0x80 if mask else 0) | (size if size < 126 else 126 if size < 65536 else 127)])
    head += b"" if size < 126 else size.to_bytes(2 if size < 65536 else 8, "big")
    return head + mask + (unmask(data, mask, 0) if mask else data)


@given(st.binary(min_size=1, max_size=70_000), st.binary(min_size=4, max_size=4), st.integers(1, 9999))
def test_frames_cut_anywhere(data: bytes, mask: bytes, step: int) -> None:
    wire = (
        frame(1, data[:3], fin=False, mask=mask) + frame(9, b"ping") + frame(0, data[3:], mask=mask) + frame(2, b"end")
    )
    frames = Frames(1 << 20)
    found = [m for start in range(0, len(wire), step) for m in frames.feed(wire[start : start + step])]
    assert found == [
        Decoded("ping", b"ping", 4, False),
        Decoded("text", data, len(data), False),
        Decoded("binary", b"end", 3, False),
    ]


def test_one_byte_at_a_time() -> None:
    frames = Frames(100)
    wire = frame(1, b"hello", mask=b"abcd") + frame(8, b"")
    found = [m for byte in wire for m in frames.feed(bytes([byte]))]
    assert found == [Decoded("text", b"hello", 5, False), Decoded("close", b"", 0, False)]


def test_a_long_message_is_cut_and_counted() -> None:
    frames = Frames(10)
    assert list(frames.feed(frame(2, b"x" * 50))) == [Decoded("binary", b"x" * 10, 50, True)]


def test_a_bomb_is_not_inflated() -> None:
    squeeze = zlib.compressobj(wbits=-15)
    bomb = squeeze.compress(b"\0" * 10_000_000) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    frames = Frames(20_000, deflate=True)
    (message,) = frames.feed(frame(2, bomb[:-4], rsv1=True))
    assert len(message.data) <= 20_000
    assert message.cut
    (after,) = frames.feed(frame(2, bomb[:-4], rsv1=True))
    assert after.cut
    assert after.data == bomb[:-4]


def test_a_gap_within_a_frame() -> None:
    wire = frame(2, b"x" * 500) + frame(1, b"after")
    frames = Frames(1000)
    assert list(frames.feed(wire[:100])) == []
    assert frames.gap(300)
    cut, after = frames.feed(wire[400:])
    assert (cut.size, cut.cut, after.data) == (500, True, b"after")
    assert not frames.gap(1)


@pytest.mark.parametrize("wire", [b"\x83\x00", b"\x80\x00", b"\x89\xfe\x01\x00abcd"])
def test_what_are_no_frames(wire: bytes) -> None:
    with pytest.raises(Unreadable):
        list(Frames(100).feed(wire))


def test_extensions() -> None:
    assert deflate_of(b"", server=True) == (False, False)
    assert deflate_of(b"permessage-deflate", server=True) == (True, True)
    both = b"permessage-deflate; server_no_context_takeover"
    assert (deflate_of(both, server=True), deflate_of(both, server=False)) == ((True, False), (True, True))

"""Frames: golden ones of 1.7, three ways of feeding, caps before allocation, leftovers, and a decoder that stays broken."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.frames import FIRST_FRAME_CAP, FRAME_CAP, HEADER, FrameDecoder, frame, take
from protocol.messages import (
    Auth,
    AuthResp,
    Message,
    NewTunnel,
    Ping,
    RegProxy,
    ReqProxy,
    ReqTunnel,
    StartProxy,
    StartProxyResp,
)

ID = "0123456789abcdef0123456789abcdef"
GOLDEN: list[tuple[Message, str, int]] = [
    (Ping(), "1c00000000000000", 28),
    (ReqProxy(), "2000000000000000", 32),
    (Auth(os="linux", arch="amd64"), "7d00000000000000", 125),
    (AuthResp(client_id=ID), "7800000000000000", 120),
    (RegProxy(ID), "4d00000000000000", 77),
    (ReqTunnel("0011223344556677", "http+https", subdomain="test"), "9100000000000000", 145),
    (NewTunnel("0011223344556677", "http://test.ngrok.me", "http"), "7500000000000000", 117),
]


def decode_all(chunks: list[bytes], cap: int = FIRST_FRAME_CAP) -> tuple[list[Message], bytes]:
    decoder = FrameDecoder(cap)
    found = []
    for chunk in chunks:
        decoder.feed(chunk)
        while (message := decoder.next()) is not None:
            found.append(message)
    return found, decoder.leftover()


@pytest.mark.parametrize(("message", "header", "length"), GOLDEN, ids=lambda value: type(value).__name__)
def test_golden_frames(message: Message, header: str, length: int) -> None:
    raw = frame(message)
    assert raw[:HEADER].hex() == header
    assert len(raw) == HEADER + length
    assert decode_all([raw]) == ([message], b"")
    assert decode_all([raw[i : i + 1] for i in range(len(raw))]) == ([message], b"")
    assert take(raw) == (message, len(raw))


def test_what_follows_is_kept() -> None:
    start = StartProxy("http://x", "1.2.3.4:5")
    trailer = b"\x01\x00GET / HTTP/1.1\r\n"
    decoder = FrameDecoder()
    decoder.feed(frame(start) + trailer)
    assert decoder.next() == start
    assert decoder.buffered == len(trailer)
    assert decoder.leftover() == trailer
    assert decoder.leftover() == b""
    assert decoder.buffered == 0


def test_several_frames_in_one_read() -> None:
    assert decode_all([frame(Ping()) * 3 + frame(ReqProxy())[:-1]]) == ([Ping()] * 3, frame(ReqProxy())[:-1])


@pytest.mark.parametrize("offset", [0, 3])
def test_take_works_inside_a_buffer(offset: int) -> None:
    raw = frame(StartProxyResp())
    data = bytearray(b"x" * offset + raw + b"HTTP/1.1 200 OK")
    assert take(data, offset) == (StartProxyResp(), offset + len(raw))
    assert take(memoryview(data), offset) == (StartProxyResp(), offset + len(raw))
    for end in range(len(raw)):
        assert take(data[: offset + end], offset) is None


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (0, "bad_length"),
        (-1, "bad_length"),
        (-(2**63), "bad_length"),
        (2**63 - 1, "frame_too_big"),
        (65537, "frame_too_big"),
        (FIRST_FRAME_CAP - HEADER + 1, "frame_too_big"),
    ],
)
def test_an_absurd_length_is_refused_as_soon_as_it_is_known(length: int, code: str) -> None:
    decoder = FrameDecoder()
    raw = struct.pack("<q", length)
    decoder.feed(raw[:-1])
    assert decoder.next() is None
    decoder.feed(raw[-1:])
    with pytest.raises(WireError) as caught:
        decoder.next()
    assert caught.value.code == code
    decoder.feed(frame(Ping()))
    with pytest.raises(WireError):  # it never finds its way back
        decoder.next()


def test_the_cap_counts_the_whole_frame_and_may_grow() -> None:
    def padded(total: int) -> bytes:
        filler = total - len(frame(NewTunnel()))
        return frame(NewTunnel(error="x" * filler), cap=FRAME_CAP)

    fits, over = padded(FIRST_FRAME_CAP), padded(FIRST_FRAME_CAP + 1)
    assert len(fits) == FIRST_FRAME_CAP
    assert len(decode_all([fits])[0]) == 1
    with pytest.raises(WireError):
        decode_all([over])
    decoder = FrameDecoder()
    decoder.feed(frame(Ping()) + over)
    assert decoder.next() == Ping()
    decoder.cap = FRAME_CAP
    assert isinstance(decoder.next(), NewTunnel)
    assert len(decode_all([padded(FRAME_CAP)], FRAME_CAP)[0]) == 1


@pytest.mark.parametrize("cap", [FIRST_FRAME_CAP, FRAME_CAP])
def test_what_would_be_too_long_is_not_sent(cap: int) -> None:
    room = cap - len(frame(NewTunnel()))
    assert len(frame(NewTunnel(error="x" * room), cap=cap)) == cap
    with pytest.raises(WireError) as caught:
        frame(NewTunnel(error="x" * (room + 1)), cap=cap)
    assert caught.value.code == "frame_too_big"


@given(st.text(max_size=40_000))
def test_a_frame_never_leaves_longer_than_a_record_by_default(text: str) -> None:
    with contextlib.suppress(WireError):
        assert len(frame(NewTunnel(error=text))) <= 16384


def test_reprs_show_the_state() -> None:
    decoder = FrameDecoder(100)
    decoder.feed(b"abc")
    assert repr(decoder) == "<FrameDecoder cap=100 buffered=3>"
    decoder.feed(b"\xff" * 8)
    with pytest.raises(WireError):
        decoder.next()
    assert repr(decoder) == "<FrameDecoder cap=100 buffered=0 broken>"


def outcome(chunks: list[bytes]) -> tuple[list[Message], bytes | str]:
    decoder = FrameDecoder()
    found: list[Message] = []
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            while (message := decoder.next()) is not None:
                found.append(message)
    except WireError as fault:
        return found, fault.code
    return found, decoder.leftover()


_PIECES = st.lists(
    st.sampled_from([frame(message) for message, _, _ in GOLDEN])
    | st.binary(max_size=30)
    | st.builds(lambda body: struct.pack("<q", len(body)) + body, st.binary(min_size=1, max_size=30))
    | st.builds(
        lambda text: struct.pack("<q", len(text)) + text, st.sampled_from([b"{}", b"[" * 40, b"null", b'"\\ud800"'])
    ),
    max_size=5,
).map(b"".join)


@given(_PIECES, st.lists(st.integers(1, 40), max_size=30))
def test_any_bytes_in_any_cuts_give_the_same(data: bytes, cuts: list[int]) -> None:
    whole = outcome([data])
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(data[at : at + cut])
        at += cut
    assert outcome([*chunks, data[at:]]) == whole
    with_trailer = outcome([data + b"\xff" * 20])
    assert with_trailer[0][: len(whole[0])] == whole[0]


def test_a_broken_decoder_repeats_itself_and_holds_no_traceback() -> None:
    """A stored error would hold the frames it went through, and with them the link, in a circle."""
    decoder = FrameDecoder()
    decoder.feed(b"\0" * HEADER)
    errors = []
    for _ in range(3):
        with pytest.raises(WireError) as caught:
            decoder.next()
        errors.append(caught.value)
    assert {error.code for error in errors} == {"bad_length"}
    assert len({id(error) for error in errors}) == 3

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.heads import (
    CHUNKED,
    UNTIL_CLOSE,
    Unreadable,
    answer_framing,
    answer_start,
    request_framing,
    request_start,
    split_fields,
    split_head,
)


def test_order_and_case_stay() -> None:
    start, fields = split_head(b"GET /a b HTTP/1.1\r\nB: 1\r\nb:2\r\nFolded: x\r\n  y\r\nEmpty:\r\n\r\n")
    assert start == (b"GET", b"/a", b"b HTTP/1.1")
    assert fields == [(b"B", b"1"), (b"b", b"2"), (b"Folded", b"x y"), (b"Empty", b"")]


@pytest.mark.parametrize(
    "raw", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n x\r\n\r\n", b"GET / HTTP/1.1\r\nbad\r\n\r\n"]
)
def test_what_is_no_head(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        split_head(raw)


def test_starts() -> None:
    assert answer_start((b"HTTP/1.1", b"204", b"")) == 204
    request_start((b"GET", b"/", b"HTTP/1.0"))
    for bad in ((b"HTTP/2", b"200", b""), (b"HTTP/1.1", b"2x0", b""), (b"HTTP/1.1", b"20", b"")):
        with pytest.raises(Unreadable):
            answer_start(bad)
    with pytest.raises(Unreadable):
        request_start((b"GET", b"/", b"HTTP/2.0"))


def test_framing() -> None:
    length, chunked = [(b"Content-Length", b"5")], [(b"Transfer-Encoding", b"gzip, Chunked")]
    assert request_framing(length) == 5
    assert request_framing([]) == 0
    assert request_framing(chunked) == CHUNKED
    assert answer_framing(200, b"GET", length) == 5
    assert answer_framing(200, b"HEAD", length) == 0
    assert [answer_framing(status, b"GET", length) for status in (100, 204, 304)] == [0, 0, 0]
    assert answer_framing(200, b"GET", chunked) == CHUNKED
    assert answer_framing(200, b"GET", []) == UNTIL_CLOSE
    assert answer_framing(200, b"GET", [(b"Transfer-Encoding", b"gzip")]) == UNTIL_CLOSE
    for bad in ([(b"Content-Length", b"x")], [(b"Content-Length", b"1, 2")], [(b"Transfer-Encoding", b"gzip")]):
        with pytest.raises(Unreadable):
            request_framing(bad)


LINES = st.lists(
    st.sampled_from([b"A: b", b"A:b", b"A:  b", b"A: b ", b"A:\tb", b"A:", b" x", b"bad", b"A: \x0b", b"\xff: 1"])
)


@given(LINES, st.sampled_from([b"\r\n", b"\n"]))
def test_the_fast_way_and_the_slow_way_agree(lines: list[bytes], end: bytes) -> None:
    rest = end.join([*lines, b"", b""]) if lines else end
    try:
        expected = split_fields(rest)
    except Unreadable:
        with pytest.raises(Unreadable):
            split_head(b"GET / HTTP/1.1\r\n" + rest)
    else:
        assert split_head(b"GET / HTTP/1.1\r\n" + rest)[1] == expected


@given(st.binary(max_size=300))
def test_any_bytes_are_split_or_unreadable(raw: bytes) -> None:
    try:
        _, fields = split_head(raw)
        request_framing(fields)
    except Unreadable:
        pass

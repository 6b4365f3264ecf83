"""Bodies: whole, byte by byte, with something behind them; every cap at the limit and one past it; h11 as the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.body import (
    CHUNKED,
    EXTENSION_CAP,
    EXTENSIONS_CAP,
    FORBIDDEN_TRAILERS,
    NO_BODY,
    SIZE_DIGITS,
    TRAILER_CAP,
    TRAILERS_MAX,
    UNTIL_CLOSE,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
    body_of,
)
from protocol.errors import Blame, HttpError
from tests.kit.agreement import chunked_agrees, in_pieces, over, whole
from tests.kit.http_strategies import chunked_bodies

GOOD = {
    "empty": b"0\r\n\r\n",
    "one": b"5\r\nhello\r\n0\r\n\r\n",
    "two": b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n",
    "upper and lower hex": b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
    "leading zeros": b"0005\r\nhello\r\n000\r\n\r\n",
    "data looks like framing": b"9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n",
    "extension": b"5;a\r\nhello\r\n0;b=c\r\n\r\n",
    "extensions": b'5;a=b;c="d;\\"e\\\\\t\x80";f\r\nhello\r\n0\r\n\r\n',
    "trailers": b"5\r\nhello\r\n0\r\nGrpc-Status: 0\r\nx-checksum:\r\nA: \tb\xff\r\n\r\n",
}
BAD = {
    "nothing before CR": b"\r\n",
    "size with sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "size with space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "size with space behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "size with tab behind": b"5\t\r\nhello\r\n0\r\n\r\n",
    "size not hex": b"g\r\nhello\r\n0\r\n\r\n",
    "size arabic digit": "٥\r\nhello\r\n0\r\n\r\n".encode(),
    "size with NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "size line ends with LF": b"5\nhello\r\n0\r\n\r\n",
    "size line ends with CR": b"5\rhello\r\n0\r\n\r\n",
    "size line ends with CRCRLF": b"5\r\r\nhello\r\n0\r\n\r\n",
    "size line with two LF": b"5\r\n\nhello\r\n0\r\n\r\n",
    "data longer": b"5\r\nhello!\r\n0\r\n\r\n",
    "data shorter": b"5\r\nhell\r\n0\r\n\r\n",
    "data ends with LF": b"5\r\nhello\n0\r\n\r\n",
    "data ends with CR": b"5\r\nhello\r0\r\n\r\n",
    "no end behind data": b"5\r\nhello0\r\n\r\n",
    "two CRLF behind data": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "space behind data": b"5\r\nhello \r\n0\r\n\r\n",
    "sizes of 2**64 and more": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "overlong zeros": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    "end with LF": b"0\n\n",
    "end with LFLF": b"0\r\n\n",
    "end with CRCR": b"0\r\n\r\r",
    "extension without name": b"5;\r\nhello\r\n0\r\n\r\n",
    "extension with space": b"5; a\r\nhello\r\n0\r\n\r\n",
    "extension with space before": b"5 ;a\r\nhello\r\n0\r\n\r\n",
    "extension without value": b"5;a=\r\nhello\r\n0\r\n\r\n",
    "extension with two values": b"5;a=b=c\r\nhello\r\n0\r\n\r\n",
    "extension with LF": b"5;a\nhello\r\n0\r\n\r\n",
    "extension with LF in quotes": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "extension with CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension with NUL": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "extension with open quote": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "extension behind quote": b'5;a="b"c\r\nhello\r\n0\r\n\r\n',
    "extension with comma": b"5,a\r\nhello\r\n0\r\n\r\n",
    "trailer with space before colon": b"0\r\nA : b\r\n\r\n",
    "trailer folded": b"0\r\nA: b\r\n c\r\n\r\n",
    "trailer with leading space": b"0\r\n A: b\r\n\r\n",
    "trailer without name": b"0\r\n: b\r\n\r\n",
    "trailer without colon": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "trailer with LF": b"0\r\nA: b\nC: d\r\n\r\n",
    "trailer with CR": b"0\r\nA: b\rC: d\r\n\r\n",
    "trailer with NUL": b"0\r\nA: \x00\r\n\r\n",
    "trailer ends with LF": b"0\r\nA: b\n\r\n",
    "trailers end with LF": b"0\r\nA: b\r\n\n",
    "another size behind the last": b"0\r\n5\r\nhello\r\n0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n", b"\r\n", b"0"])
def test_good(name: str, behind: bytes) -> None:
    data = GOOD[name] + behind
    assert whole(ChunkedBody(), data) == len(GOOD[name])
    assert in_pieces(ChunkedBody(), data, list(range(len(data)))) == len(GOOD[name])
    for cut in range(len(data)):
        assert in_pieces(ChunkedBody(), data, [cut]) == len(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    assert whole(ChunkedBody(), BAD[name]) is None
    assert in_pieces(ChunkedBody(), BAD[name], list(range(len(BAD[name])))) is None


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS | {b"x-forwarded-for", b"x-forwarded-prefix"}))
def test_forbidden_trailers_stop_at_their_colon(name: bytes) -> None:
    for spelling in (name, name.upper(), name.replace(b"-", b"_").title()):
        body = ChunkedBody()
        start = b"0\r\nA: b\r\n" + spelling
        assert body.scan(start, 0, len(start)) == len(start)
        with pytest.raises(HttpError, match="forbidden trailer"):
            body.scan(b":", 0, 1)


def test_size_cap() -> None:
    assert whole(ChunkedBody(), b"f" * SIZE_DIGITS + b"\r\n") == -1
    assert whole(ChunkedBody(), b"f" * (SIZE_DIGITS + 1) + b"\r\n") is None
    assert whole(ChunkedBody(), b"f" * (SIZE_DIGITS + 1)) is None


def test_extension_caps() -> None:
    assert whole(ChunkedBody(), b"0;" + b"a" * (EXTENSION_CAP - 1) + b"\r\n\r\n") is not None
    assert whole(ChunkedBody(), b"0;" + b"a" * EXTENSION_CAP) is None
    chunk = b"1;" + b"a" * (EXTENSION_CAP - 1) + b"\r\nx\r\n"
    count = EXTENSIONS_CAP // EXTENSION_CAP
    assert whole(ChunkedBody(), chunk * count + b"0\r\n\r\n") is not None
    assert whole(ChunkedBody(), chunk * count + b"0;a\r\n\r\n") is None


def test_trailer_cap() -> None:
    room = TRAILER_CAP - len(b"A:\r\n\r")  # the very last LF ends the body and is not counted
    assert whole(ChunkedBody(), b"0\r\nA:" + b"b" * room + b"\r\n\r\n") is not None
    assert whole(ChunkedBody(), b"0\r\nA:" + b"b" * (room + 1) + b"\r\n\r\n") is None


def test_trailers_are_counted() -> None:
    assert whole(ChunkedBody(), b"0\r\n" + b"A: b\r\n" * TRAILERS_MAX + b"\r\n") is not None
    assert whole(ChunkedBody(), b"0\r\n" + b"A: b\r\n" * TRAILERS_MAX + b"A:") is None


def test_nothing_invalid_is_let_through() -> None:
    """Every prefix that was accepted can still become a good body: the bad byte itself raises, not a later one."""
    for data in BAD.values():
        assert in_pieces(ChunkedBody(), data[:-1], list(range(len(data)))) in (None, -1)
        assert in_pieces(ChunkedBody(), data, list(range(len(data)))) is None


def test_large_chunks_are_skipped() -> None:
    body = ChunkedBody()
    line = b"%x\r\n" % (1 << 40)
    assert body.scan(line, 0, len(line)) == len(line)
    piece = memoryview(bytearray(1 << 20))
    for _ in range(100):
        assert body.scan(piece, 0, len(piece)) == len(piece)


def test_length() -> None:
    body = LengthBody(5)
    assert body.scan(b"abc", 0, 3) == 3
    assert not over(body)
    assert body.scan(b"xdefg", 1, 5) == 3
    assert over(body)
    assert body.scan(b"h", 0, 1) == 0
    body.eof()
    assert LengthBody(0).done


def test_until_close_and_none() -> None:
    body = UntilCloseBody()
    assert body.scan(b"abc", 1, 3) == 3
    assert not over(body)
    body.eof()
    assert over(body)
    assert NO_BODY.done
    assert NO_BODY.scan(b"abc", 1, 3) == 1
    NO_BODY.eof()


def test_body_of() -> None:
    kinds = [type(body_of(length)) for length in (0, 5, CHUNKED, UNTIL_CLOSE)]
    assert kinds == [type(NO_BODY), LengthBody, ChunkedBody, UntilCloseBody]


@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize("length", [5, CHUNKED])
def test_truncation_is_an_error(length: int, upstream: bool) -> None:
    for sent in (b"", b"4\r\n"):
        body = body_of(length, upstream=upstream)
        body.scan(sent, 0, len(sent))
        with pytest.raises(HttpError) as caught:
            body.eof()
        expected = (502, "upstream_broke", Blame.UPSTREAM) if upstream else (400, "bad_request", Blame.VISITOR)
        assert (caught.value.status, caught.value.code, caught.value.blame) == expected


def test_bad_bytes_blame_their_sender() -> None:
    with pytest.raises(HttpError) as caught:
        body_of(CHUNKED, upstream=True).scan(b"x", 0, 1)
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_response")


# -- the oracle
@given(chunked_bodies(), st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_is_the_same_and_the_oracle_agrees(data: bytes, cuts: list[int]) -> None:
    chunked_agrees(data, cuts)


@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=5))
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    for start in (b"", b"0\r\n", b"5;", b"1\r\nx"):
        assert in_pieces(ChunkedBody(), start + data, cuts) == whole(ChunkedBody(), start + data)

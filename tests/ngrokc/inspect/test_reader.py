from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.heads import CHUNKED, UNTIL_CLOSE, Fields, Unreadable
from ngrokc.inspect.reader import RAW, Reader

CODES = {b"chunked": CHUNKED, b"close": UNTIL_CLOSE, b"raw": RAW}


class Notes:
    """A sink that writes down what it gets; the head's first line is the framing."""

    def __init__(self) -> None:
        self.found: list[tuple[str, object]] = []

    def head(self, raw: bytes) -> int:
        word = raw.splitlines()[0]
        self.found.append(("head", word))
        return CODES[word] if word in CODES else int(word)

    def data(self, data: bytes) -> None:
        if self.found and self.found[-1][0] == "data":
            before = self.found.pop()[1]
            assert isinstance(before, bytes)
            data = before + data
        self.found.append(("data", data))

    def skipped(self, count: int) -> None:
        self.found.append(("skipped", count))

    def trailers(self, fields: Fields) -> None:
        self.found.append(("trailers", fields))

    def end(self) -> None:
        self.found.append(("end", None))


WIRE = b"5\r\n\r\nhello\r\n0\n\nchunked\r\n\r\n3;x=y\r\nabc\r\n2\nde\n0\r\nT: 1\r\n\r\nclose\r\n\r\nthe rest"
FOUND = [
    ("head", b"5"), ("data", b"hello"), ("end", None),
    ("head", b"0"), ("end", None),
    ("head", b"chunked"), ("data", b"abcde"), ("trailers", [(b"T", b"1")]), ("end", None),
    ("head", b"close"), ("data", b"the rest"), ("end", None),
]  # fmt: skip


@given(st.integers(1, len(WIRE)))
def test_cut_anywhere(step: int) -> None:
    notes = Notes()
    reader = Reader(notes, 1000)
    for start in range(0, len(WIRE), step):
        reader.feed(WIRE[start : start + step])
    assert reader.endless
    assert reader.eof()
    assert notes.found == FOUND


@pytest.mark.parametrize(
    "wire", [b"chunked\r\n\r\nxyz\r\n", b"chunked\r\n\r\n1\r\nabc", b"chunked\r\n\r\n" + b"1" * 20_000, b"x" * 2000,
             b"chunked\r\n\r\n0\r\n" + b"T: 1\r\n" * 5000]
)  # fmt: skip
def test_unreadable(wire: bytes) -> None:
    with pytest.raises(Unreadable):
        Reader(Notes(), 1000).feed(wire)


def test_gaps() -> None:
    notes = Notes()
    reader = Reader(notes, 1000)
    assert not reader.gap(5)
    reader.feed(b"10\r\n\r\nab")
    assert reader.body_left == 8
    assert reader.gap(8)
    assert reader.idle
    reader.feed(b"chunked\r\n\r\n8\r\n")
    assert reader.gap(8)
    assert not reader.gap(1)
    reader.feed(b"\r\n0\r\n\r\nclose\r\n\r\n")
    assert reader.gap(1000)
    assert reader.eof()


def test_an_upgrade_keeps_what_was_read_early() -> None:
    notes = Notes()
    reader = Reader(notes, 1000)
    reader.feed(b"half a fra")
    reader.become_raw()
    reader.feed(b"me")
    assert notes.found == [("data", b"half a frame")]


@given(st.lists(st.binary(max_size=60)))
def test_any_bytes(parts: list[bytes]) -> None:
    reader = Reader(_Lenient(), 100)
    try:
        for part in parts:
            reader.feed(part)
            reader.gap(3)
    except Unreadable:
        pass
    reader.eof()


class _Lenient(Notes):
    def head(self, raw: bytes) -> int:
        return (CHUNKED, UNTIL_CLOSE, 0, 7)[len(raw) % 4]

    def data(self, data: bytes) -> None:
        assert data

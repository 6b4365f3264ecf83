"""Heads out of bytes in any cut, with what follows them kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.edge.reading import HeadReader
from protocol.errors import HttpError

FIRST = b"GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n"
SECOND = b"POST /2 HTTP/1.1\r\nHost: b.test\r\nContent-Length: 3\r\n\r\n"


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_any_cut_gives_the_same_heads(cuts: list[int]) -> None:
    data = FIRST + SECOND + b"abc"
    reader = HeadReader()
    targets: list[bytes] = []
    at = 0
    for cut in [*cuts, len(data)]:
        piece = data[at : at + cut]
        at += cut
        if piece:
            reader.feed(piece)
        while len(targets) < 2 and (head := reader.next()) is not None:
            targets.append(head.target)
    assert targets == [b"/1", b"/2"]
    assert reader.rest == b"abc"


def test_a_bad_head_raises_as_soon_as_it_is_known() -> None:
    reader = HeadReader()
    reader.feed(b"GET / HTTP/1.1\n")
    with pytest.raises(HttpError):
        reader.next()


def test_the_rest_may_be_replaced() -> None:
    reader = HeadReader()
    reader.feed(SECOND + b"abc" + FIRST)
    assert reader.next() is not None
    assert reader.rest[:3] == b"abc"
    reader.rest = reader.rest[3:]
    head = reader.next()
    assert head is not None
    assert head.target == b"/1"


def test_the_same_bytes_give_the_same_head_and_others_do_not() -> None:
    reader = HeadReader()
    heads = []
    for data in (FIRST, FIRST, FIRST.replace(b"/1 ", b"/9 "), FIRST + SECOND):
        reader.feed(data)
        heads.append(reader.next())
    assert heads[0] is heads[1]
    assert [head.target for head in heads if head is not None] == [b"/1", b"/1", b"/9", b"/1"]
    assert reader.rest == SECOND


def test_a_head_that_repeats_itself_in_pieces_leaves_no_trace() -> None:
    reader = HeadReader()
    reader.feed(SECOND)
    assert reader.next() is not None
    reader.feed(SECOND[:-2])
    assert reader.next() is None
    reader.feed(SECOND[-2:])
    assert reader.next() is not None
    reader.feed(FIRST)
    head = reader.next()
    assert head is not None
    assert head.target == b"/1"

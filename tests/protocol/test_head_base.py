"""Edited heads: the same for requests and responses, as often as one likes, and the one that was edited stays as it was."""

from __future__ import annotations

import pytest

from protocol.head import RequestHead, ResponseHead, parse_request, parse_response
from protocol.head_base import Head

REQUEST = parse_request(b"GET / HTTP/1.1\r\nHost: one.test\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n")
RESPONSE = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", method=b"GET")


@pytest.mark.parametrize("head", [REQUEST, RESPONSE])
def test_edits_come_before_what_is_added_and_add_up(head: RequestHead | ResponseHead) -> None:
    plain = head.forward(b"")
    once = head.edited(b"D: 4\r\n", frozenset({b"a"}))
    twice = once.edited(b"E: 5\r\n", frozenset({b"b"}))
    assert once.forward(b"X: 9\r\n") == plain.replace(b"A: 1\r\n", b"").replace(
        b"\r\n\r\n", b"\r\nD: 4\r\nX: 9\r\n\r\n"
    )
    assert b"A: " not in twice.forward(b"")
    assert b"B: " not in twice.forward(b"")
    assert twice.forward(b"X: 9\r\n", frozenset({b"c"})).endswith(b"\r\nD: 4\r\nE: 5\r\nX: 9\r\n\r\n")
    assert b"C: " not in twice.forward(b"", frozenset({b"c"}))
    assert head.forward(b"") == plain
    assert twice.fields == head.fields
    assert isinstance(twice, type(head))
    assert (twice.length, twice.keep_alive) == (head.length, head.keep_alive)


def test_only_the_two_heads_can_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Head(b"", 0)  # type: ignore[abstract]

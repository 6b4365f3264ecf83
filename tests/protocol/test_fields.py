"""Which names end at the edge, and lists of tokens."""

from __future__ import annotations

import pytest

from protocol.fields import (
    LISTS_CAP,
    is_edge_owned,
    noted,
    protocols,
    serialise,
    shadows,
    tokens,
    too_long,
    without_odd,
)


@pytest.mark.parametrize(
    "name", [b"forwarded", b"x-forwarded-for", b"x-forwarded-anything", b"x-real-ip", b"x-forwarded"]
)
def test_edge_owned(name: bytes) -> None:
    assert is_edge_owned(name)
    assert not shadows(name)
    if b"-" in name:
        assert shadows(name.replace(b"-", b"_"))
        assert not is_edge_owned(name.replace(b"-", b"_"))


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"keep-alive", b"proxy-connection"])
def test_framing_is_shadowed_too(name: bytes) -> None:
    assert shadows(name.replace(b"-", b"_"))
    assert shadows(name.replace(b"-", b"."))
    assert without_odd(name.replace(b"-", b"~")) == name


@pytest.mark.parametrize("name", [b"x-forwarder", b"my_field", b"accept", b"x_request_id", b"hosts", b"_host"])
def test_the_others_are_left_alone(name: bytes) -> None:
    assert not is_edge_owned(name)
    assert not shadows(name)


def test_tokens() -> None:
    assert tokens([b"Close , keep-alive", b"", b',,a b,"c",D\t']) == [b"close", b"keep-alive", b"d"]


def test_too_long() -> None:
    half = LISTS_CAP // 2
    assert not too_long({b"a": [b"x" * half], b"b": [b"x" * half]})
    assert too_long({b"a": [b"x" * half, b"x"], b"b": [b"x" * half]})


def test_noted() -> None:
    lines = b"A: b\r\nTE:x \r\nTe-X: 1\r\nX-Forwarded-Foo: 2\r\nx-forwarded_for: 3\r\n"
    lines += b"Forwarded:\r\nForwardeds: 4\r\na_: 5\r\n\r\n"
    assert noted(b"GET / HTTP/1.1\r\n" + lines, 16) == [
        (b"te", b"x"),
        (b"x-forwarded-foo", b"2"),
        (b"x-forwarded_for", b"3"),
        (b"forwarded", b""),
        (b"a_", b"5"),
    ]


def test_protocols() -> None:
    assert protocols([b"h2c, WebSocket", b"HTTP/2.0,foo/2 , H2"]) == [b"WebSocket", b"foo/2"]


def test_serialise() -> None:
    fields = [(b"A", b"1"), (b"B", b"2"), (b"b", b"3"), (b"C", b""), (b"D", b"4")]
    assert serialise(fields, {b"b": b"X: y\r\n", b"c": b""}, frozenset({b"d"})) == b"A: 1\r\nX: y\r\n"

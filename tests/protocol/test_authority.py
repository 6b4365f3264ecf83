"""Spellings of one host, and what is none (D-V5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.authority import host_of, name_of, port_fits, port_of


@pytest.mark.parametrize(
    "value",
    [
        *(b"test.example.me", b"TEST.EXAMPLE.ME", b"Test.Example.Me", b"test.example.me.", b"test.example.me:80"),
        *(b"test.example.me.:443", b"TEST.example.me:1", b"test.example.me:65535", b"test.example.me:0080"),
    ],
)
def test_one_name(value: bytes) -> None:
    assert host_of(value) == "test.example.me"


def test_literals() -> None:
    assert host_of(b"[::1]") == "[::1]"
    assert host_of(b"[0:0:0:0:0:0:0:1]:8080") == "[::1]"
    assert host_of(b"[2001:DB8::A]") == "[2001:db8::a]"
    assert host_of(b"[::ffff:192.0.2.1]") == host_of(b"[::ffff:c000:201]")
    assert host_of(b"192.0.2.1:80") == "192.0.2.1"


@pytest.mark.parametrize(
    "value", [b"", b".", b"a..b", b".a", b"a..", b"a:", b"a:0", b"a:65536", b"a b", b"u@a", b"[::g]", b"[::1", b"a\n"]
)
def test_no_host(value: bytes) -> None:
    assert host_of(value) is None


def test_lengths() -> None:
    assert name_of(b"a" * 63) == "a" * 63
    assert name_of(b"a" * 64) is None
    assert name_of((b"a" * 49 + b".") * 5 + b"abc.") is not None
    assert name_of((b"a" * 49 + b".") * 5 + b"abcd") is None


def test_ports() -> None:
    assert [port_of(one, 80) for one in (b"a", b"a:81", b"[::1]", b"[::1]:82", b"10", b"1.2")] == [
        80,
        81,
        80,
        82,
        80,
        80,
    ]
    assert port_fits(None)
    assert port_fits(b"65535")
    assert not port_fits(b"0")


@given(st.binary(max_size=40))
def test_normalising_twice_changes_nothing(value: bytes) -> None:
    host = host_of(value)
    if host is not None:
        assert host_of(host.encode()) == host
        assert host == host.lower()

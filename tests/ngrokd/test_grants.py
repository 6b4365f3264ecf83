"""Scopes and grants: what is written is what is allowed, and nothing that can't be read allows anything."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.grants import (
    CHANGEABLE,
    Grant,
    Scope,
    compile_grant,
    parse_bandwidth,
    parse_changes,
    parse_count,
    parse_hosts,
    parse_lifetime,
    parse_port_ranges,
    parse_rate,
    parse_token_name,
)
from protocol.errors import Fault, RefusedError

counts = st.none() | st.integers(1, 10**6)
scopes = st.builds(
    Scope,
    allow_hosts=st.lists(st.sampled_from(["shop", "a.example.me", "*.dev.example.me"]), max_size=3).map(tuple),
    allow_ports=st.lists(st.tuples(st.integers(1024, 2000), st.integers(2000, 65535)), max_size=3).map(tuple),
    max_tunnels=counts,
    max_sessions=counts,
    max_connections=counts,
    max_requests=st.none() | st.floats(0.01, 1e6),
    max_bandwidth=counts,
)


@given(scopes)
def test_a_scope_is_kept_as_it_is(scope: Scope) -> None:
    assert Scope.load(scope.dump()) == scope


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"allow_hosts": [1]}', '{"max_tunnels": "many"}', '{"max_tunnels": -1}', '{"new_limit": 1}',
     '{"allow_ports": [[1]]}'],
)  # fmt: skip
def test_a_damaged_scope_means_no_token_rather_than_no_limits(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Scope.load(text)


def grant(**limits: object) -> Grant:
    return compile_grant("k3v9", "alice", Scope(**limits), domain="example.me")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("allowed", "host", "fine"),
    [
        ((), "anything.at.all", True),
        (("x.example.me",), "x.example.me", True),
        (("x.example.me",), "y.x.example.me", False),
        (("x",), "x.example.me", True),
        (("x",), "x.other.me", False),
        (("*.dev.example.me",), "a.dev.example.me", True),
        (("*.dev.example.me",), "a.b.dev.example.me", True),
        (("*.dev.example.me",), "dev.example.me", False),
        (("*.dev.example.me",), "evildev.example.me", False),
        (("*.dev.example.me",), "*.dev.example.me", True),
        (("*.dev.example.me",), "*.b.dev.example.me", True),
        (("*.b.dev.example.me",), "*.dev.example.me", False),
        (("a.dev.example.me",), "*.dev.example.me", False),
        (("*.dev",), "a.dev.example.me", True),
    ],
)
def test_hosts(allowed: tuple[str, ...], host: str, fine: bool) -> None:
    if fine:
        grant(allow_hosts=allowed).check_host(host)
        return
    with pytest.raises(Fault) as caught:
        grant(allow_hosts=allowed).check_host(host)
    assert caught.value.code == "not_allowed"
    assert host not in caught.value.message + caught.value.hint.replace(allowed[0], "")


def test_ports() -> None:
    some = grant(allow_ports=((2000, 2100), (2222, 2222)))
    for port in (2000, 2100, 2222):
        some.check_port(port)
    for port in (1999, 2101, 2221):
        with pytest.raises(Fault, match=f"may not have tcp port {port}"):
            some.check_port(port)
    grant().check_port(5000)


def test_counts() -> None:
    some = grant(max_tunnels=2, max_sessions=1)
    some.check_tunnels(2)
    with pytest.raises(Fault, match="this token may have 2 tunnels"):
        some.check_tunnels(3)
    some.check_sessions(1)
    with pytest.raises(RefusedError, match="1 session at a time"):
        some.check_sessions(2)
    grant().check_tunnels(10**9)
    grant().check_sessions(10**9)


def test_expiry() -> None:
    expiring = compile_grant("k3v9", "alice", Scope(), domain="example.me", expires=100.0)
    expiring.check_alive(99.9)
    with pytest.raises(RefusedError, match="has expired"):
        expiring.check_alive(100.0)
    grant().check_alive(1e12)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10MB/s", 10**7),
        ("512KiB", 2**19),
        ("100000", 10**5),
        ("1.5 mb", 1_500_000),
        ("2M", 2 * 10**6),
        ("1Gi/s", 2**30),
    ],
)
def test_bandwidths(text: str, value: int) -> None:
    assert parse_bandwidth(text) == value


@pytest.mark.parametrize("text", ["", "fast", "10", "-5MB", "1e9", "10 parsecs", "0", "99999999GB", "١MB"])
def test_bad_bandwidths(text: str) -> None:
    with pytest.raises(Fault):
        parse_bandwidth(text)


def test_other_words() -> None:
    assert parse_lifetime("30d") == 30 * 86400
    assert parse_lifetime("12H") == 12 * 3600
    assert parse_hosts("Shop, *.dev.Example.me") == ("shop", "*.dev.example.me")
    assert parse_port_ranges("2000-2100, 2222") == ((2000, 2100), (2222, 2222))
    assert parse_token_name("alice.smith@work-1") == "alice.smith@work-1"
    assert parse_count(5) == 5
    assert parse_rate(0.5) == 0.5


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-1d", "99999999d", "1y"])
def test_bad_lifetimes(text: str) -> None:
    with pytest.raises(Fault):
        parse_lifetime(text)


@pytest.mark.parametrize("text", ["", "a,,b", "*", "a_b", "*.*.me", ",".join(["x"] * 65)])
def test_bad_hosts(text: str) -> None:
    with pytest.raises(Fault):
        parse_hosts(text)


@pytest.mark.parametrize("text", ["", "80", "2100-2000", "1024-65536", "a-b", "1-2-3", "²000"])
def test_bad_ports(text: str) -> None:
    with pytest.raises(Fault):
        parse_port_ranges(text)


@pytest.mark.parametrize("text", ["", "-x", "a b", "a\nb", "a\x1b[1m", "x" * 64, "né"])
def test_bad_names(text: str) -> None:
    with pytest.raises(Fault):
        parse_token_name(text)


@pytest.mark.parametrize("value", [0, -1, 10**7, "5", None, True is None])
def test_bad_counts(value: object) -> None:
    with pytest.raises(Fault):
        parse_count(value)


def test_changes_of_limits() -> None:
    given = {"allow_hosts": "a,*.b", "allow_ports": None, "max_tunnels": 5, "max_requests": None, "lifetime": "1h"}
    assert parse_changes(given) == {
        "allow_hosts": ("a", "*.b"), "allow_ports": (), "max_tunnels": 5, "max_requests": None, "lifetime": 3600.0,
    }  # fmt: skip
    assert set(CHANGEABLE) == {field.name for field in fields(Scope)} | {"lifetime"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_tunnels", 0), ("max_tunnels", True), ("max_tunnels", "5"), ("max_tunnels", 1.5), ("max_requests", 0),
        ("allow_hosts", 5), ("allow_hosts", ""), ("max_bandwidth", "fast"), ("lifetime", ""), ("lifetime", 5),
    ],
)  # fmt: skip
def test_a_bad_change_names_its_limit(key: str, value: object) -> None:
    with pytest.raises(Fault, match=f"^{key}: "):
        parse_changes({key: value})


def test_an_unknown_change() -> None:
    with pytest.raises(Fault, match="unknown key 'name'"):
        parse_changes({"name": "x"})

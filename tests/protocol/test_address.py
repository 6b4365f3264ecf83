"""Addresses in every form that people and 1.7 write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.address import (
    HostPort,
    Upstream,
    client_addr,
    format_address,
    parse_address,
    parse_client_addr,
    parse_listen,
    parse_port,
    parse_upstream,
    plain_ip,
)
from protocol.errors import Fault


@pytest.mark.parametrize(
    ("text", "upstream", "shown", "authority"),
    [
        ("8080", Upstream("tcp", "127.0.0.1", 8080), "127.0.0.1:8080", "127.0.0.1:8080"),
        (" 80 ", Upstream("tcp", "127.0.0.1", 80), "127.0.0.1:80", "127.0.0.1"),
        (":8080", Upstream("tcp", "127.0.0.1", 8080), "127.0.0.1:8080", "127.0.0.1:8080"),
        ("Localhost:3000", Upstream("tcp", "localhost", 3000), "localhost:3000", "localhost:3000"),
        ("my_box.lan:3000", Upstream("tcp", "my_box.lan", 3000), "my_box.lan:3000", "my_box.lan:3000"),
        ("[::1]:3000", Upstream("tcp", "::1", 3000), "[::1]:3000", "[::1]:3000"),
        ("[0:0::1]:80", Upstream("tcp", "::1", 80), "[::1]:80", "[::1]"),
        ("[fe80::1%eth0]:80", Upstream("tcp", "fe80::1%eth0", 80), "[fe80::1%eth0]:80", "[fe80::1%eth0]"),
        ("http://box:8080/", Upstream("tcp", "box", 8080), "box:8080", "box:8080"),
        ("http://box", Upstream("tcp", "box", 80), "box:80", "box"),
        ("HTTPS://box", Upstream("tcp", "box", 443, tls=True), "https://box:443", "box"),
        ("https://[::1]:8443", Upstream("tcp", "::1", 8443, tls=True), "https://[::1]:8443", "[::1]:8443"),
        ("https://bücher.de:1", Upstream("tcp", "xn--bcher-kva.de", 1, tls=True), "https://xn--bcher-kva.de:1", None),
        ("unix:/run/app.sock", Upstream("unix", path="/run/app.sock"), "unix:/run/app.sock", "localhost"),
        ("unix:///run/app.sock", Upstream("unix", path="/run/app.sock"), "unix:/run/app.sock", "localhost"),
        ("unix:app.sock", Upstream("unix", path="app.sock"), "unix:app.sock", "localhost"),
    ],
)
def test_upstreams(text: str, upstream: Upstream, shown: str, authority: str | None) -> None:
    assert parse_upstream(text) == upstream
    assert str(upstream) == shown
    assert parse_upstream(shown) == upstream
    if authority is not None:
        assert upstream.authority == authority


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ":", "box", "box:", "0", ":0", "65536", "99999", "100000", "-1", "+80", "8 0", "80x", "0x50", "٣"),
        *("box:٣", "box:+1", "box:-1", "box:1:2", "::1", "::1:80", "[::1]", "[::1", "[::1]80", "[::1]:", "[x]:80"),
        *(
            "a b:80",
            "a\n:80",
            "-:80",
            "a/b:80",
            "a@b:80",
            "_:80",
            "*:80",
            "[1.2.3.4]:80",
            "\ud800:80",
            "." * 300 + ":80",
        ),
        *(
            "ftp://box",
            "ws://box",
            "://box",
            "http:box",
            "http:/box",
            "http://",
            "https://:",
            "http://[::1",
            "http://a]b",
        ),
        *(
            "http://u:p@box",
            "http://box/path",
            "http://box?q",
            "http://box?",
            "http://box#f",
            "http://box#",
            "http://a:b",
        ),
        *("unix:", "unix:\0", "unix:/" + "a" * 107, "unix:/" + "ä" * 54, "9" * 5000),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_no_upstream(text: str) -> None:
    with pytest.raises(Fault) as caught:
        parse_upstream(text)
    assert caught.value.code == "bad_address"


def test_verify_is_kept() -> None:
    assert parse_upstream("https://box", verify=False).verify is False
    assert parse_upstream("8080").verify is True


@given(st.text(max_size=60) | st.from_regex(r"[a-z\[\]:./@0-9%_-]{0,30}"))
def test_any_text_is_an_upstream_or_our_fault(text: str) -> None:
    try:
        upstream = parse_upstream(text)
    except Fault as fault:
        assert fault.code == "bad_address"  # noqa: PT017
    else:
        assert parse_upstream(str(upstream)) == upstream


def test_defaults_of_an_address() -> None:
    assert parse_address("ngrok.me", port=4443) == HostPort("ngrok.me", 4443)
    assert parse_address("[::1]", port=4443) == HostPort("::1", 4443)
    assert parse_address("ngrok.me:1", port=4443) == HostPort("ngrok.me", 1)
    assert parse_address("4040") == parse_address(":4040") == HostPort("127.0.0.1", 4040)
    assert parse_address("0", zero=True) == HostPort("127.0.0.1", 0)
    assert parse_address("80", host="") == HostPort("", 80)
    for text in ("ngrok.me", "", "[::1]"):
        with pytest.raises(Fault):
            parse_address(text)
    with pytest.raises(Fault):
        parse_address("", port=4443)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (":80", HostPort("", 80)),
        ("80", HostPort("", 80)),
        ("127.0.0.1:0", HostPort("127.0.0.1", 0)),
        ("[::]:443", HostPort("::", 443)),
        ("localhost:0", HostPort("localhost", 0)),
    ],
)
def test_listening(text: str, found: HostPort) -> None:
    assert parse_listen(text) == found


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("65535", 65535), ("00080", 80)])
def test_ports(text: str, port: int) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        ("203.0.113.7", 50000, "203.0.113.7:50000"),
        ("2001:db8::1", 50000, "[2001:db8::1]:50000"),
        ("::ffff:203.0.113.7", 50000, "203.0.113.7:50000"),
        ("::FFFF:cb00:7107", 1, "203.0.113.7:1"),
        ("::ffff:0:1.2.3.4", 1, "[::ffff:0:1.2.3.4]:1"),
        ("fe80::1%eth0", 1, "[fe80::1]:1"),
        ("", 80, ":80"),
    ],
)
def test_client_addresses(host: str, port: int, shown: str) -> None:
    assert client_addr(host, port) == shown


@pytest.mark.parametrize("text", ["203.0.113.7:50000", "[2001:db8::1]:0", "1.2.3.4:65535"])
def test_client_addresses_are_read_back(text: str) -> None:
    found = parse_client_addr(text)
    assert str(found) == text
    assert client_addr(found.host, found.port) == text


@pytest.mark.parametrize(
    "text", ["", "localhost:1", "1.2.3.4", "1.2.3.4:65536", "::1:5", "[::1]", "01.2.3.4:5", "x", ":5x"]
)
def test_no_client_address(text: str) -> None:
    with pytest.raises(Fault):
        parse_client_addr(text)


def test_a_mapped_client_address_is_plain_when_read() -> None:
    assert parse_client_addr("[::ffff:1.2.3.4]:5") == HostPort("1.2.3.4", 5)


def test_plain_ip_leaves_other_text_alone() -> None:
    assert plain_ip("localhost") == "localhost"
    assert plain_ip("2001:db8::1") == "2001:db8::1"
    assert plain_ip("::ffff:nonsense") == "::ffff:nonsense"


def test_format_address() -> None:
    assert format_address("::1", 80) == "[::1]:80"
    assert str(HostPort("a.b", 80)) == "a.b:80"

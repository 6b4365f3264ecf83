"""Which proxy, and CONNECT through it."""

from __future__ import annotations

import socket
from base64 import b64decode

import pytest

from protocol.errors import ConfigError, LinkError
from protocol.link.plain import PlainPort
from protocol.link.proxy_connect import ProxyUrl, connect_through, parse_proxy, proxy_from_environment


def test_urls() -> None:
    assert parse_proxy("http://p:3128") == ProxyUrl("p", 3128)
    assert parse_proxy("http://p") == ProxyUrl("p", 80)
    assert parse_proxy("https://[::1]:1/") == ProxyUrl("::1", 1, tls=True)
    assert str(parse_proxy("http://u:secret@[::1]:1")) == "http://[::1]:1"
    for text in (
        "p:3128",
        "ftp://p",
        "http://",
        "http://p:0",
        "http://p:99999",
        "http://p/path",
        "http://p?q",
        "http://[x",
    ):
        with pytest.raises(ConfigError):
            parse_proxy(text)


def test_credentials_are_percent_decoded_and_hidden() -> None:
    proxy = parse_proxy("http://us%40er:p%3Ass%25@p:1")
    assert proxy.authorization is not None
    assert b64decode(proxy.authorization.reveal().removeprefix("Basic ")) == b"us@er:p:ss%"
    assert "p:ss" not in repr(proxy)
    with pytest.raises(ConfigError) as caught:
        parse_proxy("ftp://user:hidden@p")
    assert "hidden" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("environ", "host", "port", "expected"),
    [
        ({}, "s", 1, None),
        ({"http_proxy": "http://a:1"}, "s", 1, "a"),
        ({"http_proxy": "http://a:1", "https_proxy": "http://b:1"}, "s", 1, "b"),
        ({"HTTPS_PROXY": "b:1"}, "s", 1, "b"),
        ({"http_proxy": "http://a:1"}, "localhost", 1, None),
        ({"http_proxy": "http://a:1"}, "127.0.0.1", 1, None),
        ({"http_proxy": "http://a:1", "no_proxy": "x, s"}, "s", 1, None),
        ({"http_proxy": "http://a:1", "no_proxy": "example.me"}, "a.Example.me", 1, None),
        ({"http_proxy": "http://a:1", "no_proxy": ".example.me"}, "a.example.me", 1, None),
        ({"http_proxy": "http://a:1", "no_proxy": "ample.me"}, "example.me", 1, "a"),
        ({"http_proxy": "http://a:1", "no_proxy": "s:2"}, "s", 1, "a"),
        ({"http_proxy": "http://a:1", "no_proxy": "s:1"}, "s", 1, None),
        ({"http_proxy": "http://a:1", "NO_PROXY": "*"}, "s", 1, None),
        ({"http_proxy": "http://a:1", "no_proxy": "10.0.0.0/8"}, "10.2.3.4", 1, None),
        ({"http_proxy": "http://a:1", "no_proxy": "2001:db8::/32"}, "2001:db8::1", 1, None),
        ({"http_proxy": "http://a:1", "no_proxy": ",,:"}, "s", 1, "a"),
    ],
)
def test_environment(environ: dict[str, str], host: str, port: int, expected: str | None) -> None:
    found = proxy_from_environment(environ, host, port)
    assert (found.host if found else None) == expected


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="http_proxy"):
        proxy_from_environment({"http_proxy": "ftp://x"}, "s", 1)


async def ask(answer: bytes, proxy: ProxyUrl, host: str = "example.me") -> bytes:
    """Let `connect_through` talk to a proxy that answers so; the request."""
    near, far = socket.socketpair()
    port = PlainPort(near)
    there = PlainPort(far)
    try:
        await there.stream().send_all(answer)
        there.end_writing()
        await connect_through(port, proxy, host, 4443)
        return await there.stream().receive_some()
    finally:
        port.close()
        there.close()


async def test_connect() -> None:
    request = await ask(b"HTTP/1.1 200 Connection established\r\n\r\n", parse_proxy("http://u:p@p:1"))
    assert request.startswith(b"CONNECT example.me:4443 HTTP/1.1\r\nHost: example.me:4443\r\n")
    assert b"Proxy-Authorization: Basic dTpw\r\n" in request
    request = await ask(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n", ProxyUrl("p", 1), "2001:db8::1")
    assert request.startswith(b"CONNECT [2001:db8::1]:4443 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "proxy_auth"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "proxy_refused"),
        (b"SSH-2.0-x\r\n\r\n", "proxy_answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "proxy_answer"),
        (b"HTTP/1.1 200 OK\r\n", "proxy_answer"),
        (b"", "proxy_answer"),
    ],
)
async def test_refusals(answer: bytes, code: str) -> None:
    with pytest.raises(LinkError) as caught:
        await ask(answer, ProxyUrl("p", 1))
    assert caught.value.code == code

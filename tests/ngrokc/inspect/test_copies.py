from __future__ import annotations

import ast
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.copies import copy
from ngrokc.inspect.model import Exchange
from tests.kit.inspection import Bench

EVIL = "'; rm -rf ~ #$(x)`y`\"\\"


def made(target: bytes = b"/a?x=1", header: bytes = b"v", body: bytes = b"") -> Exchange:
    bench = Bench()
    talk = bench.talk()
    head = b"POST %b HTTP/1.1\r\nHost: t\r\nX-A: %b\r\nAuthorization: Bearer canary\r\nX-Forwarded-For: 1\r\n" % (
        target,
        header,
    )
    talk.feed(True, 1, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return bench.exchanges()[0]


def test_curl_is_one_safe_command() -> None:
    text = copy(made(b"/a'b", EVIL.encode(), EVIL.encode()), "curl", reveal=False, body=EVIL.encode())
    words = shlex.split(text.replace("\\\n", ""))
    assert words[:3] == ["curl", "-i", "-g"]
    assert "http://test.example.me/a'b" in words
    assert f"X-A: {EVIL}" in words
    assert words[-2:] == ["--data-binary", EVIL]
    assert "canary" not in text
    assert "X-Forwarded-For" not in text
    assert "canary" in copy(made(), "curl", reveal=True, body=b"")


@pytest.mark.parametrize("body", [b"@/etc/passwd", b"\x00\xff\n", "ü".encode("latin-1")])
def test_bytes_go_through_printf(body: bytes) -> None:
    text = copy(made(body=body), "curl", reveal=False, body=body)
    printf = text.partition(" | ")[0]
    assert subprocess.run(["sh", "-c", printf], capture_output=True, check=True).stdout == body
    assert text.endswith("--data-binary @-")


def test_python_and_http() -> None:
    text = copy(made(body=b"\x00"), "python", reveal=False, body=b"\x00")
    ast.parse(text)
    assert "('X-A', 'v')" in text
    assert "content=b'\\x00'" in text
    http = copy(made(body=b"hi"), "http", reveal=False, body=b"hi")
    assert http.startswith("POST http://test.example.me/a?x=1 HTTP/1.1\nX-A: v\n")
    assert http.endswith("\n\nhi")
    with pytest.raises(KeyError):
        copy(made(), "perl", reveal=False, body=b"")


@given(st.binary(max_size=60).filter(lambda value: b"\n" not in value), st.binary(max_size=60))
def test_any_bytes(header: bytes, body: bytes) -> None:
    exchange = made(header=header, body=body)
    ast.parse(copy(exchange, "python", reveal=True, body=body))
    shlex.split(copy(exchange, "curl", reveal=True, body=body).replace("\\\n", ""))

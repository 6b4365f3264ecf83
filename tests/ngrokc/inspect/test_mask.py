from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.mask import is_secret, mask_head, mask_target, mask_value


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"Authorization", b"Bearer abc", b"Bearer ********"),
        (b"Proxy-Authorization", b"Basic abc", b"Basic ********"),
        (b"authorization", b"rawtoken", b"********"),
        (b"Cookie", b"a=1; b=2=3", b"a=********; b=********"),
        (b"Set-Cookie", b"a=1; Path=/; HttpOnly", b"a=********; Path=/; HttpOnly"),
        (b"X-Api-Key", b"k", b"********"),
        (b"X-Auth-Token", b"k", b"********"),
        (b"X-Hub-Signature", b"k", b"********"),
        (b"Location", b"/next?token=abc&x=1", b"/next?token=********&x=1"),
        (b"Content-Type", b"text/plain", b"text/plain"),
        (b"X-Keyboard", b"qwerty", b"qwerty"),
    ],
)
def test_values(name: bytes, value: bytes, shown: bytes) -> None:
    assert mask_value(name, value) == shown


def test_targets() -> None:
    assert mask_target(b"/a?access_token=x&b=1&API_KEY=y&password=z#f") == (
        b"/a?access_token=********&b=1&API_KEY=********&password=********#f"
    )
    assert mask_target(b"/a?monkey=1&keyboard=2&key=3") == b"/a?monkey=1&keyboard=2&key=********"
    assert mask_target(b"/plain") == b"/plain"


def test_a_head_line_by_line_folded_ones_too() -> None:
    head = b"GET /?token=canary HTTP/1.1\r\nHost: t\r\nauthorization:Bearer canary\r\n canary\r\nCookie: a=canary\r\nX: y\r\n\r\n"
    masked = mask_head(head)
    assert b"canary" not in masked
    assert masked.startswith(b"GET /?token=******** HTTP/1.1\r\nHost: t\r\n")
    assert masked.endswith(b"X: y\r\n\r\n")


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    mask_head(raw)
    mask_target(raw)
    mask_value(b"Cookie", raw)
    is_secret(raw)

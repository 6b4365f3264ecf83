"""Basic authentication and the brake on guessing, on a clock of our own."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.policy.login import BURST, CREDENTIALS_CAP, REFILL, SOURCES_MAX, BasicLogin, Throttle


def basic(pair: str, encoding: str = "utf-8") -> bytes:
    return b"Basic " + base64.b64encode(pair.encode(encoding))


def test_the_right_pair() -> None:
    login = BasicLogin("user:pa:ss wörd")
    assert login.matches(basic("user:pa:ss wörd"))
    assert login.matches(basic("user:pa:ss wörd", "latin-1"))
    assert login.matches(b"BASIC  " + basic("user:pa:ss wörd")[6:])
    assert "user" not in repr(login)


@pytest.mark.parametrize(
    "value",
    [
        *(basic("user:passwor"), basic("user:password2"), basic("User:password"), basic("user:"), basic(":password"), basic("")),
        *(b"", b"Basic", b"Basic ", b"Bearer " + basic("user:password")[6:], basic("user:password")[6:], b"user:password"),
        *(basic("user:password") + b"=", basic("user:password") + b"!", b"Basic " + b"A" * (CREDENTIALS_CAP + 1)),
        *(basic("user:password")[:-1] + b"\xff", b"Basic\t" + basic("user:password")[6:], basic("user:password\x00")),
        basic("user:password").replace(b"=", b""),
    ],
)  # fmt: skip
def test_the_wrong_pair(value: bytes) -> None:
    assert not BasicLogin("user:password").matches(value)


@given(st.text(max_size=30), st.text(max_size=30))
def test_only_itself(one: str, other: str) -> None:
    login = BasicLogin(one)
    assert login.matches(basic(one)) or not one
    same = other.encode() in (one.encode(), one.encode("latin-1", "replace"))
    assert login.matches(basic(other)) <= same


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_throttle() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(BURST):
        assert throttle.wait("a") == 0
        throttle.failed("a")
    assert throttle.wait("a") == REFILL
    assert throttle.wait("b") == 0
    clock.now += REFILL - 1
    assert throttle.wait("a") == 1
    clock.now += 1
    assert throttle.wait("a") == 0
    throttle.failed("a")
    assert throttle.wait("a") == REFILL
    clock.now += 1e6
    for _ in range(BURST):
        throttle.failed("a")
    assert throttle.wait("a") == REFILL
    clock.now -= 1e6  # a clock that jumps back gives nothing away and locks nobody out for longer
    assert throttle.wait("a") == REFILL


def test_throttle_is_bounded() -> None:
    throttle = Throttle(Clock())
    for source in range(SOURCES_MAX + 10):
        throttle.failed(source)
    assert len(throttle) == SOURCES_MAX

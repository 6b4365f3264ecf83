"""The comparing kit finds what it is for: each kind of change that a tunnel could make, and none where there is none."""

# ruff: noqa: E501 - tables
from __future__ import annotations

import dataclasses

import pytest

from tests.kit.exchanges import Seen, differences, messages, open_service, play, simple, visitor_sees

REQUEST = b"POST /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi"
ANSWER = b"HTTP/1.1 200 OK\r\nX-B: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n"
CASE = simple("it", REQUEST, ANSWER)
SEEN = Seen(ANSWER, REQUEST, None, None, None)


def test_what_is_documented_is_no_difference() -> None:
    there = REQUEST.replace(b"X-A", b"X-Forwarded-For: 1\r\nX-A")
    back = ANSWER.replace(b"X-B", b"Connection: close\r\nX-B")
    assert differences(CASE, SEEN, dataclasses.replace(SEEN, service=there, visitor=back)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"POST", b"PUT"), (b"/a", b"/A"), (b"X-A", b"x-a"), (b"X-A: 1\r\n", b""), (b": 1", b": 2"), (b"X-A", b"X-New: 1\r\nX-A"), (b"hi", b"ho")],
)  # fmt: skip
def test_a_changed_request_is_found(old: bytes, new: bytes) -> None:
    assert differences(CASE, SEEN, dataclasses.replace(SEEN, service=REQUEST.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"), [(b"200", b"201"), (b"OK\r\n", b"Fine\r\n"), (b"X-B", b"x-b"), (b"2\r\nok", b"2\r\nOK"), (b"T: 1\r\n", b""), (b"T: 1", b"t: 1")]
)  # fmt: skip
def test_a_changed_answer_is_found(old: bytes, new: bytes) -> None:
    assert differences(CASE, SEEN, dataclasses.replace(SEEN, visitor=ANSWER.replace(old, new)))


@pytest.mark.parametrize(
    "other", [{"visitor_ended": "reset"}, {"stuck": "somewhere"}, {"visitor": ANSWER + ANSWER}, {"service": b""}, {"visitor": ANSWER[:-9]}]
)  # fmt: skip
def test_another_course_is_found(other: dict[str, str]) -> None:
    assert differences(CASE, SEEN, dataclasses.replace(SEEN, **other))  # type: ignore[arg-type]


def test_messages_are_taken_apart() -> None:
    found, at = messages(REQUEST + REQUEST[:-1], None)
    assert (len(found), at, found[0].body) == (1, len(REQUEST), b"hi")
    found, at = messages(ANSWER + b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", [b"GET", b"HEAD"])
    assert [one.body for one in found] == [ANSWER.partition(b"\r\n\r\n")[2], b""]
    found, _ = messages(b"HTTP/1.1 200 OK\r\n\r\nabc", [b"GET"], ended=True)
    assert found[0].body == b"abc"


async def test_a_step_that_never_comes_about_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.kit.exchanges.STEP_SECONDS", 0.05)
    async with open_service() as service:
        assert (await play(CASE, service, service.port, b"h")).stuck is None
        seen = await play(
            dataclasses.replace(CASE, steps=(*CASE.steps, visitor_sees(b"more"))), service, service.port, b"h"
        )
        assert seen.stuck is not None
        assert "step 4: visitor sees" in seen.stuck

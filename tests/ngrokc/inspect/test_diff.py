from __future__ import annotations

from ngrokc.inspect.diff import diff
from ngrokc.inspect.model import Exchange
from tests.kit.inspection import Bench


def made(answer: bytes) -> Exchange:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET / HTTP/1.1\r\n\r\n")
    talk.feed(False, 2, answer)
    talk.closed(3, None)
    return bench.exchanges()[0]


def ok(body: bytes, kind: bytes = b"application/json", date: bytes = b"now") -> bytes:
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\nSet-Cookie: a=canary\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        date, kind, len(body), body,
    )  # fmt: skip


def test_same_but_for_the_date() -> None:
    found = diff(made(ok(b'{"a":1}')), made(ok(b'{ "a": 1 }', date=b"later")), reveal=False)
    assert found["same"]
    assert "canary" not in str(found)


def test_lines_that_changed() -> None:
    found = diff(made(ok(b'{"a":1,"b":2}')), made(ok(b'{"a":1,"b":3}')), reveal=False)
    assert found["body"] == [("=", "{"), ("=", '  "a": 1,'), ("-", '  "b": 2'), ("+", '  "b": 3'), ("=", "}")]
    assert not found["same"]


def test_no_answer_and_bytes() -> None:
    found = diff(made(ok(b"\x00\x01", b"x/y")), made(b""), reveal=False)
    assert ("+", "(no answer)") in found["head"]  # type: ignore[operator]
    assert found["body"] == [("-", "00 01")]

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.query import KEYS, matches, parse
from tests.kit.inspection import Bench


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"POST /Hook?x=1 HTTP/1.1\r\nX-Odd: Value\r\nContent-Length: 11\r\n\r\nhello World")
    talk.feed(False, 2, b"HTTP/1.1 503 Down\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\noops")
    return bench


@pytest.mark.parametrize(
    "query",
    ["", "status:503", "status:5xx", "status:>=400", "method:post", "path:/hook", 'body:"hello world"', "body:oops",
     "tunnel:test",
     "header:value", "type:json", "state:done", "ip:203.0", "min:900", "hook", "POST hook", "oops", "-status:2xx", "-is:replay",
     "status:50x method:POST"],
)  # fmt: skip
def test_fits(bench: Bench, query: str) -> None:
    assert matches(bench.exchanges()[0], parse(query))


@pytest.mark.parametrize(
    "query",
    ["status:4xx", "status:5", "method:GET", "path:/other", "body:nothing", "tunnel:other", "is:failed", "is:pending",
     "is:nonsense",
     "-hook", "min:5000", "min:x", "status:503 method:GET", "surprise:x"],
)  # fmt: skip
def test_does_not_fit(bench: Bench, query: str) -> None:
    assert not matches(bench.exchanges()[0], parse(query))


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET / HTTP/1.1\r\n\r\n")
    terms = parse(text)
    assert all(term.key in ("", *KEYS) for term in terms)
    matches(bench.exchanges()[0], terms)

"""What may be sent; that it is sent, and where, stands in web/test_exchanges.py."""

from __future__ import annotations

import pytest

from ngrokc.inspect.model import Exchange
from ngrokc.inspect.replay import Edit, compose, obstacle
from ngrokc.inspect.settings import Limits
from protocol.errors import Fault
from tests.kit.inspection import Bench


def made(raw: bytes, answer: bytes = b"", limits: Limits | None = None) -> Exchange:
    bench = Bench(limits)
    talk = bench.talk()
    talk.feed(True, 1, raw)
    talk.feed(False, 1, answer)
    return bench.exchanges()[0]


CHUNKED = b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
CHUNKED += b"Connection: keep-alive\r\nX: y\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


def test_framing_is_done_anew() -> None:
    wire = compose(made(CHUNKED), Edit(), b"hi")
    assert wire == b"POST /a HTTP/1.1\r\nHost: t\r\nX: y\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    assert b"Content-Length" not in compose(made(b"GET / HTTP/1.1\r\n\r\n"), Edit(), b"")


@pytest.mark.parametrize(
    "edit",
    [
        Edit(method=b"GET /x HTTP/1.1\r\nA: b\r\n\r\nGET"),
        Edit(method=b""),
        Edit(target=b"x"),
        Edit(target=b"/\x00"),
        Edit(fields=((b"a:b", b"c"),)),
        Edit(fields=((b"", b"c"),)),
        Edit(fields=((b"a", b"\x00"),)),
        Edit(fields=((b"a", b"b"),) * 1000),
    ],
)
def test_no_edit_smuggles(edit: Edit) -> None:
    with pytest.raises(Fault):
        compose(made(CHUNKED), edit, b"")


def test_edited_framing_fields_are_ours() -> None:
    edit = Edit(fields=((b"Content-Length", b"99"), (b"transfer-encoding", b"chunked"), (b"A", b"b")))
    assert (
        compose(made(CHUNKED), edit, b"x")
        == b"POST /a HTTP/1.1\r\nA: b\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    )


def test_obstacles() -> None:
    assert obstacle(made(CHUNKED)) == ""
    large = made(
        b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\n" + b"x" * 50,
        limits=Limits(body_memory=5, body_total=10, disk=0),
    )
    assert "not kept whole" in obstacle(large)
    websocket = made(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n")
    assert "upgraded" in obstacle(websocket)


POST = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize("end", ["under way", "looked away", "given up", "left"])
@pytest.mark.parametrize("body", [b"", b"ab"])
def test_half_a_request_is_not_sent_as_a_whole_one(end: str, body: bytes) -> None:
    """Its service would take it for what the visitor had sent."""
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, POST + body)
    talk.feed(False, 2, b"HTTP/1.1 100 Continue\r\n\r\n")
    if end == "looked away":
        talk.look_away(3)
    elif end == "given up":
        talk.feed(False, 3, b"nonsense\r\n\r\n")
    elif end == "left":
        talk.closed(3, None)
    assert "not whole" in obstacle(bench.exchanges()[0])


def test_a_whole_request_without_its_answer_can_be_sent_again() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, POST + b"abcd")
    assert obstacle(bench.exchanges()[0]) == ""
    talk.look_away(2)
    assert obstacle(bench.exchanges()[0]) == ""

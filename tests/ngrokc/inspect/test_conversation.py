from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.model import Exchange
from ngrokc.inspect.settings import Limits
from tests.kit.inspection import Bench

GET = b"GET /a?b=1 HTTP/1.1\r\nHost: t\r\nX-Odd:  v\r\nx-odd: w\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
POST = b"POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
CHUNKED += b"3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 9\r\n\r\n"

SCRIPT = [  # (from the visitor, bytes)
    (True, GET),
    (False, OK),
    (True, POST),
    (False, CHUNKED),
    (True, b"HEAD / HTTP/1.1\r\nHost: t\r\n\r\n"),
    (False, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
    (True, b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"),
    (False, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    (True, b"4\r\nwxyz\r\n0\r\n\r\n"),
    (False, b"HTTP/1.1 204 No Content\r\n\r\n"),
    (True, b"GET /last HTTP/1.0\r\n\r\n"),
    (False, b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
]


def check(exchanges: list[Exchange]) -> None:
    assert [(e.method, e.target, e.status, e.state) for e in exchanges] == [
        ("GET", "/a?b=1", 200, "done"),
        ("POST", "/p", 201, "done"),
        ("HEAD", "/", 200, "done"),
        ("PUT", "/", 204, "done"),
        ("GET", "/last", 200, "done"),
    ]
    bodies = [(e.request.body.read(), e.answer.body.read() if e.answer else None) for e in exchanges]
    assert bodies == [(b"", b"hello"), (b"abc", b"abcde"), (b"", b""), (b"wxyz", b""), (b"", b"until the end")]
    assert exchanges[0].request.raw == GET
    assert exchanges[0].request.fields == [(b"Host", b"t"), (b"X-Odd", b"v"), (b"x-odd", b"w")]
    assert exchanges[1].answer is not None
    assert exchanges[1].answer.trailers == [(b"X-T", b"9")]
    assert [raw.split(b"\r\n")[0] for _, raw in exchanges[3].interim] == [
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 103 Early Hints",
    ]
    assert all(e.started_at <= e.head_at <= (e.first_at or 0) <= (e.ended_at or 0) for e in exchanges)


@given(st.integers(1, 90))
def test_a_connection_cut_anywhere_gives_the_same_exchanges(step: int) -> None:
    bench = Bench()
    talk = bench.talk()
    at = 1.0
    for up, data in SCRIPT:
        for start in range(0, len(data), step):
            talk.feed(up, at, data[start : start + step])
            at += 1
    talk.ended(False, at)
    talk.closed(at, None)
    check(bench.exchanges())
    assert talk.idle
    assert not talk.waiting


def test_pipelined_requests_are_paired_in_order() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % n for n in range(5)))
    assert [e.state for e in bench.exchanges()] == ["pending"] * 5
    talk.feed(False, 2, b"".join(b"HTTP/1.1 20%d OK\r\nContent-Length: 1\r\n\r\n%d" % (n, n) for n in range(5)))
    assert [(e.target, e.status) for e in bench.exchanges()] == [(f"/{n}", 200 + n) for n in range(5)]


def test_an_answer_before_the_request_is_complete() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
    talk.feed(False, 2, b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    talk.feed(True, 3, b"defghij" + GET)
    talk.feed(False, 4, OK)
    first, second = bench.exchanges()
    assert (first.status, first.request.body.read()) == (413, b"abcdefghij")
    assert (second.target, second.status) == ("/a?b=1", 200)


def test_what_is_no_http_ends_the_capture_with_a_note() -> None:
    for request, answer in (
        (b"\x16\x03\x01 hello\r\n\r\n", b""),
        (GET, b"SSH-2.0-x\r\n\r\n"),
        (GET, b"HTTP/1.1 200\r\nbad\r\n\r\n"),
    ):
        bench = Bench()
        talk = bench.talk()
        talk.feed(True, 1, request)
        talk.feed(False, 2, answer)
        assert talk.broken
        assert bench.store.counts.cut == 1
        for exchange in bench.exchanges():
            assert exchange.state == "cut"
            assert "the capture ended here" in exchange.notes[0]


def test_failures_say_where() -> None:
    cases = [
        (GET, b"", "connection reset by peer", "connection reset by peer"),
        (GET, b"", None, "the connection ended before an answer came"),
        (GET, OK[:-2], None, "the connection ended within the answer"),
    ]
    for request, answer, reason, failure in cases:
        bench = Bench()
        talk = bench.talk()
        talk.feed(True, 1, request)
        talk.feed(False, 2, answer)
        talk.closed(3, reason)
        (exchange,) = bench.exchanges()
        assert (exchange.state, exchange.failure, exchange.ended_at) == ("failed", failure, 3)


def test_an_answer_that_ends_too_early_has_failed() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, GET)
    talk.feed(False, 2, OK[:-2])
    talk.ended(False, 3)
    assert bench.exchanges()[0].failure == "the upstream ended its answer too early"


def test_gaps_within_a_body_of_known_length_keep_in_step() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, GET)
    talk.feed(False, 2, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    talk.gap(False, 3, 990)
    talk.feed(False, 4, b"z" * 7)
    talk.feed(True, 5, GET)
    talk.feed(False, 6, OK)
    first, second = bench.exchanges()
    assert first.answer is not None
    assert (first.state, first.answer.body.size, first.answer.body.read()) == ("done", 1000, b"abc")
    assert first.answer.body.cut
    assert second.status == 200


def test_a_gap_elsewhere_ends_the_capture() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, GET)
    talk.gap(False, 3, 5)
    assert bench.exchanges()[0].state == "cut"


def test_after_looking_away_the_next_exchange_starts_afresh() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, POST[:-1])
    talk.look_away(2)
    talk.feed(True, 3, GET)
    talk.feed(False, 4, OK)
    assert [e.state for e in bench.exchanges()] == ["cut", "done"]


def test_a_large_body_need_not_be_copied_to_its_end() -> None:
    bench = Bench(Limits(body_memory=10, body_total=20))
    talk = bench.talk()
    talk.feed(True, 1, GET)
    talk.feed(False, 2, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 50)
    assert talk.skippable(False) == 950
    assert talk.skippable(True) == 0
    talk.gap(False, 3, 950)
    (exchange,) = bench.exchanges()
    assert exchange.answer is not None
    assert (exchange.state, exchange.answer.body.size, exchange.answer.body.kept) == ("done", 1000, 20)
    bench.close()


@given(st.binary(max_size=400), st.binary(max_size=400), st.booleans())
def test_no_bytes_make_it_raise(up: bytes, down: bytes, http: bool) -> None:
    bench = Bench(Limits(head=200))
    talk = bench.talk()
    talk.feed(True, 1, (GET if http else b"") + up)
    talk.feed(False, 2, (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n" if http else b"") + down)
    talk.gap(True, 3, 7)
    talk.ended(True, 4)
    talk.ended(False, 4)
    talk.closed(5, None)
    assert all(e.over for e in bench.exchanges())

"""Lines of the security checklist that the other tests of the edge do not cover by themselves; `docs/security-tests.md` is
the map from its lines to tests."""

from __future__ import annotations

import pytest

from ngrokd.edge.codes import CODES
from protocol.body import TRAILERS_MAX
from protocol.grammar import FIELD_CAP, HEAD_CAP, LINE_CAP
from tests.kit.handedge import ADDRESS, HandEdge
from tests.kit.hostile_heads import REFUSED_REQUESTS
from tests.kit.memory_port import MemoryPort
from tests.kit.probes import CHUNKED

CAPS = frozenset({"ticket"})
ONE = [("one.test", CAPS)]
GET = b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n"


def asked(world: HandEdge, data: bytes) -> tuple[bytes, bytes]:
    """What a new visitor with this request gets at once, and what reached a service."""
    before = len(world.opener.streams)
    visitor = world.visitor()
    world.send(visitor, data)
    return bytes(visitor.incoming), b"".join(bytes(one.incoming) for one in world.opener.streams[before:])


# -- D-V2
OURS = (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host")
FORGED = (*OURS, b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"X-Forwarded-Server", b"X-Forwarded-Ssl", b"X-Forwarded",
          b"Forwarded", b"X-Real-IP")  # fmt: skip


@pytest.mark.parametrize("spell", [bytes, bytes.lower, bytes.upper, bytes.swapcase])
def test_what_only_the_edge_may_say_can_be_neither_said_nor_taken_away(spell: type[bytes]) -> None:
    world = HandEdge(ONE)
    forged = b"".join(spell(name) + b": 6.6.6.6\r\n" for name in FORGED)
    listed = b"Connection: " + b", ".join(spell(name) for name in (*FORGED, b"Host", b"Content-Length")) + b"\r\n"
    _, got = asked(world, GET[:-2] + forged + listed + forged + b"Content-Length: 5\r\n\r\nhello")
    assert b"6.6.6.6" not in got
    assert got == (
        b"GET / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 5\r\nX-Forwarded-For: %b\r\n"
        b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: one.test\r\n\r\nhello" % ADDRESS[0].encode()
    )
    world.over()


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("fold", [b"_", b".", b"~", b"!"])
def test_nor_in_a_spelling_that_a_service_might_fold(name: bytes, fold: bytes) -> None:
    world = HandEdge(ONE)
    for spelling in {name.replace(b"-", fold), name.replace(b"-", fold, 1)} - {name}:
        got, reached = asked(world, GET[:-2] + spelling + b": 6.6.6.6\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 400 ")
        assert not reached
    world.over()


# -- D-V5
SPELLINGS = (
    b"one.test",
    b"ONE.TEST",
    b"One.Test",
    b"one.test.",
    b"one.test:80",
    b"one.test:8080",
    b"ONE.test.:80",
    b" one.test\t",
)
OTHERS = (b"two.test", b"one.test.evil", b"xone.test", b"one", b"test", b"one.tes", b"_one.test", b"one-test", b"127.0.0.1",
          b"[::1]", b"xn--one.test", b"one.test.test", b"0ne.test")  # fmt: skip


@pytest.mark.parametrize("others", [0, 300])
def test_hosts_mean_the_same_however_many_there_are(others: int) -> None:
    world = HandEdge([*((f"host-{number}.test", CAPS) for number in range(others)), *ONE])
    for spelling in SPELLINGS:
        _, got = asked(world, b"GET / HTTP/1.1\r\nHost:" + spelling + b"\r\n\r\n")
        assert got.startswith(b"GET / HTTP/1.1\r\nHost:" + spelling.rstrip()), spelling
    for spelling in OTHERS:
        answer, got = asked(world, b"GET / HTTP/1.1\r\nHost: " + spelling + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404 "), spelling
        assert not got
    for name, (status, raw) in REFUSED_REQUESTS.items():
        if name.startswith("host:"):
            answer, got = asked(world, raw.replace(b"a.test", b"one.test"))
            assert answer.startswith(b"HTTP/1.1 %d " % status), name
            assert not got
    world.over()


# -- D-V8
def _padded(size: int) -> bytes:
    """A head of this many bytes."""
    start = GET[:-2] + b"X: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("fits", "over", "status"),
    [
        (b"GET /" + b"a" * (LINE_CAP - 14) + GET[5:], b"GET /" + b"a" * (LINE_CAP - 13) + GET[5:], 414),
        (_padded(HEAD_CAP), _padded(HEAD_CAP + 1), 431),
        (GET[:-2] + b"A: b\r\n" * (FIELD_CAP - 1) + b"\r\n", GET[:-2] + b"A: b\r\n" * FIELD_CAP + b"\r\n", 431),
        (
            CHUNKED + b"0\r\n" + b"A: b\r\n" * TRAILERS_MAX + b"\r\n",
            CHUNKED + b"0\r\n" + b"A: b\r\n" * (TRAILERS_MAX + 1) + b"\r\n",
            400,
        ),
        (CHUNKED + b"1;" + b"a" * 1023 + b"\r\nx\r\n", CHUNKED + b"1;" + b"a" * 1024 + b"\r\nx\r\n", 400),
        (
            CHUNKED + b"0\r\nA:" + b"b" * (8192 - 5) + b"\r\n\r\n",
            CHUNKED + b"0\r\nA:" + b"b" * (8192 - 4) + b"\r\n\r\n",
            400,
        ),
        (CHUNKED + b"f" * 15 + b"\r\n", CHUNKED + b"f" * 16 + b"\r\n", 400),
    ],
    ids=["line", "head", "fields", "trailers", "extension", "trailer bytes", "chunk size"],
)
def test_caps_at_the_limit_and_one_past_it(fits: bytes, over: bytes, status: int) -> None:
    world = HandEdge(ONE)
    got, reached = asked(world, fits)
    assert not got
    assert reached.startswith((b"GET /", b"POST /"))
    got, reached = asked(world, over)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert not reached
    world.over()


# -- D-V9
MARK = b"zq9mark"
REFLECTED = {
    "bad_request": b"GET /%b HTTP/1.1\r\nHost: one.test\r\n%b : x\r\n\r\n" % (MARK, MARK),
    "tunnel_not_found": b"GET /%b?%b HTTP/1.1\r\nHost: %b.test\r\nReferer: http://%b/\r\nCookie: %b\r\n\r\n"
    % ((MARK,) * 5),
    "not_implemented": b"TRACE /%b HTTP/1.1\r\nHost: one.test\r\nX: %b\r\n\r\n" % (MARK, MARK),
    "expectation_failed": b"%b / HTTP/1.1\r\nHost: one.test\r\nExpect: %b\r\n\r\n" % (MARK, MARK),
    "uri_too_long": b"GET /" + MARK * 3000 + b" HTTP/1.1\r\nHost: one.test\r\n\r\n",
    "head_too_large": b"GET / HTTP/1.1\r\nHost: one.test\r\nX: " + MARK * 10_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("code", REFLECTED)
@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"text/plain", b"image/zq9mark"])
def test_nothing_of_the_request_stands_on_an_error_page(code: str, accept: bytes) -> None:
    world = HandEdge(ONE)
    raw = REFLECTED[code].replace(b"Host:", b"Accept: " + accept + b"\r\nHost:", 1)
    got, _ = asked(world, raw)
    assert got.startswith(b"HTTP/1.1 %d " % CODES[code].status)
    assert b"Ngrok-Error-Code: " + code.encode() in got
    assert b"X-Content-Type-Options: nosniff" in got
    assert MARK not in got.lower()
    world.over()


# -- D-M4
def _cut_at(size: int, answer: bytes, *, reset: bool) -> tuple[MemoryPort, bytes]:
    world = HandEdge(ONE)
    visitor = world.visitor()
    world.send(visitor, GET)
    service = world.opener.streams[0]
    service.write(answer[:size])
    world.reactor.settle()
    if reset:
        service.abort()
    else:
        service.close()
    world.reactor.settle()
    got = bytes(visitor.incoming)
    world.over()
    return visitor, got


@pytest.mark.parametrize(
    ("framing", "reset"),  # an orderly end is what ends an answer until close
    [("length", True), ("length", False), ("chunks", True), ("chunks", False), ("until close", True)],
)
def test_an_answer_cut_at_every_kibibyte_is_never_complete(framing: str, reset: bool) -> None:
    body = bytes(100 << 10)
    if framing == "length":
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    elif framing == "chunks":
        pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + body
    for size in range(0, len(answer) - 1, 1024):
        visitor, got = _cut_at(size, answer, reset=reset)
        if size:
            assert visitor._reset, size
            assert got.startswith(b"HTTP/1.1 200 ")
        else:
            assert got.startswith(b"HTTP/1.1 502 ")

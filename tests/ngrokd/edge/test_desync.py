"""Desynchronisation that no single head shows: pauses, early answers, expectations, upgrades within a body, bodies where
none may be, floods of interim answers. A poisoned connection may be a proxy's, with many users behind it: so whatever
two programs could disagree on ends a stream, and what is left of it reaches nobody."""

from __future__ import annotations

import pytest

from tests.kit.handedge import HandEdge
from tests.kit.memory_port import MemoryPort
from tests.kit.probes import CHUNKED, CL, GET, POST, SMUGGLED

NATIVE = [("one.test", frozenset({"ticket"}))]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def taken(port: MemoryPort) -> bytes:
    data = bytes(port.incoming)
    port.incoming.clear()
    return data


def begun(world: HandEdge, data: bytes, *, room: int = 1 << 20) -> tuple[MemoryPort, MemoryPort, bytes]:
    """A visitor that has sent `data`, the first stream's service, and what that has got."""
    visitor = world.visitor(room)
    world.send(visitor, data)
    service = world.opener.streams[-1]
    return visitor, service, taken(service)


def say(world: HandEdge, service: MemoryPort, data: bytes) -> None:
    service.write(data)
    world.reactor.settle()


# -- pauses
@pytest.mark.parametrize("framing", [CL + b"46\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_that_pauses_past_the_limit_is_no_request_afterwards(framing: bytes) -> None:
    """RFC 9112, 9.5: who gives up waiting must not go on with what comes then (pause-based desync)."""
    world = HandEdge(NATIVE)
    visitor, service, head = begun(world, POST + framing)
    assert head.startswith(b"POST / ")
    world.pass_time(41, 1)
    assert taken(visitor).startswith(b"HTTP/1.1 408 ")
    world.send(visitor, SMUGGLED)
    assert service._reset
    assert not taken(visitor)
    assert len(world.opener.streams) == 1
    world.over()


def test_a_head_that_pauses_past_the_limit_is_no_request_afterwards() -> None:
    world = HandEdge(NATIVE)
    visitor = world.visitor()
    world.send(visitor, GET)
    world.pass_time(11, 1)
    assert taken(visitor).startswith(b"HTTP/1.1 408 ")
    world.send(visitor, b"\r\n" + SMUGGLED)
    assert not world.opener.streams
    world.over()


# -- early answers
def test_who_answers_before_the_body_is_over_gets_no_further_request() -> None:
    """RFC 9112, 9.3: a service that has not read the body would have to close; one that doesn't takes the rest of it for
    a request (CL.0, 0.CL and its early-answer gadgets). The visitor's connection lives on, on a fresh stream."""
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, POST + CL + b"%d\r\n\r\n" % len(SMUGGLED))
    say(world, service, OK)
    assert taken(visitor) == OK
    world.send(visitor, SMUGGLED + GET + b"\r\n")
    assert taken(service) == SMUGGLED  # the body, where it belongs
    assert service._ended
    fresh = world.opener.streams[1]
    assert taken(fresh).startswith(b"GET / ")
    say(world, fresh, OK)
    assert taken(visitor) == OK
    world.over()


def test_both_ways_at_once_is_no_early_answer_until_it_ends() -> None:
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, CHUNKED)
    say(world, service, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n")
    world.send(visitor, b"1\r\na\r\n")
    assert taken(service) == b"1\r\na\r\n"
    world.send(visitor, b"0\r\n\r\n")
    assert taken(service) == b"0\r\n\r\n"
    say(world, service, b"0\r\n\r\n")
    assert taken(visitor).endswith(b"1\r\nA\r\n0\r\n\r\n")
    world.send(visitor, GET + b"\r\n")
    assert taken(world.opener.streams[1]).startswith(b"GET / ")
    world.over()


def test_the_answer_to_a_smuggled_body_reaches_nobody() -> None:
    """A service that reads the body as a request answers twice: the second answer ends its stream."""
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, POST + CL + b"%d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
    say(world, service, OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
    assert taken(visitor) == OK
    world.send(visitor, GET + b"\r\n")
    say(world, world.opener.streams[1], OK)
    assert taken(visitor) == OK
    assert service.far.closed
    world.over()


# -- expectations
def test_a_final_answer_without_100_ends_the_connection() -> None:
    """RFC 9110, 10.1.1: nobody knows whether the body still comes, so what comes is no request."""
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, POST + b"Expect: 100-continue\r\n" + CL + b"5\r\n\r\n")
    say(world, service, b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in taken(visitor)
    world.send(visitor, SMUGGLED)
    assert len(world.opener.streams) == 1
    assert service.far.closed
    assert not taken(visitor)
    world.over()


def test_a_100_that_nobody_asked_for_is_not_passed_on() -> None:
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, GET + b"Expect: 100-continue\r\n\r\n")
    say(world, service, b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert taken(visitor) == OK
    world.over()


def test_a_100_with_a_body_is_502() -> None:
    """RFC 9112, 6.3: interim answers end with their head, whatever they say."""
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, POST + b"Expect: 100-continue\r\n" + CL + b"5\r\n\r\n")
    say(world, service, b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + OK)
    got = taken(visitor)
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 ")
    assert service._reset
    world.over()


# -- interim answers
@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"102 P", b"199 X"])
def test_a_flood_of_interim_answers_is_502(status: bytes) -> None:
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, GET + b"\r\n")
    for _ in range(40):
        if not service.far.closed:
            say(world, service, b"HTTP/1.1 %b\r\n\r\n" % status)
    got = taken(visitor)
    assert got.count(b"HTTP/1.1 1") <= 32
    assert got.count(b"HTTP/1.1 502 ") == 1
    assert service._reset
    world.over()


# -- bodies where there are none
@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: one.test\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\nHost: one.test\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (GET + b"\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (GET + b"\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET + b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("body", [b"hello", b"5\r\nhello\r\n0\r\n\r\n", OK])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_where_none_may_be_reaches_nobody(request_: bytes, answer: bytes, body: bytes, at_once: bool) -> None:
    """RFC 9112, 6.3. Also the second time, when the edge knows the answer by heart."""
    world = HandEdge(NATIVE)
    visitor = world.visitor()
    for number in range(2):
        world.send(visitor, request_)
        service = world.opener.streams[number]
        assert taken(service)
        if at_once:
            say(world, service, answer + body)
        else:
            say(world, service, answer)
            say(world, service, body)
        assert taken(visitor) == answer
    world.send(visitor, GET + b"\r\n")
    assert len(world.opener.streams) == 3
    world.over()


# -- upgrades
def test_a_101_before_the_body_is_over_is_502() -> None:
    """RFC 9110, 7.8: the request must be honoured first; what is still to come would be its body for one, and raw bytes
    for the other."""
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, POST + UPGRADE + CL + b"10\r\n\r\nhello")
    say(world, service, SWITCH)
    assert taken(visitor).startswith(b"HTTP/1.1 502 ")
    assert service._reset
    world.over()


def test_a_101_behind_the_body_is_an_upgrade() -> None:
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, POST + UPGRADE + CL + b"5\r\n\r\nhello")
    say(world, service, SWITCH)
    assert taken(visitor) == SWITCH
    world.send(visitor, SMUGGLED)
    assert taken(service) == SMUGGLED  # raw: nobody's request any more
    world.over()


@pytest.mark.parametrize("protocol", [b"h2c", b"h2", b"HTTP/2.0", b"websocket, h2c", b"foo", b"TLS/1.3"])
def test_a_101_to_something_else_is_502(protocol: bytes) -> None:
    world = HandEdge(NATIVE)
    visitor, service, _ = begun(world, GET + UPGRADE + b"\r\n")
    say(world, service, SWITCH.replace(b"websocket", protocol))
    if protocol == b"websocket, h2c":
        assert b"h2c" not in taken(visitor)
    else:
        assert taken(visitor).startswith(b"HTTP/1.1 502 ")
    world.over()


def test_bytes_sent_before_the_101_wait_for_it() -> None:
    """A refused upgrade: they are the visitor's next request, routed and read like any other, and not the service's."""
    world = HandEdge(NATIVE)
    visitor, service, head = begun(world, GET + UPGRADE + b"\r\n" + b"GET / HTTP/1.1\r\nHost: two.test\r\n\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"HTTP/1.1") == 1
    say(
        world,
        service,
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
    )
    got = taken(visitor)
    assert got.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nUpgrade: websocket\r\n" in got
    assert b"HTTP/1.1 404 " in got
    assert not taken(service)
    world.over()

"""The exchange loop: routing and authorisation of every request, streams, pipelining, endings, time."""

from __future__ import annotations

import base64
import socket

import pytest
import trio
import trio.testing

from ngrokd.edge import patience as patience_module
from ngrokd.edge import visitor as visitor_module
from ngrokd.edge.patience import STALL_SECONDS, UPLOAD_SECONDS, VERDICT_SECONDS
from ngrokd.edge.verdict import GOOD_VERDICT
from ngrokd.edge.visitor import HEAD_SECONDS, IDLE_SECONDS
from protocol.link.plain import PlainPort
from protocol.link.port import PortBroken
from tests.kit.edgeworld import World, asked, edge_world, read_exactly, read_to_end, read_until
from tests.kit.handedge import HandEdge
from tests.kit.memory_port import MemoryPort

GET = b"GET /a?b=%20c HTTP/1.1\r\nHost: one.test\r\nX-Odd:  two  \r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Case: Kept\r\n\r\nok"
BODY = bytes(3 << 20)
UPLOAD = b"POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: %d\r\n\r\n" % len(BODY)

on_both = pytest.mark.parametrize("reactor", ["epoll", "tasks"])


async def exchange(world: World, visitor: trio.SocketStream, service: trio.SocketStream, request: bytes = GET) -> bytes:
    """One request and its answer over an open stream; the head that reached the service."""
    await visitor.send_all(request)
    head = await read_until(service, b"\r\n\r\n")
    await service.send_all(OK)
    assert (await read_exactly(visitor, len(OK))).endswith(b"\r\n\r\nok")
    return head


@on_both
async def test_a_request_goes_through_with_our_forwarding_lines(reactor: str) -> None:
    async with edge_world(reactor=reactor) as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET)
        service = await world.stream()
        head = await read_until(service, b"\r\n\r\n")
        assert head.startswith(b"GET /a?b=%20c HTTP/1.1\r\nHost: one.test\r\nX-Odd:  two  \r\n")
        assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in head
        assert b"\r\nX-Forwarded-Proto: http\r\n" in head
        assert b"\r\nX-Forwarded-Host: one.test\r\n" in head
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK
        assert world.opener.starts[0].client_addr == "192.0.2.7:4711"


@on_both
async def test_a_connection_is_kept_and_its_stream_too(reactor: str) -> None:
    async with edge_world(reactor=reactor) as world:
        tunnel = world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET)
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        await service.send_all(OK)
        await read_exactly(visitor, len(OK))
        for _ in range(5):
            await exchange(world, visitor, service)
        assert world.no_stream()
        assert tunnel.traffic.connections == tunnel.traffic.live == 1


async def test_every_request_is_routed_on_its_own() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        world.tunnel("two.test")
        visitor = world.visitor()
        await visitor.send_all(GET + GET.replace(b"one", b"two") + GET)
        for host in (b"one", b"two", b"one"):
            service = await world.stream()
            assert b"Host: %b.test" % host in await read_until(service, b"\r\n\r\n")
            await service.send_all(OK)
            await read_exactly(visitor, len(OK))
        assert [start.url for start in world.opener.starts] == ["http://one.test", "http://two.test", "http://one.test"]


async def test_every_request_is_authorised_on_its_own() -> None:
    login = b"Authorization: Basic " + base64.b64encode(b"user:pass") + b"\r\n\r\n"
    async with asked(GET[:-2] + login, auth="user:pass") as (_, visitor, service):
        await service.send_all(OK)
        await read_exactly(visitor, len(OK))
        await visitor.send_all(GET)
        answer = await read_to_end(visitor)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b'WWW-Authenticate: Basic realm="ngrok"' in answer
        assert await read_to_end(service) == b""


async def test_hosts_are_one_name_however_they_are_spelt() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        for host in (b"ONE.Test", b"one.test.", b"one.test:80", b"one.test:8080"):
            visitor = world.visitor()
            await visitor.send_all(GET.replace(b"one.test", host))
            assert b"Host: " + host in await read_until(await world.stream(), b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET.replace(b"one", b"none"), b"404"),
        (GET.replace(b"Host: one.test\r\n", b""), b"400"),
        (GET.replace(b"\r\n\r\n", b"\r\nHost: two.test\r\n\r\n"), b"400"),
        (b"GET / HTTP/1.1\nHost: one.test\n\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"CONNECT one.test:443 HTTP/1.1\r\nHost: one.test:443\r\n\r\n", b"501"),
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: one.test\r\nA: " + b"a" * 70_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    ],
)
async def test_bad_requests_die_at_the_edge(request_bytes: bytes, status: bytes) -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(request_bytes)
        answer = await read_to_end(visitor)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"Connection: close\r\n" in answer
        assert b"Ngrok-Error-Code: " in answer
        if not world.no_stream():  # opened for a request whose first body bytes were bad: nothing was sent on it
            with pytest.raises(trio.BrokenResourceError):
                await read_to_end(await world.stream())


async def test_an_offline_name_is_told_from_an_unknown_one() -> None:
    async with edge_world() as world:
        world.away.add("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET)
        answer = await read_to_end(visitor)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer


async def test_sni_and_host_must_agree() -> None:
    async with edge_world("https") as world:
        world.tunnel("one.test", protocol="https")
        visitor = world.visitor(server_name="two.test")
        await visitor.send_all(GET)
        assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 421 ")
        assert world.no_stream()


async def test_a_silent_agent_is_504() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        world.opener.refuse = True
        visitor = world.visitor()
        await visitor.send_all(GET)
        assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 504 ")


async def test_a_visitor_that_leaves_while_it_waits_gives_its_place_back() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        world.opener.silent = True
        visitor = world.visitor()
        await visitor.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        world.edge.abort()
        assert world.opener.cancelled == 1


async def test_a_stream_that_died_between_exchanges_is_replaced() -> None:
    async with asked(GET) as (world, visitor, first):
        await first.send_all(OK)
        await read_exactly(visitor, len(OK))
        await first.aclose()
        await visitor.send_all(GET)
        second = await world.stream()
        await read_until(second, b"\r\n\r\n")
        await second.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK


async def test_a_request_that_crossed_the_closing_of_its_stream_is_sent_again_once() -> None:
    async with asked(GET) as (world, visitor, first):
        await first.send_all(OK)
        await read_exactly(visitor, len(OK))
        await visitor.send_all(GET)
        await read_until(first, b"\r\n\r\n")
        await first.aclose()  # read, but not one byte of an answer
        second = await world.stream()
        assert b"GET /a" in await read_until(second, b"\r\n\r\n")
        await second.aclose()
        assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 502 ")
        assert world.no_stream()


async def test_a_post_is_not_sent_again() -> None:
    post = b"POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 1\r\n\r\nx"
    async with asked(GET) as (world, visitor, first):
        await first.send_all(OK)
        await read_exactly(visitor, len(OK))
        await visitor.send_all(post)
        await read_until(first, b"\r\n\r\nx")
        await first.aclose()
        assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 502 ")
        assert world.no_stream()


@pytest.mark.parametrize(("gone", "code"), [(True, b"504"), (False, b"502")])
async def test_a_link_that_is_lost_is_not_the_service_s_fault(
    monkeypatch: pytest.MonkeyPatch, gone: bool, code: bytes
) -> None:
    monkeypatch.setattr(PlainPort, "carrier_gone", gone)
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET)
        await (await world.stream()).aclose()
        answer = await read_to_end(visitor)
        assert answer.startswith(b"HTTP/1.1 %b " % code)
        assert (b"\r\nNgrok-Error-Code: agent_silent\r\n" in answer) is gone


async def test_close_is_passed_on_and_kept() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET[:-2] + b"Connection: close\r\n\r\n")
        service = await world.stream()
        assert (await read_until(service, b"\r\n\r\n")).count(b"Connection: close") == 1
        await service.send_all(OK)
        answer = await read_to_end(visitor)
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"ok")


async def test_a_half_closed_visitor_gets_its_answer() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(GET)
        await visitor.send_eof()
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        assert await read_to_end(service) == b""  # a native agent hears of it
        await service.send_all(OK)
        assert await read_to_end(visitor) == OK  # and nothing keeps a connection that can't bring another request


async def test_a_classic_agent_does_not_hear_of_a_half_close() -> None:
    async with edge_world() as world:
        world.tunnel("one.test", caps=frozenset())
        visitor = world.visitor()
        await visitor.send_all(GET)
        await visitor.send_eof()
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.05) as waited:
            await service.receive_some()
        assert waited.cancelled_caught
        await service.send_all(OK)
        assert await read_exactly(visitor, len(OK)) == OK
        assert world.opener.starts[0].conn_id is None


@pytest.mark.parametrize("caps", [frozenset(), frozenset({"ticket"})])
async def test_a_visitor_that_half_closed_and_then_left_is_noticed(caps: frozenset[str]) -> None:
    async with edge_world() as world:
        world.tunnel("one.test", caps=caps)
        visitor = world.visitor()
        await visitor.send_all(GET)
        await visitor.send_eof()
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await visitor.aclose()
        with trio.fail_after(5):
            while world.edge.visitors:
                await trio.sleep(0.001)


async def test_a_visitor_that_left_does_not_stay_with_a_classic_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (visitor_module, patience_module):
        monkeypatch.setattr(module, "STALL_SECONDS", 0.01)
    async with asked(GET, caps=frozenset()) as (_, visitor, service):
        await visitor.aclose()
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await service.receive_some()


@pytest.mark.parametrize(("method", "again"), [(b"GET", True), (b"DELETE", True), (b"POST", False)])
async def test_a_classic_link_that_ends_without_a_byte_is_replaced_once(method: bytes, again: bool) -> None:
    """A 1.7 client does so when a visitor comes before it has read its NewTunnel."""
    async with edge_world() as world:
        world.tunnel("one.test", caps=frozenset())
        visitor = world.visitor()
        await visitor.send_all(GET.replace(b"GET", method))
        await (await world.stream()).aclose()
        if again:
            service = await world.stream()
            assert (await read_until(service, b"\r\n\r\n")).startswith(method + b" /a?b=%20c HTTP/1.1\r\n")
            await service.aclose()
        assert b" 502 " in await read_until(visitor, b"\r\n")
        assert world.no_stream()


async def test_a_head_in_single_bytes() -> None:
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        for number in range(len(GET)):
            await visitor.send_all(GET[number : number + 1])
        service = await world.stream()
        await read_until(service, b"\r\n\r\n")


async def test_an_upgrade_becomes_raw_both_ways() -> None:
    upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n"
    async with edge_world() as world:
        world.tunnel("one.test")
        visitor = world.visitor()
        await visitor.send_all(upgrade + b"early bytes")
        service = await world.stream()
        head = await read_until(service, b"\r\n\r\n")
        assert b"Upgrade: WebSocket" in head
        assert head.endswith(b"\r\n\r\n")  # early bytes wait for the 101
        await service.send_all(switch + b"from the service")
        answer = await read_until(visitor, b"from the service")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert await read_exactly(service, 11) == b"early bytes"
        await visitor.send_all(b"\x00\xff raw")
        assert await read_exactly(service, 6) == b"\x00\xff raw"
        await service.send_eof()
        assert await read_to_end(visitor) == b""
        await visitor.send_all(b"still open this way")
        assert await read_exactly(service, 19) == b"still open this way"
        await visitor.aclose()
        assert await read_to_end(service) == b""


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"])
async def test_without_101_early_bytes_are_a_request_like_any_other(answer: bytes) -> None:
    upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with asked(upgrade + b"GET /smuggled HTTP/1.1\r\nHost: other.test\r\n\r\n") as (_, visitor, service):
        await service.send_all(answer)
        got = await read_to_end(visitor)
        assert got.startswith(answer[:12])
        assert b"HTTP/1.1 404 " in got
        assert await read_to_end(service) == b""


async def test_drain_ends_a_kept_connection_with_its_next_answer() -> None:
    async with asked(GET) as (world, visitor, service):
        await service.send_all(OK)
        await read_exactly(visitor, len(OK))
        world.edge.drain()
        await visitor.send_all(GET)
        await read_until(service, b"\r\n\r\n")
        await service.send_all(OK)
        assert b"\r\nConnection: close\r\n" in await read_to_end(visitor)


def timed(caps: frozenset[str] = frozenset({"ticket"})) -> tuple[HandEdge, MemoryPort]:
    """A world in memory with the tunnel one.test, in which the test turns the clock; a visitor's end."""
    world = HandEdge([("one.test", caps)])
    return world, world.visitor(room=1 << 24)


def asks(data: bytes, caps: frozenset[str] = frozenset({"ticket"})) -> tuple[HandEdge, MemoryPort, MemoryPort]:
    """The same when the visitor has sent `data`; its end and the service's. The stream takes a MiB before it is read."""
    world, visitor = timed(caps)
    world.send(visitor, data)
    return world, visitor, world.opener.streams[0]


def got(world: HandEdge, port: MemoryPort) -> bytes:
    """Everything that comes when somebody reads there for as long as there is something."""
    data = b""
    while view := port.read():
        data += view
        world.reactor.settle()
    return data


def is_closed(visitor: MemoryPort) -> bool:
    """Whether the edge has let go of this visitor."""
    return visitor.far.closed


def has_ended(port: MemoryPort) -> bool:
    """Whether whoever reads there finds the end next."""
    return port._ended and not port.incoming


class TestTime:
    """Deadlines, by the clock of the test and in memory: no waiting, and no kernel to wait for."""

    def test_a_silent_visitor_is_closed(self) -> None:
        world, visitor = timed()
        world.pass_time(HEAD_SECONDS - 1, 1)
        assert not is_closed(visitor)
        world.pass_time(1, 1)
        assert is_closed(visitor)
        assert got(world, visitor) == b""
        world.over()

    def test_a_trickle_does_not_move_the_head_deadline(self) -> None:
        world, visitor = timed()
        for number in range(int(HEAD_SECONDS)):
            assert got(world, visitor) == b""
            world.send(visitor, GET[number : number + 1])
            world.pass_time(1, 1)
        assert got(world, visitor).startswith(b"HTTP/1.1 408 ")
        world.over()

    def test_an_idle_connection_is_closed(self) -> None:
        world, visitor, service = asks(GET)
        world.send(service, OK)
        assert got(world, visitor) == OK
        world.pass_time(IDLE_SECONDS - 1, 1)
        assert not is_closed(visitor)
        world.pass_time(2, 1)
        assert is_closed(visitor)
        assert got(world, visitor) == b""
        world.over()

    def test_an_answer_may_take_its_time(self) -> None:
        world, visitor, service = asks(GET)
        world.pass_time(3600)
        world.send(service, OK)
        assert got(world, visitor) == OK
        world.over()

    def test_a_stalled_upload_is_cut(self) -> None:
        world, visitor, service = asks(b"POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 9000\r\n\r\nhalf")
        assert got(world, service).endswith(b"half")
        world.pass_time(2 * STALL_SECONDS)
        assert got(world, visitor).startswith(b"HTTP/1.1 408 ")
        with pytest.raises(PortBroken):
            service.read()
        world.over()

    def test_a_verdict_that_does_not_come_is_504(self) -> None:
        world, visitor, _ = asks(GET, frozenset({"mux", "verdict"}))
        world.pass_time(VERDICT_SECONDS - 1, 1)
        assert got(world, visitor) == b""
        world.pass_time(1, 1)
        answer = got(world, visitor)
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert b"\r\nNgrok-Error-Code: agent_silent\r\n" in answer
        world.over()

    def test_after_the_verdict_an_answer_may_take_its_time(self) -> None:
        world, visitor, service = asks(GET, frozenset({"mux", "verdict"}))
        world.send(service, GOOD_VERDICT)
        world.pass_time(3600)
        world.send(service, OK)
        assert got(world, visitor) == OK
        world.over()

    def test_an_upload_that_the_service_does_not_read_ends(self) -> None:
        world, visitor, _ = asks(UPLOAD + BODY)
        world.pass_time(UPLOAD_SECONDS - 5)
        assert got(world, visitor) == b""
        world.pass_time(2 * STALL_SECONDS)
        answer = got(world, visitor)
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert b"\r\nNgrok-Error-Code: upstream_timeout\r\n" in answer
        world.over()

    def test_a_service_may_begin_to_read_late(self) -> None:
        world, visitor, service = asks(UPLOAD + BODY)
        world.pass_time(UPLOAD_SECONDS - STALL_SECONDS)
        assert len(service.incoming) < len(BODY)  # the rest waits for it
        assert got(world, service).endswith(b"\r\n\r\n" + BODY)
        world.pass_time(UPLOAD_SECONDS + STALL_SECONDS)  # for its answer there is no limit
        world.send(service, OK)
        assert got(world, visitor) == OK
        world.over()

    def test_an_early_answer_ends_in_order_when_the_rest_is_not_read(self) -> None:
        world, visitor, service = asks(UPLOAD)
        world.send(service, OK)
        world.send(visitor, BODY)
        assert got(world, visitor) == OK
        world.pass_time(UPLOAD_SECONDS - 5)
        assert not has_ended(visitor)
        world.pass_time(2 * STALL_SECONDS)
        assert has_ended(visitor)
        assert got(world, visitor) == b""
        world.over()


async def test_draining_ends_a_connection_only_behind_an_answer_that_said_so() -> None:
    """An answer that had begun before the drain promised another request."""
    async with edge_world() as world:
        world.tunnel("a.example")
        visitor = world.visitor()
        await visitor.send_all(b"GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n")
        stream = await world.stream()
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        assert b"lose" not in await read_until(visitor, b"\r\n\r\n")
        world.edge.drain()
        await stream.send_all(b"hi")
        assert await read_exactly(visitor, 2) == b"hi"
        await visitor.send_all(b"GET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n")
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert b"Connection: close" in await read_to_end(visitor)

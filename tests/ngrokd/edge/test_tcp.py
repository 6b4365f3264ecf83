"""TCP tunnels: ports are given out by the rules and change hands; who comes in, from behind a proxy, too."""

from __future__ import annotations

import contextlib
import socket

import pytest
import structlog
import trio

from ngrokd.edge.crowd import CrowdLimits
from ngrokd.edge.tcp import TcpEdge
from ngrokd.policy import Policy
from ngrokd.settings import PortRange
from ngrokd.tunnel import Tunnel
from protocol.errors import Fault
from protocol.proxy_header import encode
from tests.kit.edgeworld import read_exactly
from tests.kit.ports import running
from tests.kit.tcpworld import ANY, NATIVE, is_reset, tcp_world


async def test_addresses_that_are_denied_meet_a_reset() -> None:
    async with tcp_world(policy=Policy.compile("", {"deny_ips": ["127.0.0.0/8"]})) as w:
        assert await is_reset(w)
        assert w.agent.starts == []


async def test_stopping_closes_the_port_and_lets_visitors_be() -> None:
    async with tcp_world() as w, await w.visit() as visitor:
        stream = await w.stream()
        w.edge.stop(w.tunnel)
        w.edge.stop(w.tunnel)
        w.edge.stop_accepting()
        with pytest.raises(OSError):
            await w.visit()
        await visitor.send_all(b"still here")
        assert await stream.receive_some() == b"still here"


async def test_aborting_resets_visitors() -> None:
    async with tcp_world() as w, await w.visit() as visitor:
        await w.stream()
        w.edge.abort()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
    async with tcp_world(caps=NATIVE) as w, await w.visit() as visitor:
        await w.stream()
        w.edge.abort()  # before the verdict
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()


async def test_a_visitor_comes_by_ipv6_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with tcp_world() as w, await trio.open_tcp_stream("::1", w.port):
        await w.stream()
        assert w.agent.starts[0].client_addr.startswith("[::1]:")


# -- ports
async def test_ports_outside_the_range_are_not_given_out() -> None:
    async with running("epoll") as reactor:
        edge = TcpEdge(reactor, PortRange(40000, 40100), structlog.get_logger())
        for port in (22, 39999, 40101, 65535):
            with pytest.raises(Fault) as caught:
                edge.bind(port)
            assert caught.value.code == "port_not_allowed"
        bound = edge.bind(0)
        assert 40000 <= bound.port <= 40100
        with pytest.raises(Fault) as caught:
            edge.bind(bound.port)
        assert caught.value.code == "port_taken"
        bound.close()


async def test_a_port_changes_hands_without_a_moment_in_which_nobody_has_it() -> None:
    async with tcp_world() as w:
        bound = w.edge.bind(w.port, w.tunnel)  # while the old tunnel is served
        async with await w.visit() as visitor:
            await (await w.stream()).send_all(b"old")
            assert await visitor.receive_some() == b"old"
        w.edge.stop(w.tunnel)
        async with await w.visit() as waiting:  # nobody accepts: it waits in the kernel's queue
            heir = Tunnel("t2", w.tunnel.url, "tcp", "", w.port, w.tunnel.session, None)
            w.agent.arrived = trio.Event()
            w.edge.serve(bound, heir)
            await (await w.stream()).send_all(b"new")
            assert await waiting.receive_some() == b"new"
        assert heir.traffic.connections == w.tunnel.traffic.connections == 1
        w.edge.stop(heir)


async def test_a_port_that_may_not_be_had_any_more_stays_with_its_tunnel() -> None:
    async with tcp_world() as w:
        w.edge.ports = PortRange(1024, 1024)  # reloaded settings
        with pytest.raises(Fault) as caught:
            w.edge.bind(w.port, w.tunnel)
        assert caught.value.code == "port_not_allowed"
        async with await w.visit() as visitor:
            await (await w.stream()).send_all(b"still here")
            assert await visitor.receive_some() == b"still here"


async def test_a_full_range_says_so() -> None:
    async with running("epoll") as reactor:
        with socket.create_server(("", 0)) as taken:
            port = taken.getsockname()[1]
            edge = TcpEdge(reactor, PortRange(port, port), structlog.get_logger())
            with pytest.raises(Fault) as caught:
                edge.bind(0)
            assert caught.value.code == "no_port"


async def test_ports_of_a_predecessor_are_given_to_who_asks_for_them() -> None:
    async with running("epoll") as reactor:
        edge = TcpEdge(reactor, ANY, structlog.get_logger())
        first, second = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        port = first.getsockname()[1]
        edge.inherit([first, second])
        bound = edge.bind(port)
        assert bound.sock is first
        with pytest.raises(Fault):
            edge.bind(port)  # it is in use, as any port that somebody has
        with trio.fail_after(5):
            await edge.expire_inherited(0)
        assert second.fileno() == -1
        assert first.fileno() >= 0
        bound.close()


# -- behind a proxy
VISITOR = ("203.0.113.7", 4711)


@pytest.mark.parametrize("kind", ["epoll", "tasks"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [1, 1000])
async def test_a_proxy_says_who_its_visitor_is(kind: str, version: int, size: int) -> None:
    async with tcp_world(kind, proxies="127.0.0.0/8") as w:
        visitor = await w.visit()
        data = encode(version, VISITOR) + b"hello"
        for start in range(0, len(data), size):
            await visitor.send_all(data[start : start + size])
            await trio.lowlevel.checkpoint()
        stream = await w.stream()
        assert await read_exactly(stream, 5) == b"hello"
        assert w.agent.starts[0].client_addr == "203.0.113.7:4711"
        await stream.send_all(b"answer")
        assert await read_exactly(visitor, 6) == b"answer"
        await visitor.aclose()


async def test_the_service_speaks_first_behind_a_proxy_too() -> None:
    async with tcp_world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        await visitor.send_all(encode(1, VISITOR))
        stream = await w.stream()
        await stream.send_all(b"SSH-2.0-x")
        assert await read_exactly(visitor, 9) == b"SSH-2.0-x"
        await visitor.aclose()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", encode(2, None)])
async def test_a_proxy_that_speaks_for_itself_is_the_visitor(header: bytes) -> None:
    async with tcp_world(proxies="127.0.0.1", limits=CrowdLimits(of_one=1)) as w:
        visitors = [await w.visit() for _ in range(2)]  # such connections count for no address
        for visitor in visitors:
            await visitor.send_all(header)
        with trio.fail_after(5):
            while len(w.agent.starts) < 2:
                await trio.sleep(0.01)
        assert w.agent.starts[0].client_addr.startswith("127.0.0.1:")
        for visitor in visitors:
            await visitor.aclose()


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY " + b"x" * 200, b"PROXY TCP4 1.2", b""]
)
async def test_a_proxy_that_sends_no_header_is_refused(sent: bytes) -> None:
    async with tcp_world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        await visitor.send_all(sent)
        with contextlib.suppress(trio.BrokenResourceError):
            if sent in (b"", b"PROXY TCP4 1.2"):
                await visitor.send_eof()
            assert await visitor.receive_some() == b""
        assert not w.agent.starts
        await visitor.aclose()


async def test_a_proxy_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngrokd.edge.tcp_header.HEADER_SECONDS", 0.05)
    async with tcp_world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
        assert not w.agent.starts
        await visitor.aclose()


async def test_nobody_else_may_say_who_he_is() -> None:
    async with tcp_world(proxies="192.0.2.0/24") as w:
        visitor = await w.visit()
        await visitor.send_all(encode(1, VISITOR))
        stream = await w.stream()
        assert (await stream.receive_some()).startswith(b"PROXY TCP4 203.0.113.7 ")  # the service's business
        assert w.agent.starts[0].client_addr.startswith("127.0.0.1:")
        await visitor.aclose()


@pytest.mark.parametrize(("address", "comes"), [("203.0.113.7", True), ("198.51.100.1", False)])
async def test_address_lists_see_the_visitor_behind_the_proxy(address: str, comes: bool) -> None:
    policy = Policy.compile("", {"allow_ips": ["203.0.113.0/24"]})
    async with tcp_world(proxies="127.0.0.1", policy=policy) as w:
        visitor = await w.visit()
        await visitor.send_all(encode(2, (address, 1)))
        if comes:
            await w.stream()
        else:
            with pytest.raises(trio.BrokenResourceError):
                await visitor.receive_some()
        assert bool(w.agent.starts) is comes
        await visitor.aclose()


async def test_limits_per_address_count_the_visitor_behind_the_proxy() -> None:
    async with tcp_world(proxies="127.0.0.1", limits=CrowdLimits(of_one=1)) as w:
        first, second, other = [await w.visit() for _ in range(3)]
        await first.send_all(encode(1, VISITOR))
        await w.stream()
        await second.send_all(encode(1, (VISITOR[0], 9)))
        with pytest.raises(trio.BrokenResourceError):
            await second.receive_some()
        await other.send_all(encode(1, ("203.0.113.8", 1)))
        with trio.fail_after(5):
            while len(w.agent.starts) < 2:
                await trio.sleep(0.01)
        for visitor in (first, second, other):
            await visitor.aclose()


async def test_the_edge_ends_while_a_proxy_is_silent() -> None:
    async with tcp_world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        with trio.fail_after(5):
            while not w.crowd.live:
                await trio.sleep(0.01)
        w.edge.abort()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
        await visitor.aclose()


async def test_a_tunnel_whose_right_ends_takes_nobody_who_was_at_the_door() -> None:
    async with tcp_world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        with trio.fail_after(5):
            while not w.crowd.live:
                await trio.sleep(0.01)
        w.edge.stop(w.tunnel)
        w.edge.abort_visitors([w.tunnel])
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
        assert not w.agent.starts
        await visitor.aclose()

"""TCP tunnels: bytes, half-close and resets pass through; verdicts are taken off; ports are given out by the rules."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import trio

from ngrokd.edge import tcp
from ngrokd.edge.crowd import Crowd, CrowdLimits
from ngrokd.edge.tcp import TcpEdge
from ngrokd.opener import Cancel, Ready, agent_silent
from ngrokd.policy import Policy
from ngrokd.policy.addresses import AddressList
from ngrokd.settings import PortRange
from ngrokd.tunnel import Tunnel
from protocol.errors import Fault
from protocol.frames import frame
from protocol.link.plain import PlainPort
from protocol.link.port import ignore
from protocol.link.reactor import Reactor
from protocol.messages import Pong, StartProxy, StartProxyResp
from protocol.proxy_header import encode
from tests.kit.edgeworld import read_exactly
from tests.kit.ports import running, tcp_sockets

ANY = PortRange(1024, 65535)
NATIVE = frozenset({"verdict"})


class Agent:
    """An opener that gives plain ports and keeps their far ends."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.starts: list[StartProxy] = []
        self.arrived = trio.Event()
        self.refuse: Fault | None = None
        self.streams: list[trio.SocketStream] = []

    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        self.starts.append(start)
        if self.refuse is not None:
            ready(self.refuse)
            return ignore
        near, far = tcp_sockets()
        port = PlainPort(near)
        port.attach(self.reactor)
        far.setblocking(False)
        self.streams.append(trio.SocketStream(trio.socket.from_stdlib_socket(far)))
        self.arrived.set()
        ready(port)
        return ignore

    def close(self) -> None: ...


class World:
    def __init__(self, reactor: Reactor, caps: frozenset[str], policy: Policy | None) -> None:
        self.crowd = Crowd()
        self.edge = TcpEdge(reactor, ANY, structlog.get_logger(), self.crowd)
        self.agent = Agent(reactor)
        session: Any = SimpleNamespace(caps=caps, opener=self.agent, client_id="a")
        bound = self.edge.bind(0)
        self.port = bound.port
        self.tunnel = Tunnel("t1", f"tcp://me:{self.port}", "tcp", "", self.port, session, policy)
        self.edge.serve(bound, self.tunnel)

    async def visit(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def stream(self) -> trio.SocketStream:
        await self.agent.arrived.wait()
        return self.agent.streams[-1]


@contextlib.asynccontextmanager
async def world(
    kind: str = "epoll",
    *,
    caps: frozenset[str] = frozenset(),
    policy: Policy | None = None,
    proxies: str = "",
    limits: CrowdLimits | None = None,
) -> AsyncIterator[World]:
    async with running(kind) as reactor:
        found = World(reactor, caps, policy)
        found.edge.proxies = AddressList(proxies.split())
        found.crowd.limits = limits or CrowdLimits()
        with trio.fail_after(10):
            yield found
        found.edge.stop(found.tunnel)
        found.edge.abort()
        for stream in found.agent.streams:
            await stream.aclose()
        assert found.edge.live == 0
        assert found.crowd.live == 0
        assert found.tunnel.traffic.live == 0


async def until_left(found: World) -> None:
    while found.edge.live:
        await trio.sleep(0.001)


@pytest.mark.parametrize("kind", ["epoll", "tasks"])
async def test_bytes_go_both_ways_and_are_counted(kind: str) -> None:
    async with world(kind) as w:
        async with await w.visit() as visitor:
            stream = await w.stream()
            await visitor.send_all(b"question")
            assert await stream.receive_some() == b"question"
            await stream.send_all(b"an answer")
            assert await visitor.receive_some() == b"an answer"
            await stream.send_eof()
            assert await visitor.receive_some() == b""
        await until_left(w)
        assert (w.tunnel.traffic.connections, w.tunnel.traffic.up, w.tunnel.traffic.down) == (1, 8, 9)


async def test_the_service_may_speak_first() -> None:
    async with world() as w, await w.visit() as visitor:
        await (await w.stream()).send_all(b"220 hello")
        assert await visitor.receive_some() == b"220 hello"


async def test_start_proxy_names_the_visitor() -> None:
    async with world() as w, await w.visit() as visitor:
        await w.stream()
        (start,) = w.agent.starts
        assert start == StartProxy(w.tunnel.url, f"127.0.0.1:{visitor.socket.getsockname()[1]}")
    async with world(caps=NATIVE) as w, await w.visit():
        await w.stream()
        (start,) = w.agent.starts
        assert (start.tunnel_id, start.proto) == ("t1", "tcp")
        assert start.conn_id


async def test_half_close_reaches_a_native_agent() -> None:
    async with world(caps=frozenset({"close"})) as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"all")
        await visitor.send_eof()
        assert await stream.receive_some() == b"all"
        assert await stream.receive_some() == b""
        await stream.send_all(b"answer")
        assert await visitor.receive_some() == b"answer"


async def test_half_close_is_held_for_a_1_7_agent() -> None:
    async with world() as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"all")
        await visitor.send_eof()
        assert await stream.receive_some() == b"all"
        await stream.send_all(b"answer")
        await stream.send_eof()
        assert await visitor.receive_some() == b"answer"
        assert await visitor.receive_some() == b""
        assert await stream.receive_some() == b""


async def test_a_reset_is_a_reset_on_the_other_side() -> None:
    async with world() as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"x")
        await stream.receive_some()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()


# -- verdicts
@pytest.mark.parametrize("cut", [0, 1, 9])
async def test_a_good_verdict_is_taken_off(cut: int) -> None:
    async with world(caps=NATIVE) as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"early")
        assert await stream.receive_some() == b"early"  # it need not wait for the verdict
        verdict = frame(StartProxyResp()) + b"answer"
        await stream.send_all(verdict[:cut] or verdict)
        if cut:
            await trio.sleep(0)
            await stream.send_all(verdict[cut:])
        assert await visitor.receive_some() == b"answer"
        await visitor.send_eof()
        assert await stream.receive_some() == b""
        await stream.send_eof()
        assert await visitor.receive_some() == b""
        await until_left(w)
        assert (w.tunnel.traffic.up, w.tunnel.traffic.down) == (5, 6)


async def test_a_visitors_end_need_not_wait_for_the_verdict() -> None:
    async with world(caps=NATIVE) as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"all")
        await visitor.send_eof()
        assert await stream.receive_some() == b"all"
        assert await stream.receive_some() == b""  # a service that answers only now keeps its agent's verdict back
        await stream.send_all(frame(StartProxyResp()) + b"answer")
        await stream.aclose()
        assert await visitor.receive_some() == b"answer"
        assert await visitor.receive_some() == b""
        await until_left(w)
        assert (w.tunnel.traffic.up, w.tunnel.traffic.down) == (3, 6)


@pytest.mark.parametrize(
    "said",
    [
        frame(StartProxyResp("upstream_refused", "no")),
        frame(Pong()),
        b"\xff" * 8,
        b"",
    ],
)
async def test_any_other_beginning_resets_the_visitor(said: bytes) -> None:
    async with world(caps=NATIVE) as w, await w.visit() as visitor:
        stream = await w.stream()
        if said:
            await stream.send_all(said)
        else:
            await stream.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()


async def test_a_verdict_that_does_not_come_resets_the_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "VERDICT_TIMEOUT", 0.01)
    async with world(caps=NATIVE) as w:
        assert await is_reset(w)


async def test_without_a_stream_the_visitor_is_reset() -> None:
    async with world() as w:
        w.agent.refuse = agent_silent()
        assert await is_reset(w)


async def test_addresses_that_are_denied_meet_a_reset() -> None:
    async with world(policy=Policy.compile("", {"deny_ips": ["127.0.0.0/8"]})) as w:
        assert await is_reset(w)
        assert w.agent.starts == []


async def is_reset(w: World) -> bool:
    """Visit; whether all one gets is a reset, which may come before the client has seen its own connect succeed."""
    try:
        async with await w.visit() as visitor:
            await visitor.receive_some()
    except (OSError, trio.BrokenResourceError):
        return True
    return False


async def test_stopping_closes_the_port_and_lets_visitors_be() -> None:
    async with world() as w, await w.visit() as visitor:
        stream = await w.stream()
        w.edge.stop(w.tunnel)
        w.edge.stop(w.tunnel)
        w.edge.stop_accepting()
        with pytest.raises(OSError):
            await w.visit()
        await visitor.send_all(b"still here")
        assert await stream.receive_some() == b"still here"


async def test_aborting_resets_visitors() -> None:
    async with world() as w, await w.visit() as visitor:
        await w.stream()
        w.edge.abort()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
    async with world(caps=NATIVE) as w, await w.visit() as visitor:
        await w.stream()
        w.edge.abort()  # before the verdict
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()


async def test_a_visitor_comes_by_ipv6_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with world() as w, await trio.open_tcp_stream("::1", w.port):
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
    async with world() as w:
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
    async with world() as w:
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
    async with world(kind, proxies="127.0.0.0/8") as w:
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
    async with world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        await visitor.send_all(encode(1, VISITOR))
        stream = await w.stream()
        await stream.send_all(b"SSH-2.0-x")
        assert await read_exactly(visitor, 9) == b"SSH-2.0-x"
        await visitor.aclose()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", encode(2, None)])
async def test_a_proxy_that_speaks_for_itself_is_the_visitor(header: bytes) -> None:
    async with world(proxies="127.0.0.1", limits=CrowdLimits(of_one=1)) as w:
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
    async with world(proxies="127.0.0.1") as w:
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
    async with world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
        assert not w.agent.starts
        await visitor.aclose()


async def test_nobody_else_may_say_who_he_is() -> None:
    async with world(proxies="192.0.2.0/24") as w:
        visitor = await w.visit()
        await visitor.send_all(encode(1, VISITOR))
        stream = await w.stream()
        assert (await stream.receive_some()).startswith(b"PROXY TCP4 203.0.113.7 ")  # the service's business
        assert w.agent.starts[0].client_addr.startswith("127.0.0.1:")
        await visitor.aclose()


@pytest.mark.parametrize(("address", "comes"), [("203.0.113.7", True), ("198.51.100.1", False)])
async def test_address_lists_see_the_visitor_behind_the_proxy(address: str, comes: bool) -> None:
    policy = Policy.compile("", {"allow_ips": ["203.0.113.0/24"]})
    async with world(proxies="127.0.0.1", policy=policy) as w:
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
    async with world(proxies="127.0.0.1", limits=CrowdLimits(of_one=1)) as w:
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
    async with world(proxies="127.0.0.1") as w:
        visitor = await w.visit()
        with trio.fail_after(5):
            while not w.crowd.live:
                await trio.sleep(0.01)
        w.edge.abort()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()
        await visitor.aclose()


async def test_a_tunnel_whose_right_ends_takes_nobody_who_was_at_the_door() -> None:
    async with world(proxies="127.0.0.1") as w:
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

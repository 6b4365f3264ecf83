"""The agent against a faithful ngrok 1.7 server, over TLS on loopback."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest
import trio

from ngrokc.agent import Agent, AgentSettings
from ngrokc.events import Event, Notice, StateChanged, Subscription, TunnelOnline, TunnelRefused
from ngrokc.options import TunnelOptions
from ngrokc.tunnel_spec import TunnelSpec
from protocol.address import HostPort, parse_upstream
from protocol.errors import RefusedError
from protocol.secret import Secret
from tests.kit.classic_server import ClassicServer, ServerTimes
from tests.kit.go_wire import server_context

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def certificate() -> ssl.SSLContext:
    return server_context()


@asynccontextmanager
async def private_service(answer: bytes = PAGE) -> AsyncIterator[int]:
    """Answers each read with `answer`, or echoes when there is none, until the end of file; then says `bye`."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async for data in stream:
                await stream.send_all(answer or data)
            if not answer:
                await stream.send_all(b"bye")
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@dataclass
class World:
    server: ClassicServer
    agent: Agent
    events: Subscription
    seen: list[Event] = field(default_factory=list)

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        with trio.fail_after(10):
            async for event in self.events:
                self.seen.append(event)
                if wanted(event):
                    return event
        raise AssertionError("the agent ended")

    async def online(self, count: int = 1) -> list[str]:
        urls: list[str] = []
        while len(urls) < count:
            event = await self.until(lambda event: isinstance(event, TunnelOnline))
            assert isinstance(event, TunnelOnline)
            urls.append(event.url)
        return urls

    async def state(self, state: str) -> StateChanged:
        event = await self.until(lambda event: isinstance(event, StateChanged) and event.state == state)
        assert isinstance(event, StateChanged)
        return event

    async def get(self, url: str, *, send: bytes = b"") -> bytes:
        host = url.partition("://")[2]
        stream = await trio.open_tcp_stream("127.0.0.1", self.server.http_port)
        async with stream:
            await stream.send_all(send or f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = b""
            with trio.fail_after(10):
                while b"\r\n\r\n" not in answer or not answer.endswith((b"hello", b"</html>\n")):
                    data = await stream.receive_some()
                    if not data:
                        break
                    answer += data
            return answer


def spec(name: str, port: int, *protocols: str, **more: object) -> TunnelSpec:
    upstreams = MappingProxyType(dict.fromkeys(protocols, parse_upstream(str(port))))
    return TunnelSpec(name, upstreams, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def world(
    certificate: ssl.SSLContext, *specs: TunnelSpec, server: ClassicServer | None = None, **settings: object
) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        server = server or ClassicServer(certificate)
        await nursery.start(server.serve)
        address = HostPort("127.0.0.1", server.tunnel_port)
        agent = Agent(AgentSettings(address, **settings), specs)  # type: ignore[arg-type]
        with agent.events.subscribe() as events:
            nursery.start_soon(agent.run)
            yield World(server, agent, events)
            nursery.cancel_scope.cancel()


async def test_http_through_a_classic_server(certificate: ssl.SSLContext) -> None:
    async with private_service() as port, world(certificate, spec("web", port, "http", subdomain="test")) as w:
        (url,) = await w.online()
        assert url == f"http://test.ngrok.me:{w.server.http_port}"
        assert (await w.get(url)).endswith(b"hello")
        assert any(isinstance(event, Notice) and "not verified" in event.message for event in w.seen)
        status = w.agent.status()
        assert (status.state, status.caps, status.connections) == ("online", (), 1)
        assert [tunnel.state for tunnel in status.tunnels] == ["online"]


async def test_both_protocols_have_their_own_ports(certificate: ssl.SSLContext) -> None:
    async with private_service() as port, world(certificate, spec("web", port, "http", "https", subdomain="test")) as w:
        urls = await w.online(2)
        assert urls == [f"http://test.ngrok.me:{w.server.http_port}", f"https://test.ngrok.me:{w.server.https_port}"]


async def test_both_protocols_share_a_random_name(certificate: ssl.SSLContext) -> None:
    async with private_service() as port, world(certificate, spec("web", port, "http", "https")) as w:
        first, second = await w.online(2)
        label = first.removeprefix("http://").partition(".")[0]
        assert second == f"https://{label}.ngrok.me:{w.server.https_port}"


async def test_tcp_with_the_service_speaking_last(certificate: ssl.SSLContext) -> None:
    async with private_service(b"") as port, world(certificate, spec("echo", port, "tcp")) as w:
        (url,) = await w.online()
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        async with stream:
            await stream.send_all(b"ping")
            with trio.fail_after(10):
                assert await stream.receive_some() == b"ping"


async def test_upstream_down_gives_a_page(certificate: ssl.SSLContext) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with world(certificate, spec("web", port, "http", subdomain="test")) as w:
        (url,) = await w.online()
        answer = await w.get(url)
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"Ngrok-Error-Code: upstream_refused" in answer
        assert str(port).encode() not in answer
        assert url.encode() in answer


async def test_access_rules_are_kept_by_the_agent(certificate: ssl.SSLContext) -> None:
    options = TunnelOptions(deny_ips=("127.0.0.0/8",), host_header="rewrite")
    async with (
        private_service() as port,
        world(certificate, spec("web", port, "http", subdomain="test", options=options)) as w,
    ):
        (url,) = await w.online()
        assert (await w.get(url)).startswith(b"HTTP/1.1 403 ")
        assert any(isinstance(event, Notice) and "host_header" in event.message for event in w.seen)


async def test_a_refused_tunnel_does_not_stop_the_others(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate, https=False)
    specs = (spec("good", 1, "http", subdomain="good"), spec("bad", 1, "https", subdomain="bad"))
    async with world(certificate, *specs, server=server) as w:
        await w.online()
        event = await w.until(lambda event: isinstance(event, TunnelRefused))
        assert isinstance(event, TunnelRefused)
        assert (event.name, event.protocol, event.retry) == ("bad", "https", True)
        assert [tunnel.state for tunnel in w.agent.status().tunnels] == ["online", "refused"]


async def test_reconnects_with_the_same_name(certificate: ssl.SSLContext) -> None:
    async with private_service() as port, world(certificate, spec("web", port, "http")) as w:
        (url,) = await w.online()
        (control,) = w.server.controls.values()
        control.scope.cancel()
        change = await w.state("reconnecting")
        assert change.retry_in is not None
        assert change.retry_in <= 0.5
        assert await w.online() == [url]
        assert (await w.get(url)).endswith(b"hello")


async def test_a_login_refused_by_1_7_is_final(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    server.auth_error = "no such token"
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        agent = Agent(AgentSettings(HostPort("127.0.0.1", server.tunnel_port)))
        with pytest.raises(RefusedError, match="no such token"), trio.fail_after(10):
            await agent.run()
        assert agent.status().state == "closed"
        nursery.cancel_scope.cancel()


async def test_a_token_demands_a_certificate_that_verifies(certificate: ssl.SSLContext) -> None:
    async with world(certificate, token=Secret("tok")) as w:
        change = await w.state("reconnecting")
        assert "certificate" in change.reason
        assert "-pin" in change.reason


async def test_bytes_behind_start_proxy_reach_the_service(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    server.payload_with_start = b"first "
    async with private_service(b"") as port, world(certificate, spec("echo", port, "tcp"), server=server) as w:
        (url,) = await w.online()
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
            with trio.fail_after(10):
                assert await stream.receive_some() == b"first "


async def test_many_visitors_at_once(certificate: ssl.SSLContext) -> None:
    async with private_service() as port, world(certificate, spec("web", port, "http", subdomain="test")) as w:
        (url,) = await w.online()
        answers: list[bytes] = []

        async def visit() -> None:
            answers.append(await w.get(url))

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(visit)
        assert [answer[-5:] for answer in answers] == [b"hello"] * 60


async def test_a_server_without_pong_is_left(certificate: ssl.SSLContext) -> None:
    """The real clock would take 35 s; the pieces are tested under a mock clock in test_heartbeat."""
    times = ServerTimes(ping_limit=0.2, ping_check=0.1)
    async with world(certificate, spec("web", 1, "http"), server=ClassicServer(certificate, times=times)) as w:
        await w.online()
        await w.state("reconnecting")


async def test_tunnels_come_and_go_at_run_time(certificate: ssl.SSLContext) -> None:
    async with private_service() as port, world(certificate) as w:
        await w.state("online")
        (status,) = await w.agent.open_tunnel(spec("late", port, "http", subdomain="late"))
        assert (await w.get(status.url)).endswith(b"hello")
        with pytest.raises(RefusedError):
            await w.agent.open_tunnel(spec("same", port, "http", subdomain="late"))
        assert await w.agent.close_tunnel("late")
        assert not await w.agent.close_tunnel("late")
        assert w.agent.status().tunnels == ()

"""Our agent at 1.7 servers: the cases of section 6 of the notes on 1.7 that a faithful server can show, over TLS on loopback,
beside those of tests/ngrokc/test_agent.py. The same cases with the real Go programs, by hand: docs/compatibility.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from types import MappingProxyType
from typing import TypeVar

import pytest
import trio

from ngrokc.agent import Agent, AgentSettings
from ngrokc.events import Event, StateChanged, Subscription, TunnelOnline, TunnelRefused
from ngrokc.tunnel_spec import TunnelSpec
from protocol.address import HostPort, parse_upstream
from tests.kit.classic_server import ClassicServer
from tests.kit.go_wire import Tricks, server_context
from tests.kit.upstream import Upstream, open_upstream
from tests.kit.visitor import open_visitor

E = TypeVar("E", bound=Event)


@pytest.fixture(scope="module")
def certificate() -> ssl.SSLContext:
    return server_context()


class World:
    """A 1.7 server, a private service and our agent between them."""

    def __init__(self, server: ClassicServer, upstream: Upstream, agent: Agent, events: Subscription) -> None:
        self.server = server
        self.upstream = upstream
        self.agent = agent
        self._events = events

    async def event(self, kind: type[E], wanted: Callable[[E], bool] = lambda _event: True) -> E:
        async for event in self._events:
            if isinstance(event, kind) and wanted(event):
                return event
        raise AssertionError("the agent ended")

    async def online(self, count: int = 1) -> list[str]:
        return [(await self.event(TunnelOnline)).url for _ in range(count)]

    async def status_of(self, url: str) -> int:
        async with open_visitor(self.server.http_port, url.partition("://")[2]) as visitor:
            return (await visitor.ask()).status

    async def reconnects(self) -> str:
        """Wait until the agent has left and is online again; why it left."""
        why = (await self.event(StateChanged, lambda event: event.state == "reconnecting")).reason
        await self.online()
        return why


@contextlib.asynccontextmanager
async def world(
    certificate: ssl.SSLContext, *wishes: tuple[str, str, dict[str, object]], server: ClassicServer | None = None
) -> AsyncIterator[World]:
    """`wishes`: name, protocols joined with +, and what else a TunnelSpec has."""
    server = server or ClassicServer(certificate)
    async with trio.open_nursery() as nursery, open_upstream() as upstream:
        await nursery.start(server.serve)
        specs = []
        for name, protocols, more in wishes:
            port = upstream.echo_port if protocols == "tcp" else upstream.http_port
            upstreams = MappingProxyType(dict.fromkeys(protocols.split("+"), parse_upstream(str(port))))
            specs.append(TunnelSpec(name, upstreams, **more))  # type: ignore[arg-type]
        agent = Agent(AgentSettings(HostPort("127.0.0.1", server.tunnel_port)), specs)
        with agent.events.subscribe() as events, trio.fail_after(20):
            nursery.start_soon(agent.run)
            yield World(server, upstream, agent, events)
        nursery.cancel_scope.cancel()


WEB: tuple[str, str, dict[str, object]] = ("web", "http", {"subdomain": "test"})


# -- 31: traffic
async def test_requests_with_bodies_and_events(certificate: ssl.SSLContext) -> None:
    async with world(certificate, WEB) as w:
        (url,) = await w.online()
        async with open_visitor(w.server.http_port, url.partition("://")[2]) as visitor:
            body = b"x" * 200_000
            for length in (len(body), None):
                answer = await visitor.upload("/upload", [body], length)
                assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
            await visitor.send("/sse?events=2&gate=next")
            await visitor.wire.head()
            seen = bytes(visitor.wire.buffer)
            for number in (1, 2):
                while seen.count(b"\n\n") < number:
                    seen += await visitor.stream.receive_some()
                w.upstream.gate("next").release()


# -- 36: refusals carry no ReqId; they are matched by order
async def test_refusals_meet_the_right_requests(certificate: ssl.SSLContext) -> None:
    tunnels: list[tuple[str, str, dict[str, object]]] = [
        ("one", "http", {"subdomain": "one"}),
        ("same", "http", {"subdomain": "one"}),
        ("two", "http", {}),
    ]
    server = ClassicServer(certificate, https=False)
    async with world(certificate, *tunnels, ("safe", "https", {}), server=server) as w:
        refused = {(await w.event(TunnelRefused)).name for _ in range(2)}
        assert refused == {"same", "safe"}
        states = {tunnel.name: tunnel.state for tunnel in w.agent.status().tunnels}
        assert states == {"one": "online", "same": "refused", "two": "online", "safe": "refused"}


# -- 35, 41: proxy links
async def test_bursts_of_requests_for_links_and_links_that_are_not_wanted(certificate: ssl.SSLContext) -> None:
    async with world(certificate, WEB) as w:
        (url,) = await w.online()
        (control,) = w.server.controls.values()
        for _ in range(40):  # the server keeps ten and closes the others
            await control.conn.send_msg("ReqProxy", {})
        await w.server.journal.seen("got", "RegProxy", 40)
        assert await w.status_of(url) == 200
        for proxy in list(control.proxies):
            await proxy.close()
        control.proxies.clear()
        assert await w.status_of(url) == 200


# -- 38: what is an error, and what is not
@pytest.mark.parametrize("body", [b"{", b"", b'{"Type":"Nonsense","Payload":{}}', b'{"Type":"NewTunnel"}'])
async def test_a_bad_frame_is_left_by_reconnecting(certificate: ssl.SSLContext, body: bytes) -> None:
    async with world(certificate, WEB) as w:
        (url,) = await w.online()
        (control,) = w.server.controls.values()
        await control.conn.send_frame(body)
        await w.reconnects()
        assert await w.status_of(url) == 200


async def test_a_length_that_lies_is_not_believed(certificate: ssl.SSLContext) -> None:
    async with world(certificate, WEB) as w:
        await w.online()
        (control,) = w.server.controls.values()
        await control.conn.send_frame(b"", length=-1)
        await w.reconnects()
        (control,) = w.server.controls.values()
        await control.conn.send_frame(b"", length=1 << 62)
        await w.reconnects()


async def test_what_1_7_ignores_is_ignored(certificate: ssl.SSLContext) -> None:
    async with world(certificate, WEB) as w:
        (url,) = await w.online()
        (control,) = w.server.controls.values()
        for kind in ("Ping", "ReqTunnel", "StartProxy", "AuthResp"):
            await control.conn.send_msg(kind, {})
        await control.conn.send_msg("NewTunnel", {"ReqId": "nobody's", "Url": "http://x", "Protocol": "http"})
        await control.conn.send_frame(b'{"Type":"ReqProxy","Payload":null}')
        assert await w.status_of(url) == 200
        assert list(w.server.controls.values()) == [control]


# -- 20, 21, 22: other ways to write
@pytest.mark.parametrize("tricks", [Tricks(one_record=True), Tricks(pieces=1), Tricks(extra={"Caps": None, "Now": 1})])
async def test_any_cutting_of_records_and_unknown_keys(certificate: ssl.SSLContext, tricks: Tricks) -> None:
    async with world(certificate, WEB, server=ClassicServer(certificate, tricks=tricks)) as w:
        (url,) = await w.online()
        assert await w.status_of(url) == 200


# -- 40, 45: coming back
async def test_a_returning_agent_shows_the_id_it_has(certificate: ssl.SSLContext) -> None:
    async with world(certificate, ("web", "http", {}), ("port", "tcp", {})) as w:
        urls = await w.online(2)
        (first,) = w.server.controls
        w.server.controls[first].scope.cancel()
        assert await w.online(2) == urls
        assert w.server.journal.last("got", "Auth")["ClientId"] == first


async def test_a_name_that_is_held_by_the_dead_is_asked_for_again(certificate: ssl.SSLContext) -> None:
    """After a silent death 1.7 holds a name for half a minute, and its own client exits."""
    server = ClassicServer(certificate)
    async with world(certificate, WEB, server=server) as w:
        await w.online()
        async with open_agent(server, w.upstream) as events:
            async for event in events:
                if isinstance(event, TunnelRefused):
                    assert event.retry
                    await w.agent.close_tunnel("web")  # else it comes back and may be the faster one, again and again
                    (w.server.controls[w.agent.status().client_id]).scope.cancel()
                if isinstance(event, TunnelOnline):
                    break


@contextlib.asynccontextmanager
async def open_agent(server: ClassicServer, upstream: Upstream) -> AsyncIterator[Subscription]:
    """A second agent that wants the name of WEB."""
    upstreams = MappingProxyType({"http": parse_upstream(str(upstream.http_port))})
    agent = Agent(
        AgentSettings(HostPort("127.0.0.1", server.tunnel_port)), [TunnelSpec("web", upstreams, subdomain="test")]
    )
    async with trio.open_nursery() as nursery:
        with agent.events.subscribe() as events:
            nursery.start_soon(agent.run)
            yield events
        nursery.cancel_scope.cancel()


# -- 48: names as the server writes them
async def test_names_with_capitals_and_spaces(certificate: ssl.SSLContext) -> None:
    async with world(certificate, ("web", "http", {"subdomain": " MiXed "})) as w:
        (url,) = await w.online()
        assert url.startswith("http://mixed.ngrok.me:")
        assert await w.status_of(url) == 200
        assert w.server.journal.last("sent", "StartProxy")["Url"] == url


# -- 43: endings
async def test_visitors_and_services_that_reset_leave_nothing(certificate: ssl.SSLContext) -> None:
    async with world(certificate, WEB) as w:
        (url,) = await w.online()
        for _ in range(5):
            async with open_visitor(w.server.http_port, url.partition("://")[2]) as visitor:
                await visitor.send("/bytes/50000000")
                await visitor.stream.receive_some(1000)
        while w.agent.status().active or w.upstream.open:
            await trio.sleep(0.005)
        assert await w.status_of(url) == 200

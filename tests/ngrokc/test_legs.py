"""Legs and native sessions, against a small native server over TLS on loopback."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from ngrokc.agent import Agent, AgentSettings
from ngrokc.events import Event, Notice, StateChanged, Subscription, TunnelClosed, TunnelOnline, TunnelRefused
from ngrokc.identity import Identity
from ngrokc.options import TunnelOptions
from ngrokc.tunnel_spec import TunnelSpec
from protocol.address import HostPort
from protocol.errors import RefusedError
from protocol.frames import take
from protocol.link.framed import FramedLink
from protocol.link.port import Port
from protocol.messages import (
    Auth,
    AuthResp,
    CloseTunnel,
    GoAway,
    Message,
    NewTunnel,
    Ping,
    Pong,
    RegLeg,
    RegProxy,
    ReqLeg,
    ReqTunnel,
    StartProxy,
    StartProxyResp,
)
from protocol.messages import Notice as NoticeMessage
from protocol.messages import TunnelClosed as TunnelClosedMessage
from tests.kit.go_wire import server_context
from tests.kit.native_server import NativeServer
from tests.ngrokc.test_agent import private_service, spec

GET = b"GET / HTTP/1.1\r\nHost: test.ngrok.me\r\n\r\n"


@dataclass
class World:
    server: NativeServer
    agent: Agent
    events: Subscription

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        with trio.fail_after(10):
            async for event in self.events:
                if wanted(event):
                    return event
        raise AssertionError("the agent ended")

    async def online(self) -> TunnelOnline:
        event = await self.until(lambda event: isinstance(event, TunnelOnline))
        assert isinstance(event, TunnelOnline)
        return event


@asynccontextmanager
async def world(*specs: TunnelSpec, server: NativeServer | None = None) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        server = server or NativeServer(server_context())
        await nursery.start(server.serve)
        agent = Agent(AgentSettings(HostPort("127.0.0.1", server.port), identity=Identity()), specs)
        with agent.events.subscribe() as events:
            nursery.start_soon(agent.run)
            yield World(server, agent, events)
            nursery.cancel_scope.cancel()


async def first_frame(port: Port) -> tuple[Message, bytes]:
    """The verdict on a stream and the bytes that came with it."""
    data = b""
    with trio.fail_after(10):
        while (found := take(data)) is None:
            more = await port.stream().receive_some()
            assert more
            data += more
    return found[0], data[found[1] :]


@pytest.fixture(scope="module")
def certificate() -> ssl.SSLContext:
    return server_context()


async def test_a_visitor_on_a_stream() -> None:
    async with private_service() as port, world(spec("web", port, "http", "https", subdomain="test")) as w:
        assert (await w.online()).url == "http://test.ngrok.me"
        request = await w.server.seen(ReqTunnel)
        assert request.protocol == "http+https"
        registration = await w.server.seen(RegLeg)
        assert (registration.ticket, registration.leg) == (w.server.tickets[0], 1)
        stream = await w.server.visit(StartProxy("http://test.ngrok.me", "192.0.2.1:5", "t1", "c1", "http"), GET)
        verdict, body = await first_frame(stream)
        assert verdict == StartProxyResp()
        with trio.fail_after(10):
            while not body.endswith(b"hello"):
                body += await stream.stream().receive_some()
        status = w.agent.status()
        assert (status.active, status.connections) == (1, 1)
        stream.close()


async def test_a_tcp_visitor_on_a_link_of_its_own() -> None:
    async with private_service(b"") as port, world(spec("ssh", port, "tcp")) as w:
        await w.online()
        start = StartProxy("tcp://random.ngrok.me", "192.0.2.1:5", "t1", "c1", "tcp")
        visitor = await w.server.visit_on_own_link(start, b"hello")
        registration = await w.server.seen(RegProxy)
        assert registration.ticket == w.server.tickets[0]
        verdict, echo = await first_frame(visitor)
        assert verdict == StartProxyResp()
        stream = visitor.stream()
        with trio.fail_after(10):
            while echo != b"hello":
                echo += await stream.receive_some()
            await stream.send_eof()
            assert await stream.receive_some() == b"bye"
            assert await stream.receive_some() == b""
        await stream.aclose()


async def test_a_service_that_is_down_gives_a_verdict() -> None:
    async with world(spec("web", 1, "http", subdomain="test")) as w:
        await w.online()
        stream = await w.server.visit(StartProxy("http://test.ngrok.me", "192.0.2.1:5", "t1"), GET)
        verdict, rest = await first_frame(stream)
        assert isinstance(verdict, StartProxyResp)
        assert (verdict.code, rest) == ("upstream_refused", b"")
        with trio.fail_after(10):
            assert await stream.stream().receive_some() == b""
        stream.close()


async def test_an_unknown_tunnel_gives_a_verdict() -> None:
    async with world() as w:
        stream = await w.server.visit(StartProxy("http://other.ngrok.me", "192.0.2.1:5", "t9"))
        verdict, _ = await first_frame(stream)
        assert isinstance(verdict, StartProxyResp)
        assert verdict.code == "unknown_tunnel"
        stream.close()


async def test_legs_are_added_and_dialled_again() -> None:
    async with world() as w:
        first = await w.server.leg()
        await w.server.links[0].send(ReqLeg())
        await w.server.leg(2)
        with w.server.reactor.turn():
            first.abort()
        registration = await w.server.seen(RegLeg, 3)
        assert registration.leg == 3
        await w.server.until(lambda: len(w.server.legs) == 2)


def warnings(events: list[Event]) -> list[str]:
    """Those that speak of legs."""
    return [
        event.message
        for event in events
        if isinstance(event, Notice) and event.level == "warning" and "leg" in event.message
    ]


async def test_a_leg_that_goes_with_its_session_is_no_news() -> None:
    async with world(spec("web", 1, "http", subdomain="test")) as w:
        await w.online()
        leg = await w.server.leg()
        seen: list[Event] = []
        with w.server.reactor.turn():
            leg.go_away()
        await w.server.until(lambda: not w.server.legs)
        await w.server.links[0].aclose()

        def back(event: Event) -> bool:
            seen.append(event)
            return isinstance(event, TunnelOnline)

        await w.until(back)
        assert warnings(seen) == []
        assert (await w.server.seen(RegLeg, 2)).leg == 1  # the new session's; none was dialled for the old one


async def test_a_leg_that_is_sent_away_alone_is_told_and_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngrokc.legs.PARTING", 0.0)
    async with world() as w:
        leg = await w.server.leg()
        with w.server.reactor.turn():
            leg.go_away()
        await w.until(lambda event: warnings([event]) == ["a leg ended and is dialled again: drained"])
        assert (await w.server.seen(RegLeg, 2)).leg == 2


async def test_a_server_that_has_enough_legs_is_left_alone() -> None:
    async with world() as w:
        await w.server.leg()
        w.server.refuse_legs = "enough"
        await w.server.links[0].send(ReqLeg())
        await w.server.seen(RegLeg, 2)
        await w.server.links[0].send(Ping())
        await w.server.seen(Pong)
        assert len(w.server.legs) == 1


async def test_resume_carries_the_last_ticket() -> None:
    async with world(spec("web", 1, "http", subdomain="test")) as w:
        await w.online()
        auth = await w.server.seen(Auth)
        assert auth.resume is None
        await w.server.links[0].aclose()
        await w.online()
        again = await w.server.seen(Auth, 2)
        assert again.client_id == auth.client_id
        assert again.resume == w.server.tickets[0]


async def test_going_away_dials_anew_before_letting_go() -> None:
    async with private_service(b"") as port, world(spec("web", port, "http", subdomain="test")) as w:
        await w.online()
        stream = await w.server.visit(StartProxy("http://test.ngrok.me", "192.0.2.1:5", "t1"), b"one ")
        _, body = await first_frame(stream)
        await w.server.links[0].send(GoAway(30, "restart"))
        await w.online()
        assert len(w.server.links) == 2
        with trio.fail_after(10):
            while body != b"one ":
                body += await stream.stream().receive_some()
            await stream.stream().send_all(b"two")
            assert await stream.stream().receive_some() == b"two"
        stream.close()


async def test_what_the_server_has_to_tell_is_an_event() -> None:
    async with world(spec("web", 1, "http", subdomain="test")) as w:
        await w.online()
        await w.server.links[0].send(NoticeMessage("limit_reached", "visitors are turned away"))
        event = await w.until(lambda event: isinstance(event, Notice) and event.level == "warning")
        assert event == Notice("warning", "visitors are turned away (limit_reached)")


async def test_a_name_taken_over_is_not_asked_for_again() -> None:
    async with world(spec("web", 1, "http", subdomain="test")) as w:
        await w.online()
        await w.server.links[0].send(TunnelClosedMessage("t1", "taken_over", "another session took it"))
        event = await w.until(lambda event: isinstance(event, TunnelClosed))
        assert isinstance(event, TunnelClosed)
        assert event.code == "taken_over"
        await w.server.links[0].aclose()
        await w.server.seen(Auth, 2)
        await w.until(lambda event: isinstance(event, StateChanged) and event.state == "online")
        await w.server.links[-1].send(Ping())
        await w.server.seen(Pong)
        assert sum(isinstance(message, ReqTunnel) for message in w.server.got) == 1


async def test_a_session_that_the_operator_ended_comes_back_with_its_tunnels() -> None:
    async with world(spec("web", 1, "http", subdomain="test")) as w:
        await w.online()
        await w.server.links[0].send(TunnelClosedMessage("t1", "kicked", "the operator ended this session"))
        await w.until(lambda event: isinstance(event, TunnelClosed) and event.code == "kicked")
        await w.server.links[0].aclose()
        assert (await w.server.seen(ReqTunnel, 2)).subdomain == "test"


@pytest.mark.parametrize("late", [False, True])
async def test_a_name_that_does_not_count_is_told_once(late: bool) -> None:
    both = spec("web", 1, "http", subdomain="test", hostname="shop.example.org")
    async with world(*([] if late else [both])) as w:
        if late:
            await w.server.leg()
            await w.agent.open_tunnel(both)
        told = await w.until(lambda event: isinstance(event, Notice) and "does not count" in event.message)
        assert told == Notice("warning", both.idle_name)
        await w.online()
        await w.server.links[0].aclose()
        again: list[Event] = []

        def back(event: Event) -> bool:
            again.append(event)
            return isinstance(event, TunnelOnline)

        await w.until(back)
        assert not any(isinstance(event, Notice) and "does not count" in event.message for event in again)


async def test_closing_a_tunnel_tells_the_server() -> None:
    async with world(spec("web", 1, "http", subdomain="test")) as w:
        await w.online()
        assert await w.agent.close_tunnel("web")
        assert (await w.server.seen(CloseTunnel)).tunnel_id == "t1"


class OnlyTcp(NativeServer):
    """Refuses http for a while."""

    async def _answer(self, link: FramedLink, message: Message) -> None:
        if isinstance(message, ReqTunnel) and message.protocol == "http":
            await link.send(NewTunnel(message.req_id, "", "", "taken", "name_taken"))
        else:
            await super()._answer(link, message)


async def test_a_refused_protocol_waits_though_another_of_its_tunnel_comes_online() -> None:
    both = spec("web", 1, "http", "tcp", options=TunnelOptions(host_header="rewrite"))
    async with world(both, server=OnlyTcp(server_context())) as w:
        await w.online()
        await w.server.links[0].send(Ping())
        await w.server.seen(Pong)
        asked = [message.protocol for message in w.server.got if isinstance(message, ReqTunnel)]
        assert asked == ["http", "tcp"]


@pytest.mark.parametrize(
    ("code", "retry"), [("name_taken", True), ("port_not_allowed", True), ("not_allowed", True), ("bad_name", False)]
)
async def test_a_refusal_names_the_whole_request_and_whether_it_is_made_again(
    code: str, retry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("ngrokc.session.Session._ask_again", lambda *given: record(waits, given[2]))
    server = NativeServer(server_context())
    server.refuse_tunnel = NewTunnel("", "", "", "no", code)
    async with world(spec("web", 1, "http", "https", subdomain="test"), server=server) as w:
        event = await w.until(lambda event: isinstance(event, TunnelRefused))
        assert event == TunnelRefused("web", "http+https", code, "no", retry=retry)
        await trio.testing.wait_all_tasks_blocked()
    assert len(waits) == retry


async def record(waits: list[float], wait: float) -> None:
    waits.append(wait)


@pytest.mark.parametrize(
    ("code", "retry", "final"), [("bad_token", None, True), ("busy", True, False), ("odd", None, False)]
)
async def test_a_refused_login(code: str, retry: bool | None, final: bool) -> None:
    server = NativeServer(server_context())
    server.refuse_login = AuthResp(error="no", code=code, retry=retry)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        agent = Agent(AgentSettings(HostPort("127.0.0.1", server.port), identity=Identity()))
        if final:
            with pytest.raises(RefusedError), trio.fail_after(10):
                await agent.run()
        else:
            nursery.start_soon(agent.run)
            await server.seen(Auth, 2)
        nursery.cancel_scope.cancel()


async def test_without_mux_there_are_no_legs(certificate: ssl.SSLContext) -> None:
    server = NativeServer(certificate)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        agent = Agent(AgentSettings(HostPort("127.0.0.1", server.port), mux=False))
        nursery.start_soon(agent.run)
        assert "mux" not in ((await server.seen(Auth)).caps or ())
        nursery.cancel_scope.cancel()

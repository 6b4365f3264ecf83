"""One session's control link: login, takeover, tunnels, heartbeats; over ports in memory, on the autojump clock."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest
import structlog
import trio
from trio.testing import MockClock

from ngrokd.affinity import Affinity
from ngrokd.control import Services, dismiss, log_in
from ngrokd.declare import Declarer
from ngrokd.edge.tcp import TcpEdge
from ngrokd.gate import AddressGate, Arrival
from ngrokd.legs import LegHouse
from ngrokd.naming import Naming
from ngrokd.policy import Policy
from ngrokd.pool import LinkPool
from ngrokd.registry import Registry
from protocol.errors import Blame, Fault
from protocol.frames import frame
from protocol.link.framed import FramedLink
from protocol.link.tasks import TaskReactor
from protocol.messages import (
    Auth,
    AuthResp,
    CloseTunnel,
    Message,
    NewTunnel,
    Ping,
    Pong,
    ReqLeg,
    ReqProxy,
    ReqTunnel,
    StartProxy,
    TunnelClosed,
)
from protocol.names import PublicUrls, Zone
from protocol.secret import new_request_id
from protocol.session import CAPABILITIES
from tests.kit.memory_port import MemoryPort, memory_pair

HERE = Arrival("127.0.0.1", "127.0.0.1")
ID = "0123456789abcdef" * 2
NATIVE = ("ticket", "close", "options", "verdict", "bye")


class FakeTcp:
    """tcp ports without sockets."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.served: dict[str, int] = {}
        self.next = 40000

    def bind(self, port: int, holder: object = None) -> Any:
        port = port or self.next
        if port in self.taken:
            raise Fault("port_taken", "in use", blame=Blame.OPERATOR)
        self.next += 1
        self.taken.add(port)
        return FakeBound(self, port)

    def serve(self, bound: Any, tunnel: Any) -> None:
        self.served[tunnel.id] = bound.port

    def stop(self, tunnel: Any) -> None:
        self.taken.discard(self.served.pop(tunnel.id))


class FakeBound:
    def __init__(self, tcp: FakeTcp, port: int) -> None:
        self.tcp, self.port = tcp, port

    def close(self) -> None:
        self.tcp.taken.discard(self.port)


class Agent:
    """The agent's end of a control link."""

    def __init__(self, far: MemoryPort) -> None:
        self.port = far
        self.link = FramedLink(far.stream())

    async def tell(self, message: Message) -> None:
        await self.link.send(message)

    async def hear(self, *kinds: type[Message]) -> Any:
        """The next message of these kinds; heartbeats and requests for links are passed over."""
        while True:
            message = await self.link.receive()
            if message is None or isinstance(message, kinds):
                return message


class World:
    def __init__(self, nursery: trio.Nursery, gate: AddressGate) -> None:
        self.nursery = nursery
        self.reactor = TaskReactor()
        self.registry = Registry(new_request_id)
        self.tcp = FakeTcp()
        self.affinity = Affinity()
        urls = PublicUrls("example.me", {"http": 80, "https": 8443})
        declarer = Declarer(
            self.registry,
            Naming(Zone("example.me"), urls),
            self.affinity,
            cast(TcpEdge, self.tcp),
            Policy.compile,
            lambda: None,
        )
        self.services = Services(
            self.registry, declarer, gate, self.reactor, structlog.get_logger(), LegHouse(self.reactor), CAPABILITIES
        )
        self.done = 0

    def dial(self, auth: Auth, arrival: Arrival = HERE) -> Agent:
        near, far = memory_pair()
        self.nursery.start_soon(self._serve, FramedLink(near.stream()), auth, arrival)
        return Agent(far)

    async def _serve(self, link: FramedLink, auth: Auth, arrival: Arrival) -> None:
        control = await log_in(self.services, link, auth, arrival)
        if control is not None:
            await control.run()
        else:
            await link.aclose()
        self.done += 1

    async def log_in(self, **fields: Any) -> tuple[Agent, AuthResp]:
        agent = self.dial(Auth(**fields))
        welcome = await agent.link.receive()
        assert isinstance(welcome, AuthResp), "AuthResp is strictly first"
        assert welcome.error == ""
        return agent, welcome


@contextlib.asynccontextmanager
async def world(*, open_to_all: bool = False) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        found = World(nursery, AddressGate(open_to_all))
        await nursery.start(found.reactor.run)
        with trio.fail_after(1000):
            yield found
        nursery.cancel_scope.cancel()


# -- login
async def test_a_classic_agent_gets_1_7s_fields_alone(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, welcome = await w.log_in()
        assert welcome == AuthResp(client_id=welcome.client_id)
        assert len(welcome.client_id) == 32
        assert isinstance(await agent.link.receive(), ReqProxy)


async def test_a_classic_agent_gets_no_visitor_of_a_tunnel_that_it_has_not_read_of(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, welcome = await w.log_in()
        await agent.hear(ReqProxy)
        await agent.tell(ReqTunnel("r1", "http", subdomain="test"))
        session = w.registry.session(welcome.client_id)
        assert session is not None
        while not session.tunnels:
            await trio.testing.wait_all_tasks_blocked()
        assert isinstance(session.links, LinkPool)
        near, far = memory_pair()
        near.attach(w.reactor)
        session.links.offer(near)  # the link that was asked for at login
        session.opener.open(StartProxy("http://test.example.me"), lambda _found: None)
        assert not far.incoming
        assert (await agent.hear(NewTunnel, ReqProxy)).url == "http://test.example.me"
        assert isinstance(await agent.hear(NewTunnel, ReqProxy), ReqProxy)  # behind it: this one's link will prove it


async def test_a_native_agent_gets_ticket_and_capabilities(autojump_clock: MockClock) -> None:
    async with world() as w:
        _, welcome = await w.log_in(caps=(*NATIVE, "telepathy"))
        assert welcome.caps == NATIVE
        assert welcome.server == w.services.product
        assert welcome.ticket is not None
        assert len(welcome.ticket) == 64
        session = w.registry.session(welcome.client_id)
        assert session is not None
        assert welcome.session_id == session.id
        assert isinstance(session.opener, LinkPool)


async def test_with_mux_no_proxy_links_are_asked_for(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, welcome = await w.log_in(caps=CAPABILITIES)
        assert welcome.caps == CAPABILITIES
        session = w.registry.session(welcome.client_id)
        assert session is not None
        session.opener.open(StartProxy("http://x"), lambda _found: None)
        assert isinstance(await agent.hear(ReqProxy, ReqLeg), ReqLeg)


async def test_another_protocol_version_is_told_so(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent = w.dial(Auth(version="3"))
        answer = await agent.link.receive()
        assert isinstance(answer, AuthResp)
        assert "protocol 2" in answer.error
        assert answer.code == "bad_version"
        assert await agent.link.receive() is None
        assert list(w.registry.sessions()) == []


async def test_a_remote_agent_without_tokens_is_told_of_open(autojump_clock: MockClock) -> None:
    remote = Arrival("192.0.2.9", "192.0.2.1")
    async with world() as w:
        answer = await w.dial(Auth(), remote).link.receive()
        assert isinstance(answer, AuthResp)
        assert "-open" in answer.error
    async with world(open_to_all=True) as w:
        answer = await w.dial(Auth(), remote).link.receive()
        assert isinstance(answer, AuthResp)
        assert answer.error == ""


# -- ids and takeover
async def test_ids_that_are_adopted_and_ids_that_are_not(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert (await w.log_in(client_id=ID))[1].client_id == ID
        assert (await w.log_in(client_id="not 32 hex"))[1].client_id != "not 32 hex"


async def test_a_classic_agent_that_returns_replaces_itself_at_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        old, _ = await w.log_in(client_id=ID)
        await old.tell(ReqTunnel("r1", "http", subdomain="test"))
        assert (await old.hear(NewTunnel)).error == ""
        new, welcome = await w.log_in(client_id=ID)
        assert welcome.client_id == ID
        await new.tell(ReqTunnel("r2", "http", subdomain="test"))
        assert (await new.hear(NewTunnel)).url == "http://test.example.me"
        assert await old.hear(NewTunnel) is None  # ended by the server
        await trio.testing.wait_all_tasks_blocked()
        assert w.done == 1
        found = w.registry.lookup("http", "test.example.me")
        assert found is not None
        assert found.session.generation == 2


async def test_a_client_id_alone_takes_no_native_session_over(autojump_clock: MockClock) -> None:
    async with world() as w:
        _, first = await w.log_in(client_id=ID, caps=NATIVE)
        for auth in ({"caps": NATIVE}, {}, {"caps": NATIVE, "resume": "0" * 64}):
            _, other = await w.log_in(client_id=ID, **auth)
            assert other.client_id != ID
        session = w.registry.session(ID)
        assert session is not None
        assert session.id == first.session_id


async def test_the_ticket_takes_over_and_the_old_link_is_told(autojump_clock: MockClock) -> None:
    async with world() as w:
        old, first = await w.log_in(client_id=ID, caps=NATIVE)
        await old.tell(ReqTunnel("r1", "http", subdomain="test"))
        tunnel = await old.hear(NewTunnel)
        _, second = await w.log_in(client_id=ID, caps=NATIVE, resume=first.ticket)
        assert second.client_id == ID
        assert second.ticket != first.ticket
        closed = await old.hear(TunnelClosed)
        assert (closed.tunnel_id, closed.code) == (tunnel.tunnel_id, "taken_over")
        assert await old.link.receive() is None
        assert w.registry.lookup("http", "test.example.me") is None


async def test_a_farewell_leaves_nothing(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in()
        await agent.tell(ReqTunnel("r1", "http+tcp", subdomain="test"))
        await agent.hear(NewTunnel)
        assert w.tcp.taken
        await agent.link.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert w.done == 1
        assert repr(w.registry) == "<Registry sessions=0 names=0 ports=0>"
        assert w.tcp.taken == set()


async def test_names_of_an_agent_that_is_gone_are_expected_back(autojump_clock: MockClock) -> None:
    async with world() as w:
        away = w.services.absences.away
        agent, _ = await w.log_in(client_id=ID)
        await agent.tell(ReqTunnel("r1", "http", subdomain="test"))
        await agent.hear(NewTunnel)
        assert not away("http", "test.example.me")
        await agent.link.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert away("http", "test.example.me")
        other, _ = await w.log_in()
        await other.tell(ReqTunnel("r1", "http", subdomain="test"))
        await other.hear(NewTunnel)  # free for anybody all the same
        assert not away("http", "test.example.me")


async def test_names_are_expected_back_while_their_agent_logs_in_anew(autojump_clock: MockClock) -> None:
    async with world() as w:
        old, _ = await w.log_in(client_id=ID)
        await old.tell(ReqTunnel("r1", "http", subdomain="test"))
        await old.hear(NewTunnel)
        await w.log_in(client_id=ID)
        assert w.registry.lookup("http", "test.example.me") is None
        assert w.services.absences.away("http", "test.example.me")


async def test_what_was_ended_on_purpose_is_not_expected_back(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, welcome = await w.log_in(caps=NATIVE)
        await agent.tell(ReqTunnel("r1", "http", subdomain="one"))
        tunnel = await agent.hear(NewTunnel)
        await agent.tell(ReqTunnel("r2", "http", subdomain="two"))
        await agent.hear(NewTunnel)
        await agent.tell(CloseTunnel(tunnel.tunnel_id))
        await agent.hear(TunnelClosed)
        session = w.registry.session(welcome.client_id)
        assert session is not None
        dismiss(w.services, w.registry.release(session.key), "an operator said so", "kicked")
        await trio.testing.wait_all_tasks_blocked()
        assert len(w.services.absences) == 0


# -- tunnels
async def test_one_answer_for_each_protocol_in_order(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in()
        await agent.tell(ReqTunnel("r1", "https+http+tcp", subdomain="Test"))
        answers = [await agent.hear(NewTunnel) for _ in range(3)]
        assert [(answer.protocol, answer.url) for answer in answers] == [
            ("https", "https://test.example.me:8443"),
            ("http", "http://test.example.me"),
            ("tcp", "tcp://example.me:40000"),
        ]
        assert {answer.req_id for answer in answers} == {"r1"}
        assert all(answer.tunnel_id is None for answer in answers)


@pytest.mark.parametrize(
    ("caps", "url"), [(None, "https://shop.example.org"), (NATIVE, "https://shop.example.org:8443")]
)
async def test_a_hostname_is_shown_with_the_port_that_leads_to_it_and_to_1_7_as_1_7_does(
    caps: tuple[str, ...] | None, url: str, autojump_clock: MockClock
) -> None:
    async with world() as w:
        agent, _ = await w.log_in(caps=caps)
        await agent.tell(ReqTunnel("r1", "https", hostname="Shop.example.org"))
        assert (await agent.hear(NewTunnel)).url == url


@pytest.mark.parametrize("caps", [None, NATIVE])
async def test_a_refusal_names_the_request_and_changes_nothing(
    caps: tuple[str, ...] | None, autojump_clock: MockClock
) -> None:
    async with world() as w:
        owner, _ = await w.log_in()
        await owner.tell(ReqTunnel("r1", "https", subdomain="test"))
        await owner.hear(NewTunnel)
        agent, _ = await w.log_in(caps=caps)
        await agent.tell(ReqTunnel("r2", "http+tcp+https", subdomain="test"))
        answer = await agent.hear(NewTunnel)
        assert answer.req_id == "r2"
        assert "already registered" in answer.error
        assert (answer.code == "name_taken") is (caps is not None)
        assert w.registry.lookup("http", "test.example.me") is None
        assert w.tcp.taken == set()
        await agent.tell(ReqTunnel("r3", "http", subdomain="other"))  # the session lives on
        assert (await agent.hear(NewTunnel)).error == ""


async def test_random_names_come_back(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in(client_id=ID)
        await agent.tell(ReqTunnel("r1", "http+https"))
        first = (await agent.hear(NewTunnel)).url
        await agent.hear(NewTunnel)
        await agent.tell(ReqTunnel("r2", "tcp"))
        port = (await agent.hear(NewTunnel)).url
        again, _ = await w.log_in(client_id=ID)
        await again.tell(ReqTunnel("r1", "https+http"))
        await again.hear(NewTunnel)
        assert (await again.hear(NewTunnel)).url == first
        await again.tell(ReqTunnel("r2", "tcp"))
        assert (await again.hear(NewTunnel)).url == port


async def test_options_are_policy_where_they_were_agreed_on(autojump_clock: MockClock) -> None:
    options: Mapping[str, object] = {"allow_ips": ["192.0.2.0/24"]}
    async with world() as w:
        agent, _ = await w.log_in(caps=NATIVE)
        await agent.tell(ReqTunnel("r1", "http", subdomain="test", options=options))
        await agent.hear(NewTunnel)
        found = w.registry.lookup("http", "test.example.me")
        assert found is not None
        assert found.policy is not None
        assert found.policy.admit_address("198.51.100.1") is not None
        await agent.tell(ReqTunnel("r2", "http", subdomain="other", options={"magic": 1}))
        assert "magic" in (await agent.hear(NewTunnel)).error


async def test_closing_one_tunnel(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in(caps=NATIVE)
        await agent.tell(ReqTunnel("r1", "tcp"))
        tunnel = await agent.hear(NewTunnel)
        for code in ("asked", "unknown"):
            await agent.tell(CloseTunnel(tunnel.tunnel_id))
            assert (await agent.hear(TunnelClosed)).code == code
        assert w.tcp.taken == set()


async def test_a_native_message_that_was_not_agreed_on_ends_the_link(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in()
        await agent.tell(CloseTunnel("t1"))
        assert await agent.hear(TunnelClosed) is None
        assert list(w.registry.sessions()) == []


async def test_bad_bytes_end_the_link_and_nothing_else(autojump_clock: MockClock) -> None:
    async with world() as w:
        other, _ = await w.log_in()
        agent, _ = await w.log_in()
        agent.port.write(b"\xff" * 8)
        assert await agent.hear(NewTunnel) is None
        await other.tell(Ping())
        assert isinstance(await other.hear(Pong), Pong)


# -- heartbeats
async def test_classic_life_is_a_ping(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in()
        for _ in range(5):
            await trio.sleep(20)
            await agent.tell(Ping())
            assert isinstance(await agent.hear(Pong), Pong)
        last = trio.current_time()
        await trio.sleep(25)
        await agent.tell(ReqTunnel("r1", "http", subdomain="test"))  # other traffic does not count
        await agent.hear(NewTunnel)
        assert await agent.hear(Pong) is None
        assert trio.current_time() - last == pytest.approx(30, abs=0.1)


async def test_native_life_is_any_byte_and_silence_is_death_in_10_s(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in(caps=NATIVE)
        for _ in range(10):
            assert isinstance(await agent.hear(Ping), Ping)
            await agent.tell(Pong())
        begin = trio.current_time()
        assert begin == pytest.approx(42, abs=1)
        while await agent.link.receive() is not None:
            pass
        assert trio.current_time() - begin == pytest.approx(10, abs=0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert list(w.registry.sessions()) == []


async def test_a_native_session_asks_for_links_once_it_has_a_tcp_tunnel(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, _ = await w.log_in(caps=CAPABILITIES)
        await agent.tell(ReqTunnel("r1", "http", subdomain="test"))
        assert isinstance(await agent.hear(NewTunnel, ReqProxy), NewTunnel)
        await agent.tell(ReqTunnel("r2", "tcp"))
        assert isinstance(await agent.hear(NewTunnel, ReqProxy), NewTunnel)
        assert isinstance(await agent.hear(ReqProxy), ReqProxy)


async def test_who_has_just_heard_the_other_need_not_ping(autojump_clock: MockClock) -> None:
    """Both sides may: an agent that asks by itself is answered and not asked."""
    async with world() as w:
        agent, _ = await w.log_in(caps=NATIVE)
        for _ in range(10):
            await trio.sleep(4)
            await agent.tell(Ping())
            assert isinstance(await agent.hear(Ping, Pong), Pong)
        assert isinstance(await agent.hear(Ping), Ping)
        assert trio.current_time() == pytest.approx(46, abs=0.1)


async def test_an_idle_session_is_one_task(autojump_clock: MockClock) -> None:
    """There may be thousands. A task that waits costs some KiB."""
    async with world() as w:
        await w.log_in(caps=CAPABILITIES)
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(10):
            await w.log_in(caps=CAPABILITIES)
        assert trio.lowlevel.current_statistics().tasks_living == before + 10
        one, *others = w.registry.sessions()
        assert all(other.caps is one.caps for other in others)


async def test_a_defect_ends_its_session_alone(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        other, _ = await w.log_in()
        agent, _ = await w.log_in()
        with monkeypatch.context() as patch:
            patch.setattr(Declarer, "declare", lambda *_: 1 // 0)
            await agent.tell(ReqTunnel("r1", "http", subdomain="test"))
            assert await agent.hear(NewTunnel) is None
        await trio.testing.wait_all_tasks_blocked()
        assert w.done == 1
        await other.tell(Ping())
        assert isinstance(await other.hear(Pong), Pong)


async def test_a_burst_of_questions_is_answered_whole(autojump_clock: MockClock) -> None:
    """More answers than the outbox holds: they go out in between."""
    async with world() as w:
        agent, _ = await w.log_in()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.port.stream().send_all, frame(Ping()) * 6_000)
            for _ in range(6_000):
                await agent.hear(Pong)


async def test_an_agent_that_does_not_read_is_ended(autojump_clock: MockClock) -> None:
    async with world() as w:
        agent, welcome = await w.log_in()
        session = w.registry.session(welcome.client_id)
        assert session is not None
        agent.port.incoming += b"x" * (1 << 20)  # full: nothing more fits
        session.control.send(Pong())
        await trio.sleep(11)
        assert list(w.registry.sessions()) == []

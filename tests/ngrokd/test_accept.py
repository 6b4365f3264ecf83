"""The tunnel port: deadlines and caps for strangers, and where each kind of link goes."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
import structlog
import structlog.testing
import trio
import trio.testing

from ngrokd import accept
from ngrokd.accept import TunnelPort
from ngrokd.affinity import Affinity
from ngrokd.control import Services
from ngrokd.declare import Declarer
from ngrokd.edge.tcp import TcpEdge
from ngrokd.gate import AddressGate
from ngrokd.legs import LegHouse
from ngrokd.naming import Naming
from ngrokd.native_links import NativeLinks
from ngrokd.policy import Policy
from ngrokd.pool import LinkPool
from ngrokd.registry import Registry
from ngrokd.tunnel import Tunnel
from protocol.frames import FIRST_FRAME_CAP
from protocol.link.faults import TlsError
from protocol.link.framed import FramedLink
from protocol.link.listener import bind
from protocol.link.tls import TlsPort
from protocol.link.tls_socket import TlsSocketPort
from protocol.link.trust import ClientTls
from protocol.messages import Auth, AuthResp, Message, Ping, Pong, RegLeg, RegLegResp, RegProxy
from protocol.names import PublicUrls, Zone
from protocol.secret import new_request_id
from protocol.session import CAPABILITIES
from tests.kit.ports import SERVER_NAME, contexts, running

CLASSIC = Auth()
NATIVE = Auth(caps=("ticket", "close"))
MUX = Auth(caps=CAPABILITIES)


@dataclass
class World:
    registry: Registry
    tunnel_port: TunnelPort
    address: tuple[str, int]
    open: list[FramedLink] = field(default_factory=list)

    async def connect(self) -> socket.socket:
        sock = socket.create_connection(self.address)
        sock.setblocking(False)
        return sock

    async def dial(self, first: Message | None = None) -> FramedLink:
        """A link as an agent makes it, with its first frame sent."""
        port = TlsPort(await self.connect(), contexts()[0], server_name=SERVER_NAME)
        await port.handshake()
        link = FramedLink(port.stream())
        self.open.append(link)
        if first is not None:
            await link.send(first)
        return link

    async def log_in(self, auth: Auth) -> AuthResp:
        welcome = await (await self.dial(auth)).receive()
        assert isinstance(welcome, AuthResp)
        return welcome


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    log = structlog.get_logger()
    async with running("epoll") as reactor, trio.open_nursery() as links:
        registry = Registry(new_request_id)
        declarer = Declarer(
            registry,
            Naming(Zone("me.test"), PublicUrls("me.test", {"http": 80})),
            Affinity(),
            cast(TcpEdge, None),
            Policy.compile,
            lambda: None,
        )
        services = Services(registry, declarer, AddressGate(), reactor, log, LegHouse(reactor), CAPABILITIES)
        tunnel_port = TunnelPort(services, contexts()[1])
        listener = tunnel_port.listen(bind("127.0.0.1", 0), links)
        found = World(registry, tunnel_port, ("127.0.0.1", listener.port))
        with trio.fail_after(10):
            yield found
        listener.close()
        for link in found.open:
            await link.aclose()
        links.cancel_scope.cancel()


async def until(done: Callable[[], bool]) -> None:
    while not done():
        await trio.sleep(0.001)


async def closed(link: FramedLink) -> bool:
    return await link.receive() is None


Kind = TypeVar("Kind", LinkPool, NativeLinks)


def links_of(w: World, welcome: AuthResp, kind: type[Kind]) -> Kind:
    """What the links of the session that `welcome` is about join."""
    session = w.registry.session(welcome.client_id)
    assert session is not None
    assert isinstance(session.links, kind)
    return session.links


async def test_auth_makes_a_session() -> None:
    async with world() as w:
        welcome = await w.log_in(CLASSIC)
        assert w.registry.session(welcome.client_id) is not None
        assert w.tunnel_port.strangers == 0


async def test_a_proxy_link_is_parked_at_its_session() -> None:
    async with world() as w:
        welcome = await w.log_in(CLASSIC)
        pool = links_of(w, welcome, LinkPool)
        await w.dial(RegProxy(welcome.client_id))
        await until(lambda: pool.parked == 1)


async def test_a_native_proxy_link_needs_the_ticket() -> None:
    async with world() as w:
        welcome = await w.log_in(NATIVE)
        pool = links_of(w, welcome, LinkPool)
        assert await closed(await w.dial(RegProxy(welcome.client_id)))
        assert await closed(await w.dial(RegProxy(welcome.client_id, "0" * 64)))
        assert pool.parked == 0
        await w.dial(RegProxy(welcome.client_id, welcome.ticket))
        await until(lambda: pool.parked == 1)


async def test_a_proxy_link_of_nobody_is_closed_without_a_word() -> None:
    async with world() as w:
        assert await closed(await w.dial(RegProxy("0" * 32)))


async def test_a_leg_joins_by_its_ticket() -> None:
    async with world() as w:
        welcome = await w.log_in(MUX)
        links = links_of(w, welcome, NativeLinks)
        for ticket in ("", "0" * 64):
            wrong = await w.dial(RegLeg(welcome.client_id, ticket, 1))
            assert await wrong.receive() == RegLegResp("no such session")
            assert await closed(wrong)
        good = await w.dial(RegLeg(welcome.client_id, cast(str, welcome.ticket), 1))
        assert await good.receive() == RegLegResp("")
        assert links.legs.legs == 1


async def test_a_proxy_link_of_a_session_with_legs_is_for_its_tcp_tunnels() -> None:
    async with world() as w:
        welcome = await w.log_in(MUX)
        links = links_of(w, welcome, NativeLinks)
        assert await closed(await w.dial(RegProxy(welcome.client_id, "0" * 64)))
        assert await closed(await w.dial(RegProxy(welcome.client_id, welcome.ticket)))  # it has none
        links.announced(cast(Tunnel, SimpleNamespace(protocol="tcp")))
        await w.dial(RegProxy(welcome.client_id, welcome.ticket))
        await until(lambda: links.parked == 1)


async def test_a_leg_without_the_capability_is_told_so() -> None:
    async with world() as w:
        welcome = await w.log_in(NATIVE)
        link = await w.dial(RegLeg(welcome.client_id, cast(str, welcome.ticket), 1))
        answer = await link.receive()
        assert isinstance(answer, RegLegResp)
        assert "mux" in answer.error


@pytest.mark.parametrize("first", [Ping(), Pong(), AuthResp()])
async def test_other_first_frames_are_closed(first: Message) -> None:
    async with world() as w:
        assert await closed(await w.dial(first))


@pytest.mark.parametrize(
    "data",
    [
        (2**63 - 1).to_bytes(8, "little"),
        (-1).to_bytes(8, "little", signed=True),
        bytes(8),
        FIRST_FRAME_CAP.to_bytes(8, "little"),
        (4).to_bytes(8, "little") + b"{}{}",
    ],
)
async def test_bad_first_frames_are_closed_at_once(data: bytes) -> None:
    async with world() as w:
        link = await w.dial()
        await link.port.stream().send_all(data)
        with contextlib.suppress(Exception):
            assert await closed(link)
        await until(lambda: w.tunnel_port.strangers == 0)
        assert (await w.log_in(CLASSIC)).error == ""


async def test_plain_bytes_end_the_link() -> None:
    async with world() as w:
        sock = await w.connect()
        with sock:
            sock.send(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: w.tunnel_port.strangers == 0)


async def test_silence_ends_the_link_wherever_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "FIRST_FRAME_TIMEOUT", 0.05)
    async with world() as w:
        with await w.connect() as silent, await w.connect() as half:
            half.send(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
            link = await w.dial()  # TLS and not a word
            assert await closed(link)
            await until(lambda: w.tunnel_port.strangers == 0)
            assert silent.fileno() >= 0


async def test_strangers_of_one_address_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "MAX_STRANGERS_OF_ONE", 3)
    async with world() as w:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(await w.connect()) for _ in range(4)]
            await until(lambda: w.tunnel_port.strangers == 3)
            await trio.lowlevel.wait_readable(socks[3])
            assert socks[3].recv(1) == b""
        await until(lambda: w.tunnel_port.strangers == 0)


async def test_links_that_are_turned_away_are_told_of_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "MAX_STRANGERS", 1)
    async with world() as w:
        with structlog.testing.capture_logs() as lines, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(await w.connect()) for _ in range(4)]
            for sock in socks[1:]:
                await trio.lowlevel.wait_readable(sock)
        told = [line for line in lines if line["event"].startswith("links are turned away")]
        assert [(line["log_level"], line["count"]) for line in told] == [("warning", 1)]


async def test_links_of_one_address_shake_hands_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "AT_WORK_OF_ONE", 2)
    async with world() as w:
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(await w.connect())  # without a ClientHello nobody takes a turn
            assert (await w.log_in(CLASSIC)).error == ""
            first, second = await w.dial(), await w.dial()
            answers: list[AuthResp] = []

            async def third() -> None:
                answers.append(await w.log_in(CLASSIC))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(third)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert not answers
                await first.send(CLASSIC)
            assert answers[0].error == ""
            await second.aclose()
        await until(lambda: w.tunnel_port.strangers == 0)
        assert not w.tunnel_port._turns


@pytest.mark.parametrize("leg", [False, True])
@pytest.mark.parametrize(
    ("peer", "trusting", "level"),
    [("127.0.0.1", False, "debug"), ("192.0.2.9", False, "info"), ("127.0.0.1", True, "info")],
)
async def test_a_doubted_certificate_is_news_unless_the_agent_is_on_this_machine(
    peer: str, trusting: bool, level: str, leg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tries again, and accepts it then. Other failures are told whoever it is."""
    monkeypatch.setattr(accept, "plain_ip", lambda _address: peer)
    async with world() as w:
        with structlog.testing.capture_logs() as lines:
            context = contexts()[0] if trusting else ClientTls().context_for(None, leg=leg)
            port = (TlsSocketPort if leg else TlsPort)(await w.connect(), context, server_name=SERVER_NAME)
            if trusting:
                await port.handshake()
                port.abort()
            else:
                with pytest.raises(TlsError):
                    await port.handshake()
                port.close()
            await until(lambda: bool(lines))
        assert [(line["event"], line["log_level"]) for line in lines] == [("a link failed", level)]


async def test_a_defect_ends_one_link_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: Any) -> None:
        raise ZeroDivisionError

    async with world() as w:
        with monkeypatch.context() as patch:
            patch.setattr(accept, "log_in", broken)
            assert await closed(await w.dial(CLASSIC))
        assert (await w.log_in(CLASSIC)).error == ""


async def test_tls_1_2_is_spoken() -> None:
    async with world() as w:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        port = TlsPort(await w.connect(), context)
        await port.handshake()
        link = FramedLink(port.stream())
        w.open.append(link)
        await link.send(CLASSIC)
        assert isinstance(await link.receive(), AuthResp)

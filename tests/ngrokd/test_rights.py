"""Tokens on a live control link: resumption, takeover, limits on sessions, expiry and revocation, in both dialects; over ports
in memory, on the autojump clock."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
import structlog
import trio
from trio.testing import MockClock

from ngrokd.affinity import Affinity
from ngrokd.control import Services, end_account, log_in
from ngrokd.declare import Declarer
from ngrokd.edge.tcp import TcpEdge
from ngrokd.gate import Arrival
from ngrokd.grants import Scope
from ngrokd.legs import LegHouse
from ngrokd.naming import Naming
from ngrokd.policy import Policy
from ngrokd.registry import Registry
from ngrokd.store import TokenRecord
from ngrokd.store.memory import MemoryStore
from ngrokd.token_gate import TokenGate
from ngrokd.tunnel import Tunnel
from protocol.link.framed import FramedLink
from protocol.link.tasks import TaskReactor
from protocol.messages import Auth, AuthResp, Message, NewTunnel, Notice, ReqTunnel, TunnelClosed
from protocol.names import PublicUrls, Zone
from protocol.secret import new_request_id
from protocol.session import CAPABILITIES
from protocol.token import Token, new_token
from tests.kit.memory_port import MemoryPort, memory_pair

AWAY = Arrival("192.0.2.7", "203.0.113.1")
ID = "0123456789abcdef" * 2
NATIVE = ("ticket", "close", "options", "verdict", "bye", "notice")
START = 1e6  # the wall clock when the tests' clock stands at 0


class Agent:
    """The agent's end of a control link."""

    def __init__(self, far: MemoryPort) -> None:
        self.link = FramedLink(far.stream())

    async def hear(self, *kinds: type[Message]) -> Any:
        """The next message of these kinds, None at the end; others are passed over."""
        while True:
            message = await self.link.receive()
            if message is None or isinstance(message, kinds):
                return message

    async def ask(self, name: str = "shop", **options: object) -> NewTunnel:
        request = ReqTunnel(new_request_id(), "http", subdomain=name, options=options or None)
        await self.link.send(request)
        answer = await self.hear(NewTunnel)
        assert isinstance(answer, NewTunnel)
        return answer


class World:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.store = MemoryStore()
        self.registry = Registry(new_request_id)
        self.cut: list[Tunnel] = []
        reactor = self.reactor = TaskReactor()
        naming = Naming(Zone("example.me"), PublicUrls("example.me", {"http": 80}))
        declarer = Declarer(
            self.registry, naming, Affinity(), cast(TcpEdge, None), Policy.compile, lambda: None, clock=self.wall_clock
        )
        gate = TokenGate(self.store, "example.me", False, lambda *_: None, self.wall_clock)
        self.services = Services(
            self.registry,
            declarer,
            gate,
            reactor,
            structlog.get_logger(),
            LegHouse(reactor),
            CAPABILITIES,
            cut=self.note_cut,
        )

    def wall_clock(self) -> float:
        return START + trio.current_time()

    def note_cut(self, tunnels: Sequence[Tunnel]) -> None:
        self.cut += tunnels

    async def token(self, name: str = "alice", *, expires: float | None = None, **limits: Any) -> Token:
        token = new_token()
        await self.store.add_token(
            TokenRecord(token.id, name, token.secret.digest(), Scope(**limits), self.wall_clock(), expires)
        )
        return token

    async def log_in(
        self, token: Token, *, caps: tuple[str, ...] | None = NATIVE, **fields: Any
    ) -> tuple[Agent, AuthResp]:
        near, far = memory_pair()
        auth = Auth(user=token.text().reveal(), caps=caps, **fields)
        self.nursery.start_soon(self._serve, FramedLink(near.stream()), auth)
        agent = Agent(far)
        return agent, await agent.hear(AuthResp)

    async def _serve(self, link: FramedLink, auth: Auth) -> None:
        control = await log_in(self.services, link, auth, AWAY)
        if control is not None:
            await control.run()
        else:
            await link.aclose()

    @property
    def owner(self) -> str:
        """The client id that `shop` leads to."""
        found = self.registry.lookup("http", "shop.example.me")
        return found.session.client_id if found is not None else ""


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        found = World(nursery)
        await nursery.start(found.reactor.run)
        with trio.fail_after(100_000):
            yield found
        nursery.cancel_scope.cancel()


async def test_the_same_agent_has_its_name_back_at_once(autojump_clock: MockClock) -> None:
    """With its ticket; the older session is told, and its late farewell takes nothing away."""
    async with world() as w:
        token = await w.token()
        old, first = await w.log_in(token)
        assert (await old.ask()).error == ""
        new, second = await w.log_in(token, client_id=first.client_id, resume=first.ticket)
        assert second.client_id == first.client_id
        assert (await new.ask()).error == ""
        assert (await old.hear(TunnelClosed)).code == "taken_over"
        assert await old.hear(TunnelClosed) is None
        await trio.sleep(1)
        assert w.owner == second.client_id


@pytest.mark.parametrize("resume", [None, "0" * 64])
async def test_without_the_ticket_a_client_id_replaces_nothing(autojump_clock: MockClock, resume: str | None) -> None:
    async with world() as w:
        token = await w.token()
        old, first = await w.log_in(token)
        await old.ask()
        new, second = await w.log_in(token, client_id=first.client_id, resume=resume)
        assert second.client_id != first.client_id
        answer = await new.ask()
        assert answer.code == "name_taken"
        assert "another session of this token" in answer.error
        assert (await new.ask(on_conflict="takeover")).error == ""
        assert (await old.hear(TunnelClosed)).code == "taken_over"
        assert w.owner == second.client_id


async def test_another_token_never_takes_over(autojump_clock: MockClock) -> None:
    async with world() as w:
        old, first = await w.log_in(await w.token())
        await old.ask()
        bob = await w.token("bob")
        thief, second = await w.log_in(bob, client_id=first.client_id, resume=first.ticket)
        assert second.client_id != first.client_id
        assert "another token" in (await thief.ask(on_conflict="takeover")).error
        random = await thief.ask(on_conflict="random")
        assert random.error == ""
        assert random.url != "http://shop.example.me"
        assert w.owner == first.client_id


async def test_classic_a_live_id_is_replaced_by_the_same_token_only(autojump_clock: MockClock) -> None:
    async with world() as w:
        token, bob = await w.token(), await w.token("bob")
        old, first = await w.log_in(token, caps=None, client_id=ID)
        assert first.client_id == ID
        await old.ask()
        _, stranger = await w.log_in(bob, caps=None, client_id=ID)
        assert stranger.client_id != ID
        assert w.owner == ID
        new, again = await w.log_in(token, caps=None, client_id=ID)
        assert again.client_id == ID
        assert (await new.ask()).error == ""
        assert await old.hear(TunnelClosed) is None


async def test_sessions_of_a_token_are_counted_and_a_resumed_one_counts_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        token = await w.token(max_sessions=1)
        agent, first = await w.log_in(token)
        _, refused = await w.log_in(token)
        assert (refused.code, refused.retry) == ("too_many_sessions", True)
        _, second = await w.log_in(token, client_id=first.client_id, resume=first.ticket)
        assert second.error == ""
        assert await agent.hear(TunnelClosed) is None
        await trio.sleep(1)
        usage = w.services.usages.get(token.id)
        assert usage is not None
        assert usage.sessions == 1


async def test_the_owner_is_told_what_the_limits_refuse(autojump_clock: MockClock) -> None:
    """Each session of the token that can hear it; a session that has ended is no listener any more."""
    async with world() as w:
        token = await w.token(max_requests=1)
        agent, first = await w.log_in(token)
        older, _ = await w.log_in(token, caps=("ticket", "close"))
        usage = w.services.usages.get(token.id)
        assert usage is not None
        for _ in range(3):
            usage.admit_request(0.0)
        notice = await agent.hear(Notice)
        assert isinstance(notice, Notice)
        assert notice.code == "tunnel_rate_limited"
        assert (await older.ask()).error == ""  # nothing came that it does not know
        await w.log_in(token, client_id=first.client_id, resume=first.ticket)
        await trio.sleep(1)
        assert usage.sessions == 2


async def test_an_expired_token_ends_its_sessions(autojump_clock: MockClock) -> None:
    async with world() as w:
        token = await w.token(expires=START + 50)
        agent, _ = await w.log_in(token, caps=None)
        await agent.ask()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ping, agent)
            assert await agent.hear(TunnelClosed) is None
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began <= 51
        assert w.owner == ""
        assert [tunnel.host for tunnel in w.cut] == ["shop.example.me"]
        _, again = await w.log_in(token)
        assert (again.code, again.retry) == ("bad_token", False)
        assert "expired" in again.error


async def test_revoking_ends_all_its_sessions_and_nobody_else_s(autojump_clock: MockClock) -> None:
    async with world() as w:
        token, bob = await w.token(), await w.token("bob")
        native, _ = await w.log_in(token)
        classic, _ = await w.log_in(token, caps=None)
        other, _ = await w.log_in(bob)
        await native.ask()
        await other.ask("bobs")
        assert end_account(w.services, token.id, "the token was revoked") == 2
        assert w.owner == ""
        closed = await native.hear(TunnelClosed)
        assert (closed.code, closed.message) == ("removed", "the token was revoked")
        assert await native.hear(TunnelClosed) is None
        assert await classic.hear(TunnelClosed) is None
        assert [tunnel.host for tunnel in w.cut] == ["shop.example.me"]
        assert w.registry.lookup("http", "bobs.example.me") is not None
        assert end_account(w.services, "", "nothing") == 0


async def _ping(agent: Agent) -> None:
    from protocol.messages import Ping

    while True:
        await agent.link.send(Ping())
        await trio.sleep(20)

"""New limits of a token reach its sessions while they run, and only what they may no longer have is taken."""

from __future__ import annotations

from typing import Any

from trio.testing import MockClock

from ngrokd.grants import Scope, compile_grant
from ngrokd.regrant import regrant
from ngrokd.throttle import ThrottledOpener
from protocol.messages import TunnelClosed
from protocol.token import Token
from tests.ngrokd.test_rights import World, world


def give(w: World, token: Token, **limits: Any) -> None:
    regrant(w.services, compile_grant(token.id, "alice", Scope(**limits), domain="example.me"))


async def test_rights_count_at_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        token = await w.token()
        agent, _ = await w.log_in(token)
        assert (await agent.ask()).error == ""
        assert (await agent.ask("other")).error == ""
        give(w, token, allow_hosts=("other",))
        closed = await agent.hear(TunnelClosed)
        assert (closed.code, w.owner) == ("not_allowed", "")
        assert [tunnel.host for tunnel in w.cut] == ["shop.example.me"]
        assert [tunnel.host for tunnel in w.registry.tunnels()] == ["other.example.me"]
        assert (await agent.ask()).code == "not_allowed"
        give(w, token, max_tunnels=1)
        assert (await agent.ask()).code == "too_many_tunnels"
        give(w, token)
        assert (await agent.ask()).error == ""


async def test_a_1_7_agent_that_loses_a_name_has_to_log_in_anew(autojump_clock: MockClock) -> None:
    async with world() as w:
        token = await w.token()
        agent, _ = await w.log_in(token, caps=None)
        await agent.ask()
        give(w, token, max_tunnels=5)
        assert w.owner
        give(w, token, allow_hosts=("other",))
        assert await agent.hear(TunnelClosed) is None
        assert not w.owner
        assert len(w.cut) == 1


async def test_streams_are_counted_from_now_on(autojump_clock: MockClock) -> None:
    async with world() as w:
        token, bob = await w.token(), await w.token("bob")
        agent, first = await w.log_in(token)
        _, other = await w.log_in(bob)
        await agent.ask()
        give(w, token, max_connections=1, max_bandwidth=5000, max_requests=2)
        session, stranger = w.registry.session(first.client_id), w.registry.session(other.client_id)
        assert session is not None
        assert stranger is not None
        assert isinstance(session.opener, ThrottledOpener)
        assert session.opener.inner is session.links
        assert session.usage is not None
        assert [session.usage.admit_request(0.0) for _ in range(3)] == [True, True, False]
        assert not isinstance(stranger.opener, ThrottledOpener)
        give(w, token)
        assert not isinstance(session.opener, ThrottledOpener)

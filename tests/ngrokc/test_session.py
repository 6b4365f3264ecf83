"""Login: what is sent, and what each answer means. Running sessions are in test_agent (classic) and test_legs (native)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from ngrokc.events import EventBus
from ngrokc.identity import Identity
from ngrokc.legs import LiveLegs
from ngrokc.proxy import Visitors
from ngrokc.session import Shared, log_in, product_of
from ngrokc.tunnels import TunnelBook
from protocol.address import HostPort
from protocol.errors import Fault, LinkError, RefusedError
from protocol.link.dial import ServerDialer
from protocol.link.epoll import EpollReactor
from protocol.link.trust import ClientTls
from protocol.messages import Auth, AuthResp
from protocol.secret import Secret
from tests.kit.go_wire import server_context
from tests.kit.native_server import NativeServer


@asynccontextmanager
async def shared(server: NativeServer, *, mux: bool = True) -> AsyncIterator[Shared]:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        reactor = EpollReactor()
        await nursery.start(reactor.run)
        dialer = ServerDialer(HostPort("127.0.0.1", server.port), ClientTls(loopback=True), None, reactor)
        visitors = Visitors(reactor, EventBus(), nursery.start_soon)
        yield Shared(dialer, visitors, TunnelBook(), Identity(), Secret("tok"), LiveLegs(), mux)
        nursery.cancel_scope.cancel()


async def test_what_a_login_says() -> None:
    server = NativeServer(server_context())
    async with shared(server) as found:
        login = await log_in(found)
        auth = await server.seen(Auth)
        assert (auth.version, auth.user, auth.client_id, auth.resume) == ("2", "tok", found.identity.client_id, None)
        assert auth.caps == ("ticket", "close", "options", "verdict", "bye", "notice", "mux")
        assert auth.agent is not None
        assert login.order.caps == ("ticket", "close", "mux", "options", "verdict", "bye", "notice")
        await login.link.aclose()


@pytest.mark.parametrize(
    ("answer", "retry"),
    [
        (AuthResp(error="no"), False),  # 1.7 says no more than this
        (AuthResp(error="no", code="bad_token"), False),
        (AuthResp(error="no", code="too_busy"), True),
        (AuthResp(error="no", code="too_busy", retry=False), False),
        (AuthResp(error="no", code="bad_token", retry=True), True),
    ],
)
async def test_refusals(answer: AuthResp, retry: bool) -> None:
    server = NativeServer(server_context())
    server.refuse_login = answer
    async with shared(server) as found:
        with pytest.raises(RefusedError) as caught:
            await log_in(found)
        assert (caught.value.retry, caught.value.message) == (retry, "no")


def test_what_program_answers() -> None:
    assert product_of(AuthResp(client_id="c", server="ngrokd 0.1.0")) == "ngrokd 0.1.0"
    assert product_of(AuthResp(client_id="c")) == "1.7"


async def test_an_answer_without_an_id_is_no_login() -> None:
    server = NativeServer(server_context())
    server.refuse_login = AuthResp()
    async with shared(server) as found:
        with pytest.raises(LinkError, match="no client id"):
            await log_in(found)


async def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngrokc.session.LOGIN_TIMEOUT", 0.05)
    server = NativeServer(server_context())
    server.mute = True
    async with shared(server) as found:
        with pytest.raises(Fault, match="did not answer the login"):
            await log_in(found)

"""Once per tunnel, one connection a second, and nothing where there is nothing to see."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from ngrokc.events import EventBus, Notice
from ngrokc.host_watch import EVERY, PIECES, HostWatch
from ngrokc.options import TunnelOptions
from ngrokc.routes import Route
from protocol.address import Upstream

BLOCKED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 19\r\n\r\nInvalid Host header"


class FakeRelay:
    """Keeps who wants to look."""

    def __init__(self) -> None:
        self.look: Callable[[memoryview], bool] | None = None

    def show_first(self, look: Callable[[memoryview], bool]) -> None:
        self.look = look

    def bring(self, data: bytes) -> bool:
        assert self.look is not None
        return self.look(memoryview(data))


def route(url: str = "http://test.example.me", *, header: str = "preserve", guard: bool = False) -> Route:
    upstream = Upstream("tcp", "127.0.0.1", 5173)
    return Route("test", url, url.partition(":")[0], "", upstream, TunnelOptions(host_header=header), guard=guard)


def watch(hosts: HostWatch, one: Route, now: float) -> FakeRelay:
    relay: Any = FakeRelay()
    if now >= one.look_at:
        hosts.watch(one, relay, now)
    found: FakeRelay = relay
    return found


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


def notices(bus: EventBus, act: Callable[[], None]) -> list[str]:
    with bus.subscribe() as events:
        act()
        found = []
        while (event := events.take()) is not None:
            assert isinstance(event, Notice)
            found.append(event.message)
    return found


def test_the_owner_is_told_once_whatever_comes_later(bus: EventBus) -> None:
    hosts = HostWatch(bus)

    def act() -> None:
        first, other, later = route(), route("https://test.example.me"), route()
        relays = [watch(hosts, one, 5.0) for one in (first, other)]
        assert not any(relay.bring(BLOCKED) for relay in relays)
        assert first.look_at == other.look_at == math.inf
        assert watch(hosts, later, 6.0).look is None  # the tunnel's next session
        assert later.look_at == math.inf

    told = notices(bus, act)
    assert len(told) == 1
    assert told[0].startswith("test: webpack-dev-server refuses the host name test.example.me; add `host_header: rewr")


def test_one_connection_a_second_is_looked_at(bus: EventBus) -> None:
    hosts, one = HostWatch(bus), route()
    assert watch(hosts, one, 5.0).look is not None
    assert watch(hosts, one, 5.0 + EVERY / 2).look is None
    assert watch(hosts, one, 5.0 + EVERY).look is not None


def test_a_tunnel_with_other_options_is_another_matter(bus: EventBus) -> None:
    hosts = HostWatch(bus)

    def act() -> None:
        watch(hosts, route(), 5.0).bring(BLOCKED)
        watch(hosts, route(header="rewrite"), 9.0).bring(BLOCKED)

    told = notices(bus, act)
    assert len(told) == 2
    assert told[1].endswith('devServer.allowedHosts: ["test.example.me"]')


def test_a_server_that_knows_no_options_is_taken_into_account(bus: EventBus) -> None:
    (told,) = notices(bus, lambda: [watch(HostWatch(bus), route(guard=True), 5.0).bring(BLOCKED)].clear())
    assert "host_header" not in told


def test_an_answer_in_pieces_is_put_together_up_to_a_bound(bus: EventBus) -> None:
    def act() -> None:
        relay = watch(HostWatch(bus), route(), 5.0)
        assert all(relay.bring(BLOCKED[end - 10 : end]) for end in range(10, 60, 10))
        assert not relay.bring(BLOCKED[50:])

    assert len(notices(bus, act)) == 1
    relay = watch(HostWatch(bus), route(), 5.0)
    assert relay.bring(b"HTTP/1.1 403 F")
    assert [relay.bring(b"o") for _ in range(PIECES)].index(False) == PIECES - 2


def test_tcp_tunnels_have_no_host_names(bus: EventBus) -> None:
    assert watch(HostWatch(bus), route("tcp://example.me:2222"), 5.0).look is None

"""Declaring: all protocols or none, the remembered name first, and nothing left bound after a refusal."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ngrokd.affinity import Affinity, owner_key
from ngrokd.declare import MAX_TUNNELS, Declarer
from ngrokd.edge.tcp import TcpEdge
from ngrokd.grants import Grant, Scope
from ngrokd.naming import Naming
from ngrokd.opener import Links
from ngrokd.policy import Policy
from ngrokd.registry import Registry
from ngrokd.session import AgentInfo, ControlHandle, Identity, Session, SessionKey
from ngrokd.tunnel import Tunnel
from protocol.errors import Blame, Fault
from protocol.messages import Message, ReqTunnel
from protocol.names import PublicUrls, Zone
from protocol.secret import new_request_id


class Ports:
    """tcp ports without sockets; `taken` belong to others."""

    def __init__(self) -> None:
        self.bound: list[int] = []
        self.closed: list[int] = []
        self.served: list[int] = []
        self.taken: set[int] = set()
        self.asked_of: list[Tunnel | None] = []

    def bind(self, port: int, holder: Tunnel | None = None) -> Any:
        self.asked_of.append(holder)
        if port in self.taken:
            raise Fault("port_taken", "in use", blame=Blame.OPERATOR)
        bound = Bound(self, port or 40000 + len(self.bound))
        self.bound.append(bound.port)
        return bound

    def serve(self, bound: Any, tunnel: Any) -> None:
        self.served.append(bound.port)

    def stop(self, tunnel: Any) -> None:
        self.closed.append(tunnel.port)


class Bound:
    def __init__(self, ports: Ports, port: int) -> None:
        self._ports, self.port = ports, port

    def close(self) -> None:
        self._ports.closed.append(self.port)


class Control:
    """A control link that listens to nobody."""

    def send(self, message: Message) -> None: ...

    def end(self, reason: str) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.registry = Registry(new_request_id)
        self.ports = Ports()
        self.affinity = Affinity()
        self.touched = 0
        naming = Naming(Zone("me.test"), PublicUrls("me.test", {"http": 80, "https": 443}))
        self.declarer = Declarer(
            self.registry, naming, self.affinity, cast(TcpEdge, self.ports), Policy.compile, self._touch
        )

    def _touch(self) -> None:
        self.touched += 1

    def session(self, client_id: str = "a", token: str = "", **limits: Any) -> Session:
        key = SessionKey(client_id, self.registry.next_generation())
        identity = Identity(key, "s", account=token, grant=Grant(token, token, Scope(**limits)) if token else None)
        session = Session(
            identity, AgentInfo(), frozenset({"close"}), cast(ControlHandle, Control()), cast(Links, None)
        )
        self.registry.replace(session)
        return session


def test_a_remembered_name_is_given_again_and_a_taken_one_is_not() -> None:
    bench = Bench()
    bench.affinity.remember(owner_key("a"), "http", 0, "blue")
    bench.affinity.remember(owner_key("b"), "http", 0, "blue")
    (first,) = bench.declarer.declare(bench.session("a"), ReqTunnel(protocol="http"))
    assert first.url == "http://blue.me.test"
    (second,) = bench.declarer.declare(bench.session("b"), ReqTunnel(protocol="http"))
    assert second.url != first.url
    assert bench.affinity.recall(owner_key("b"), "http", 0) == second.host.partition(".")[0]
    assert bench.touched == 2


def test_a_second_random_tunnel_has_a_name_of_its_own_that_comes_back() -> None:
    bench = Bench()
    session = bench.session()
    urls = [bench.declarer.declare(session, ReqTunnel(protocol="http"))[0].url for _ in range(2)]
    bench.declarer.declare(session, ReqTunnel(protocol="http", subdomain="fixed"))
    assert urls[0] != urls[1]
    again = bench.session()
    assert [bench.declarer.declare(again, ReqTunnel(protocol="http"))[0].url for _ in range(2)] == urls


def test_a_remembered_port_that_is_taken_is_replaced() -> None:
    bench = Bench()
    bench.affinity.remember(owner_key("a"), "tcp", 0, "5000")
    bench.ports.taken.add(5000)
    (tunnel,) = bench.declarer.declare(bench.session(), ReqTunnel(protocol="tcp"))
    assert tunnel.port == 40000
    assert bench.affinity.recall(owner_key("a"), "tcp", 0) == "40000"


def test_a_port_that_was_asked_for_is_had_or_refused() -> None:
    bench = Bench()
    session = bench.session()
    (tunnel,) = bench.declarer.declare(session, ReqTunnel(protocol="tcp", remote_port=5000))
    assert tunnel.url == "tcp://me.test:5000"
    assert bench.affinity.recall(owner_key("a"), "tcp", 0) is None
    bench.ports.taken.add(5001)
    with pytest.raises(Fault, match="in use"):
        bench.declarer.declare(session, ReqTunnel(protocol="tcp", remote_port=5001))
    with pytest.raises(Fault, match="this session already"):
        bench.declarer.declare(session, ReqTunnel(protocol="tcp", remote_port=5000))


@pytest.mark.parametrize(
    "request_",
    [
        ReqTunnel(protocol="tcp+http", subdomain="taken"),
        ReqTunnel(protocol="tcp+http", subdomain="www"),
        ReqTunnel(protocol="tcp+http", hostname="192.0.2.1"),
    ],
)
def test_a_refusal_leaves_nothing_bound(request_: ReqTunnel) -> None:
    bench = Bench()
    bench.declarer.declare(bench.session("b"), ReqTunnel(protocol="http", subdomain="taken"))
    session = bench.session("a")
    with pytest.raises(Fault):
        bench.declarer.declare(session, request_)
    assert bench.ports.closed == bench.ports.bound
    assert session.tunnels == {}


def test_a_session_has_a_limit() -> None:
    bench = Bench()
    session = bench.session()
    for _ in range(MAX_TUNNELS):
        bench.declarer.declare(session, ReqTunnel(protocol="http"))
    with pytest.raises(Fault, match=str(MAX_TUNNELS)):
        bench.declarer.declare(session, ReqTunnel(protocol="http"))


def test_taking_down_closes_listeners() -> None:
    bench = Bench()
    session = bench.session()
    tunnels = bench.declarer.declare(session, ReqTunnel(protocol="tcp+http"))
    bench.declarer.take_down(tunnels)
    assert bench.ports.closed == [40000]


# -- with tokens
def test_a_port_is_taken_over_with_its_listener() -> None:
    bench = Bench()
    old = bench.session("a", "alice")
    bench.declarer.declare(old, ReqTunnel(protocol="tcp", remote_port=5000))
    new = bench.session("b", "alice")
    request = ReqTunnel(protocol="tcp", remote_port=5000, options={"on_conflict": "takeover"})
    (tunnel,) = bench.declarer.declare(new, request)
    assert tunnel.port == 5000
    assert not old.tunnels
    assert (bench.ports.closed, bench.ports.served) == ([5000], [5000, 5000])


@pytest.mark.parametrize("protocol", ["tcp", "http+tcp"])
def test_a_port_that_can_not_be_bound_evicts_nobody(protocol: str) -> None:
    bench = Bench()
    old = bench.session("a", "alice")
    port, web = bench.declarer.declare(old, ReqTunnel(protocol="tcp+http", subdomain="shop", remote_port=5000))
    bench.ports.taken.add(5000)  # its range has changed, or the process is out of descriptors
    new = bench.session("b", "alice")
    request = ReqTunnel(protocol=protocol, subdomain="shop", remote_port=5000, options={"on_conflict": "takeover"})
    with pytest.raises(Fault, match="in use"):
        bench.declarer.declare(new, request)
    assert set(old.tunnels) == {port.id, web.id}
    assert not new.tunnels
    assert bench.ports.closed == []
    assert bench.ports.asked_of == [None, port]


def test_a_refused_half_evicts_nobody() -> None:
    bench = Bench()
    old, other = bench.session("a", "alice"), bench.session("b", "bob")
    bench.declarer.declare(old, ReqTunnel(protocol="http", subdomain="shop"))
    bench.declarer.declare(other, ReqTunnel(protocol="tcp", remote_port=5000))
    new = bench.session("c", "alice")
    request = ReqTunnel(protocol="http+tcp", subdomain="shop", remote_port=5000, options={"on_conflict": "takeover"})
    with pytest.raises(Fault, match="another token"):
        bench.declarer.declare(new, request)
    assert len(old.tunnels) == len(other.tunnels) == 1


def test_tunnels_of_a_token_are_counted_by_name_over_its_sessions() -> None:
    bench = Bench()
    first, second = bench.session("a", "alice", max_tunnels=2), bench.session("b", "alice", max_tunnels=2)
    bench.declarer.declare(first, ReqTunnel(protocol="http", subdomain="one"))
    bench.declarer.declare(first, ReqTunnel(protocol="https", subdomain="one"))
    bench.declarer.declare(second, ReqTunnel(protocol="http+https", subdomain="two"))
    for request in (
        ReqTunnel(protocol="http", subdomain="three"),
        ReqTunnel(protocol="tcp"),
        ReqTunnel(protocol="http"),
    ):
        with pytest.raises(Fault) as caught:
            bench.declarer.declare(second, request)
        assert caught.value.code == "too_many_tunnels"
    moved = ReqTunnel(protocol="http+https", subdomain="one", options={"on_conflict": "takeover"})
    assert len(bench.declarer.declare(second, moved)) == 2


def test_any_port_means_any_that_the_token_may_have() -> None:
    bench = Bench()
    bench.ports.taken.add(2000)
    session = bench.session("a", "alice", allow_ports=((2000, 2001),))
    (tunnel,) = bench.declarer.declare(session, ReqTunnel(protocol="tcp"))
    assert tunnel.port == 2001
    bench.ports.taken.add(2001)
    with pytest.raises(Fault) as caught:
        bench.declarer.declare(session, ReqTunnel(protocol="tcp"))
    assert caught.value.code == "port_taken"


def test_a_random_name_has_to_be_allowed_too() -> None:
    bench = Bench()
    (tunnel,) = bench.declarer.declare(
        bench.session("a", "alice", allow_hosts=("*.me.test",)), ReqTunnel(protocol="http")
    )
    assert tunnel.host.endswith(".me.test")
    with pytest.raises(Fault, match="may not have this name"):
        bench.declarer.declare(bench.session("b", "bob", allow_hosts=("one.me.test",)), ReqTunnel(protocol="http"))

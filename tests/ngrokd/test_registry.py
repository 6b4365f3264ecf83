"""The registry: atomic declarations, exact and wildcard routes, and farewells that name (id, generation)."""

from __future__ import annotations

import itertools
from typing import cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ngrokd.opener import Links
from ngrokd.registry import Conflict, Registry, Want
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.tunnel import Protocol, Tunnel
from protocol.messages import Message


class NoControl:
    def send(self, message: Message) -> None: ...
    def end(self, reason: str) -> None: ...


def make_registry(*, one_listener: bool = False) -> Registry:
    ids = itertools.count(1)
    return Registry(lambda: f"t{next(ids)}", one_listener=one_listener)


def make_session(registry: Registry, client_id: str = "a") -> Session:
    key = SessionKey(client_id, registry.next_generation())
    return Session(Identity(key, "s"), AgentInfo(), frozenset(), NoControl(), cast(Links, None))


def want(host: str, protocol: Protocol = "http", port: int = 0) -> Want:
    return Want(protocol, f"{protocol}://{host}:{port}", host=host, port=port)


def enter(registry: Registry, client_id: str = "a") -> Session:
    session = make_session(registry, client_id)
    registry.replace(session)
    return session


def declared(registry: Registry, session: Session, *wants: Want) -> list[Tunnel]:
    outcome = registry.declare(session, wants)
    assert not isinstance(outcome, Conflict)
    return outcome


def test_a_declared_name_is_found_under_its_scheme_only() -> None:
    registry = make_registry()
    (tunnel,) = declared(registry, enter(registry), want("x.me"))
    assert registry.lookup("http", "x.me") is tunnel
    assert registry.lookup("https", "x.me") is None
    assert registry.lookup("http", "y.me") is None


def test_exact_beats_wildcard_and_the_longest_wildcard_wins() -> None:
    registry = make_registry()
    session = enter(registry)
    wide, near, exact = declared(registry, session, want("*.me"), want("*.demo.me"), want("a.demo.me"))
    assert registry.lookup("http", "a.demo.me") is exact
    assert registry.lookup("http", "b.demo.me") is near
    assert registry.lookup("http", "c.b.demo.me") is near
    assert registry.lookup("http", "other.me") is wide
    assert registry.lookup("http", "me") is None
    assert registry.lookup("https", "other.me") is None


def test_behind_a_proxy_https_names_come_in_by_http_too() -> None:
    registry = make_registry(one_listener=True)
    session = enter(registry)
    plain, secure = declared(registry, session, want("x.me"), want("x.me", "https"))
    (only,) = declared(registry, session, want("*.y.me", "https"))
    assert registry.lookup("http", "x.me") is plain
    assert registry.lookup("https", "x.me") is secure
    assert registry.lookup("http", "a.y.me") is only


def test_all_of_a_declaration_or_none() -> None:
    registry = make_registry()
    owner, other = enter(registry, "a"), enter(registry, "b")
    (taken,) = declared(registry, owner, want("x.me", "https"))
    outcome = registry.declare(other, [want("x.me"), want("x.me", "https"), Want("tcp", "tcp://me:2000", port=2000)])
    assert isinstance(outcome, Conflict)
    assert outcome.owner is taken
    assert registry.lookup("http", "x.me") is None
    assert registry.on_port(2000) is None
    assert other.tunnels == {}


def test_the_same_name_twice_in_one_declaration_is_a_mistake() -> None:
    registry = make_registry()
    session = enter(registry)
    with pytest.raises(ValueError, match="twice"):
        registry.declare(session, [want("x.me"), want("x.me")])
    assert registry.lookup("http", "x.me") is None


def test_replacing_frees_everything_at_once_and_returns_it() -> None:
    registry = make_registry()
    old = enter(registry)
    tunnels = declared(registry, old, want("x.me"), Want("tcp", "tcp://me:2000", port=2000))
    new = make_session(registry)
    departure = registry.replace(new)
    assert departure is not None
    assert departure.session is old
    assert departure.tunnels == tunnels
    assert registry.lookup("http", "x.me") is None
    assert registry.on_port(2000) is None
    declared(registry, new, want("x.me"))


def test_the_late_farewell_of_a_replaced_session_touches_nothing() -> None:
    registry = make_registry()
    old = enter(registry)
    declared(registry, old, want("x.me"))
    new = enter(registry)
    (mine,) = declared(registry, new, want("x.me"))
    assert registry.release(old.key) is None
    assert registry.withdraw(old.key, mine.id) is None
    assert registry.session("a") is new
    assert registry.lookup("http", "x.me") is mine


def test_a_session_that_left_can_declare_nothing() -> None:
    registry = make_registry()
    old = enter(registry)
    enter(registry)
    with pytest.raises(ValueError, match="left"):
        registry.declare(old, [want("x.me")])
    with pytest.raises(ValueError, match="older"):
        registry.replace(old)


def test_withdraw_takes_one_tunnel() -> None:
    registry = make_registry()
    session = enter(registry)
    one, two = declared(registry, session, want("x.me"), want("y.me"))
    assert registry.withdraw(session.key, one.id) is one
    assert registry.withdraw(session.key, one.id) is None
    assert registry.lookup("http", "x.me") is None
    assert list(registry.tunnels()) == [two]
    assert list(registry.sessions()) == [session]


def test_the_repr_is_a_summary() -> None:
    registry = make_registry()
    session = enter(registry)
    declared(registry, session, want("x.me"), want("*.y.me"), Want("tcp", "tcp://me:2000", port=2000))
    assert repr(registry) == "<Registry sessions=1 names=2 ports=1>"


CLIENTS = st.sampled_from(["a", "b", "c"])
HOSTS = st.sampled_from(["x.me", "y.me", "*.me", "z.y.me"])


class Owners(RuleBasedStateMachine):
    """Any interleaving of logins, takeovers, farewells (early and late) and declarations: one owner or none per name."""

    @initialize()
    def begin(self) -> None:
        self.registry = make_registry()
        self.ever: list[Session] = []
        self.model: dict[tuple[str, str], Session] = {}

    @rule(client=CLIENTS)
    def log_in(self, client: str) -> None:
        older = self.registry.session(client)
        self.ever.append(enter(self.registry, client))
        self._drop(older)

    @rule(data=st.data())
    def say_farewell(self, data: st.DataObject) -> None:
        if self.ever:
            session = data.draw(st.sampled_from(self.ever))
            live = self.registry.session(session.client_id) is session
            assert (self.registry.release(session.key) is not None) == live
            if live:
                self._drop(session)

    @rule(
        client=CLIENTS,
        hosts=st.lists(HOSTS, min_size=1, max_size=3, unique=True),
        scheme=st.sampled_from(["http", "https"]),
    )
    def declare(self, client: str, hosts: list[str], scheme: Protocol) -> None:
        session = self.registry.session(client)
        if session is None:
            return
        outcome = self.registry.declare(session, [want(host, scheme) for host in hosts])
        free = all((scheme, host) not in self.model for host in hosts)
        assert isinstance(outcome, Conflict) is not free
        if free:
            self.model.update({(scheme, host): session for host in hosts})

    @invariant()
    def owners_agree(self) -> None:
        for (scheme, host), owner in self.model.items():
            found = self.registry.lookup(scheme, host)
            assert found is not None
            assert found.session is owner
        assert sum(1 for _ in self.registry.tunnels()) == len(self.model)

    def _drop(self, session: Session | None) -> None:
        self.model = {name: owner for name, owner in self.model.items() if owner is not session}


TestOwners = Owners.TestCase

"""Names under every interleaving: logins, resumptions, declarations with each wish, takeovers, farewells of old sessions,
expiry, revocation, restarts, time. At each instant a name has one owner or none, and only who had a right to it."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ngrokd.affinity import Affinity
from ngrokd.claims import HOLD_SECONDS, Claims
from ngrokd.declare import Declarer, name_of
from ngrokd.edge.tcp import TcpEdge
from ngrokd.grants import Grant, Scope
from ngrokd.naming import Naming
from ngrokd.opener import Links
from ngrokd.policy import Policy
from ngrokd.registry import Registry
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.store.records import Hold, Name, Reservation
from ngrokd.tunnel import Tunnel
from protocol.errors import Fault
from protocol.messages import Message, ReqTunnel, TunnelClosed
from protocol.names import PublicUrls, Zone
from protocol.secret import new_request_id

TOKENS = ("alice", "bob")
SHOP, WILD, PORT = Name("host", "shop.me.test"), Name("host", "*.demo.me.test"), Name("port", "5000")
NAMES = ("shop", "blog", "x.demo", "*.demo")


T = TypeVar("T")
indices = st.integers(0, 11)
protocols = st.sampled_from(["http", "http+https", "tcp", "https", "http+tcp"])
names = st.sampled_from((*NAMES, ""))
wishes = st.sampled_from(["fail", "takeover", "random"])


def pick(things: list[T], index: int) -> T:
    return things[index % len(things)]


class Control:
    """A control link that notes what it was told."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.ended = False

    def send(self, message: Message) -> None:
        self.said.append(message)

    def end(self, reason: str) -> None:
        self.ended = True


class Ports:
    """tcp ports without sockets; binding one twice is what the kernel would refuse, but to who takes over from `holder`."""

    def __init__(self) -> None:
        self.sockets: Counter[int] = Counter()
        self.next = 40000

    @property
    def open(self) -> set[int]:
        return set(+self.sockets)

    def bind(self, port: int, holder: Tunnel | None = None) -> Any:
        self.next += not port
        port = port or self.next
        if port in self.open and holder is None:
            raise Fault("port_taken", "in use")
        assert holder is None or holder.port == port
        self.sockets[port] += 1
        return Bound(self, port)

    def serve(self, bound: Any, tunnel: Tunnel) -> None:
        assert bound.port == tunnel.port

    def stop(self, tunnel: Tunnel) -> None:
        assert tunnel.port in self.open
        self.sockets[tunnel.port] -= 1


class Bound:
    def __init__(self, ports: Ports, port: int) -> None:
        self.ports, self.port = ports, port

    def close(self) -> None:
        self.ports.sockets[self.port] -= 1


class Ownership(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1e6
        self.rows: dict[Name, Hold] = {}
        self.reserved = {WILD: "alice"}
        self.revoked: set[str] = set()
        self.affinity = Affinity()
        self.had: dict[Name, tuple[str, float]] = {}  # last owner with a token, and when it lost the name (inf: has it)
        self.old_keys: list[SessionKey] = []
        self.refusals: set[str] = set()
        self.start()

    def start(self) -> None:
        self.registry = Registry(new_request_id)
        self.ports = Ports()
        self.claims = Claims()
        self.claims.load(
            [Reservation(name, token) for name, token in self.reserved.items()], self.rows.values(), self.now
        )
        urls = PublicUrls("me.test", {"http": 80, "https": 443})
        self.declarer = Declarer(
            self.registry, Naming(Zone("me.test"), urls), self.affinity, cast(TcpEdge, self.ports), Policy.compile,
            self.write_down, self.claims, lambda: self.now,
        )  # fmt: skip

    def write_down(self) -> None:
        for name, hold in self.claims.take_changes().items():
            self.rows.pop(name, None)
            if hold is not None:
                self.rows[name] = hold

    def sessions(self) -> list[Session]:
        return list(self.registry.sessions())

    def leave(self, key: SessionKey) -> None:
        departure = self.registry.release(key)
        if departure is not None:
            self.lost(departure.tunnels)
            self.declarer.take_down(departure.tunnels)

    def lost(self, tunnels: list[Tunnel]) -> None:
        for tunnel in tunnels:
            account = tunnel.session.identity.account
            if account and not self.holders(name_of(tunnel)):
                self.had[name_of(tunnel)] = (account, self.now)

    def holders(self, name: Name) -> list[Tunnel]:
        return [tunnel for tunnel in self.registry.tunnels() if name_of(tunnel) == name]

    # -- what happens
    @initialize()
    def begin(self) -> None:
        for account in (*TOKENS, ""):
            self.log_in(account, "a", native=True)
            self.log_in(account, "b", native=False)

    @rule(account=st.sampled_from((*TOKENS, "")), client=st.sampled_from("ab"), native=st.booleans())
    def log_in(self, account: str, client: str, native: bool) -> None:
        """Also of a client that is there: its older session is out."""
        if account in self.revoked:
            return
        grant = Grant(account, account, Scope(max_tunnels=3 if account == "bob" else None)) if account else None
        client = f"{account}-{client}"
        older = self.registry.session(client)
        key = SessionKey(client, self.registry.next_generation())
        caps = frozenset({"close"} if native else ())
        identity = Identity(key, new_request_id(), account=account, grant=grant)
        session = Session(identity, AgentInfo(), caps, Control(), cast(Links, None))
        departure = self.registry.replace(session)
        assert (departure is not None) == (older is not None)
        if departure is not None:
            self.old_keys.append(departure.session.key)
            self.lost(departure.tunnels)
            self.declarer.take_down(departure.tunnels)

    @precondition(lambda self: self.sessions())
    @rule(wishes=st.lists(st.tuples(indices, protocols, names, wishes), min_size=1, max_size=5))
    def declare(self, wishes: list[tuple[int, str, str, str]]) -> None:
        for index, protocol, name, wish in wishes:
            self.declare_one(pick(self.sessions(), index), protocol, name, wish)

    def declare_one(self, session: Session, protocol: str, name: str, wish: str) -> None:
        before = {tunnel.id: tunnel for tunnel in self.registry.tunnels()}
        port = 5000 if "tcp" in protocol and name else 0
        request = ReqTunnel(protocol=protocol, subdomain=name, remote_port=port, options={"on_conflict": wish})
        try:
            made = self.declarer.declare(session, request)
        except Fault as fault:
            self.refusals.add(fault.code)
            assert before == {tunnel.id: tunnel for tunnel in self.registry.tunnels()}, "a refusal changes nothing"
            return
        account = session.identity.account
        gone = [tunnel for tunnel in before.values() if self.registry.holder(*place(tunnel)) is not tunnel]
        for tunnel in gone:
            self.check_evicted(tunnel, session, wish)
        for tunnel in made:
            assert self.entitled(name_of(tunnel), account), f"{tunnel} is not for {account!r}"
            if account:
                self.had[name_of(tunnel)] = (account, float("inf"))
            else:
                self.had.pop(name_of(tunnel), None)

    def check_evicted(self, tunnel: Tunnel, by: Session, wish: str) -> None:
        assert wish == "takeover"
        assert tunnel.session.identity.account == by.identity.account != ""
        assert tunnel.id not in tunnel.session.tunnels
        control = cast(Control, tunnel.session.control)
        told = [message for message in control.said if isinstance(message, TunnelClosed)]
        assert control.ended or tunnel.id in [message.tunnel_id for message in told]

    def entitled(self, name: Name, account: str) -> bool:
        wildcard = name.kind == "host" and name.text.endswith(".demo.me.test")
        owner = self.reserved.get(name) or (self.reserved.get(WILD) if wildcard else None)
        if owner is not None:
            return owner == account
        last, until = self.had.get(name, (account, 0.0))
        return last == account or self.now >= until + HOLD_SECONDS or last in self.revoked

    @precondition(lambda self: any(session.tunnels for session in self.sessions()))
    @rule(index=indices)
    def close_one(self, index: int) -> None:
        tunnel = pick(list(self.registry.tunnels()), index)
        gone = self.registry.withdraw(tunnel.session.key, tunnel.id)
        assert gone is tunnel
        self.lost([tunnel])
        self.declarer.take_down([tunnel])

    @precondition(lambda self: self.sessions())
    @rule(index=indices)
    def end(self, index: int) -> None:
        """A cut cable, silence, expiry: the session is released, twice."""
        session = pick(self.sessions(), index)
        self.old_keys.append(session.key)
        self.leave(session.key)
        self.leave(session.key)

    @precondition(lambda self: self.old_keys)
    @rule(index=indices)
    def late_farewell(self, index: int) -> None:
        before = {tunnel.id for tunnel in self.registry.tunnels()}
        self.leave(pick(self.old_keys, index))
        assert before == {tunnel.id for tunnel in self.registry.tunnels()}

    @rule(account=st.sampled_from(TOKENS))
    def revoke(self, account: str) -> None:
        for session in self.registry.sessions_of(account):
            self.leave(session.key)
        self.claims.release(account)
        self.write_down()
        self.revoked.add(account)

    @rule(account=st.sampled_from(TOKENS))
    def a_new_token(self, account: str) -> None:
        self.revoked.discard(account)
        self.had = {
            name: (last, when) for name, (last, when) in self.had.items() if last != account or when == float("inf")
        }

    @rule(account=st.sampled_from(TOKENS), name=st.sampled_from([SHOP, PORT, Name("host", "x.demo.me.test")]))
    def reserve(self, account: str, name: Name) -> None:
        if not self.holders(name):
            self.reserved[name] = account
            self.claims.reserve(name, account)

    @rule(name=st.sampled_from([SHOP, PORT]))
    def unreserve(self, name: Name) -> None:
        self.reserved.pop(name, None)
        self.claims.unreserve(name)

    @rule(hours=st.sampled_from([1, 12, 25]))
    def wait(self, hours: int) -> None:
        self.now += hours * 3600

    @rule()
    def restart(self) -> None:
        """kill -9: nobody said farewell, the rows are what they are."""
        for name, (last, until) in self.had.items():
            if until == float("inf"):
                self.had[name] = (last, self.now)
        self.old_keys.clear()
        self.start()

    # -- what always holds
    @invariant()
    def one_owner(self) -> None:
        seen: dict[tuple[str, str, int], Tunnel] = {}
        for session in self.sessions():
            for tunnel in session.tunnels.values():
                assert tunnel.session is session
                assert seen.setdefault(place(tunnel), tunnel) is tunnel, "two owners"
                assert self.registry.holder(*place(tunnel)) is tunnel, "an owner that is not routed to"
        assert self.ports.open == {port for protocol, _, port in seen if protocol == "tcp"}, (
            "a listener without a tunnel"
        )

    @invariant()
    def refusals_are_known(self) -> None:
        assert self.refusals <= {"name_taken", "too_many_tunnels", "bad_name"}

    @invariant()
    def routes_lead_to_owners(self) -> None:
        for host in ("shop.me.test", "blog.me.test", "x.demo.me.test", "y.demo.me.test"):
            for scheme in ("http", "https"):
                found = self.registry.lookup(scheme, host)
                assert found is None or found.session.tunnels.get(found.id) is found


def place(tunnel: Tunnel) -> tuple[str, str, int]:
    return tunnel.protocol, tunnel.host, tunnel.port


Ownership.TestCase.settings = settings(
    settings.get_profile(settings._current_profile or "fast"), max_examples=150, stateful_step_count=40
)
TestOwnership = Ownership.TestCase


def test_a_thousand_registrations_of_one_name_have_one_winner() -> None:
    world = Ownership()
    won, lost = [], []
    for number in range(1000):
        key = SessionKey(f"c{number}", world.registry.next_generation())
        account = f"token{number % 7}"
        grant = Grant(account, account, Scope())
        session = Session(
            Identity(key, "s", account=account, grant=grant), AgentInfo(), frozenset(), Control(), cast(Links, None)
        )
        world.registry.replace(session)
        try:
            won += world.declarer.declare(session, ReqTunnel(protocol="http+https", subdomain="one"))
        except Fault as fault:
            lost.append(fault.code)
    assert len(won) == 2
    assert lost == ["name_taken"] * 999
    assert len(list(world.registry.tunnels())) == 2

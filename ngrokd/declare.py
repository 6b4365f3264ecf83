"""Declaring tunnels: a ReqTunnel becomes tunnels, all of its protocols or none.

The steps are parse, compile the policy, choose names, bind a tcp port, evict who must give way, enter the registry. Every
step before the eviction may refuse, and a refusal leaves nothing behind: a port that changes hands is bound while its old
tunnel still has it. Choosing asks, for each name, the token's grant,
the claims on the name and the registry, in that order. One synchronous call: nobody sees a request half done, and nothing
can come between a check and what it allows. It must not know the control link.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ngrokd.affinity import Affinity
from ngrokd.claims import Claims
from ngrokd.memory import candidates, keep
from ngrokd.naming import Naming, protocols_of
from ngrokd.registry import Conflict, Registry, Want
from ngrokd.session import Session
from ngrokd.store.records import Name
from ngrokd.tunnel import Protocol, Tunnel
from ngrokd.yielding import Conflicts, tell_evicted
from protocol.errors import Blame, Fault
from protocol.messages import ReqTunnel
from protocol.names import PublicName
from protocol.secret import random_name

if TYPE_CHECKING:
    from ngrokd.edge.tcp import BoundTcp, TcpEdge
    from ngrokd.policy import Policy

MAX_TUNNELS = 256  # of one session: a config file has a dozen, a loop that never ends has no end
RANDOM_TRIES = 20  # remembered names may be taken; with 80 bits fresh ones never are
PORT_TRIES = 50  # of ports in a token's ranges

CompilePolicy = Callable[[str, Mapping[str, object] | None], "Policy"]


@dataclass(frozen=True, slots=True)
class Declarer:
    """Turns requests into tunnels and takes them down again. `remembered` is called after affinity or claims may have
    changed; `clock` is that of the claims."""

    registry: Registry
    naming: Naming
    affinity: Affinity
    tcp: TcpEdge
    compile_policy: CompilePolicy
    remembered: Callable[[], None]
    claims: Claims = field(default_factory=Claims)
    clock: Callable[[], float] = time.time

    def declare(self, session: Session, request: ReqTunnel) -> list[Tunnel]:
        """The tunnels of `request`, in its order, online from now on. Raises Fault with a message for the agent's user;
        then nothing has changed."""
        asked = self._understand(session, request)
        web = self._choose_host(asked) if asked.web else None
        port = self._choose_port(asked) if asked.tcp else None
        self._check_count(asked, web, port)
        bound = self._bind(asked, port) if port is not None else None
        try:
            self._evict(asked.conflicts)
            outcome = self.registry.declare(session, [self._want(asked, p, web, bound) for p in asked.protocols])
            if isinstance(outcome, Conflict):
                raise asked.conflicts.refusal(outcome.owner, outcome.want.url)
            if bound is not None:
                self.tcp.serve(bound, next(tunnel for tunnel in outcome if tunnel.protocol == "tcp"))
        except BaseException:
            if bound is not None:
                bound.close()
            raise
        self._remember(asked, outcome, web, bound if port is not None and not port.chosen else None)
        return outcome

    def take_down(self, tunnels: Iterable[Tunnel]) -> None:
        """Close what tunnels that have left the registry had open; their names wait for their owner."""
        now = self.clock()
        for tunnel in tunnels:
            if tunnel.protocol == "tcp":
                self.tcp.stop(tunnel)
            elif any(self.registry.holder(scheme, tunnel.host) is not None for scheme in ("http", "https")):
                continue  # its twin of the other scheme is still there
            self.claims.freed(name_of(tunnel), tunnel.session.identity.account, now)
        self.remembered()

    # -- understanding
    def _understand(self, session: Session, request: ReqTunnel) -> _Asked:
        protocols = protocols_of(request)
        if len(session.tunnels) + len(protocols) > MAX_TUNNELS:
            raise Fault("too_many_tunnels", f"a session has at most {MAX_TUNNELS} tunnels", blame=Blame.AGENT)
        if session.identity.grant is not None:
            session.identity.grant.check_alive(self.clock())
        policy = self.compile_policy(request.http_auth, request.options)
        wish = (request.options or {}).get("on_conflict", "fail")
        return _Asked(session, request, protocols, policy, Conflicts(session, str(wish)))

    def _check_count(self, asked: _Asked, web: _Web | None, port: _Port | None) -> None:
        """The token's tunnels, counted by name: http and https of one host are one."""
        grant = asked.session.identity.grant
        if grant is None or grant.scope.max_tunnels is None:
            return
        gone = {tunnel.id for tunnel in asked.conflicts.evicted}
        sessions = self.registry.sessions_of(grant.account)
        names = {name_of(each) for one in sessions for each in one.tunnels.values() if each.id not in gone}
        if web is not None:
            names |= {Name("host", found.host) for found in web.names.values()}
        grant.check_tunnels(len(names) + (port is not None))

    # -- hosts
    def _choose_host(self, asked: _Asked) -> _Web:
        """The name that is asked for, or the first random one that is free. Raises Fault."""
        rules = {"wildcard": bool(asked.session.identity.account), "native": bool(asked.session.caps)}
        names = {p: self.naming.requested(p, asked.request, **rules) for p in asked.web}
        wanted = {protocol: name for protocol, name in names.items() if name is not None}
        if len(wanted) == len(names):
            try:
                self._admit_hosts(asked, wanted)
                return _Web(wanted)
            except Fault as fault:
                if not asked.conflicts.settles(fault):
                    raise
        refusal: Fault | None = None
        for label in self._labels(asked.session):
            found = {protocol: self.naming.under_domain(protocol, label) for protocol in asked.web}
            if any(self.registry.holder(protocol, name.host) is not None for protocol, name in found.items()):
                continue
            try:
                self._admit_hosts(asked, found)
                return _Web(found, label)
            except Fault as fault:
                refusal = fault
        raise refusal or Fault("name_taken", "no free name was found", blame=Blame.SERVER, retry=True)

    def _admit_hosts(self, asked: _Asked, names: Mapping[Protocol, PublicName]) -> None:
        """Raises Fault when this session may not have one of `names` now; notes who has to give way."""
        identity = asked.session.identity
        owners = []
        for protocol, name in names.items():
            if identity.grant is not None:
                identity.grant.check_host(name.host)
            self.claims.check(Name("host", name.host), identity.account, self.clock())
            owner = self.registry.holder(protocol, name.host)
            if owner is not None:
                asked.conflicts.check(owner, name.url)
                owners.append(owner)
        asked.conflicts.evicted += owners

    def _labels(self, session: Session) -> Iterator[str]:
        known = candidates(self.affinity, session.identity, "http", _slot(session, "http"))
        return itertools.islice(itertools.chain(known, iter(random_name, "")), RANDOM_TRIES)

    # -- tcp ports
    def _choose_port(self, asked: _Asked) -> _Port:
        """The port that is asked for, or 0. Raises Fault when it may not be had."""
        port = asked.request.remote_port
        if not port:
            return _Port(0, chosen=False)
        try:
            self._admit_port(asked.session, port)
            owner = self.registry.holder("tcp", "", port)
            if owner is not None:
                asked.conflicts.check(owner, f"tcp port {port}")
                asked.conflicts.evicted.append(owner)
        except Fault as fault:
            if not asked.conflicts.settles(fault):
                raise
            return _Port(0, chosen=False)
        return _Port(port, chosen=True, holder=owner)

    def _admit_port(self, session: Session, port: int) -> None:
        identity = session.identity
        if identity.grant is not None:
            identity.grant.check_port(port)
        self.claims.check(Name("port", str(port)), identity.account, self.clock())

    def _bind(self, asked: _Asked, port: _Port) -> BoundTcp:
        if port.chosen:
            return self.tcp.bind(port.number, port.holder)
        refusal: Fault | None = None
        for number in self._ports(asked.session):
            try:
                if number:
                    self._admit_port(asked.session, number)
                bound = self.tcp.bind(number)
            except Fault as fault:  # somebody else has it now: another will do
                refusal = fault
                if not number:
                    break
                continue
            try:
                self._admit_port(asked.session, bound.port)
                return bound
            except Fault as fault:
                bound.close()
                refusal = fault
        raise refusal or Fault("no_port", "no free tcp port was found", blame=Blame.OPERATOR, retry=True)

    def _ports(self, session: Session) -> Iterator[int]:
        """Which ports to try for a tunnel that takes any: remembered ones first, 0 for the system's choice."""
        slot, grant = _slot(session, "tcp"), session.identity.grant
        for text in candidates(self.affinity, session.identity, "tcp", slot):
            if text.isascii() and text.isdigit():
                yield int(text)
        if grant is None or not grant.scope.allow_ports:
            yield from itertools.repeat(0, PORT_TRIES)
        else:
            allowed = itertools.chain.from_iterable(range(first, last + 1) for first, last in grant.scope.allow_ports)
            yield from itertools.islice(allowed, 65536)

    # -- carrying out
    def _evict(self, conflicts: Conflicts) -> None:
        """Who has to give way is out of the registry and told so."""
        for tunnel in conflicts.evicted:
            gone = self.registry.withdraw(tunnel.session.key, tunnel.id)
            if gone is not None:
                self.take_down([gone])
                tell_evicted(gone)

    def _want(self, asked: _Asked, protocol: Protocol, web: _Web | None, bound: BoundTcp | None) -> Want:
        if protocol == "tcp":
            assert bound is not None
            url = self.naming.urls.at_port(bound.port).url
            return Want(
                "tcp", url, port=bound.port, policy=asked.policy, chosen=bound.port == asked.request.remote_port
            )
        assert web is not None
        found = web.names[protocol]
        return Want(protocol, found.url, host=found.host, policy=asked.policy, chosen=not web.label)

    def _remember(self, asked: _Asked, tunnels: Sequence[Tunnel], web: _Web | None, bound: BoundTcp | None) -> None:
        identity = asked.session.identity
        slots = asked.slots
        if web is not None and web.label:
            keep(self.affinity, identity, "http", slots["http"], web.label)
        if bound is not None:
            keep(self.affinity, identity, "tcp", slots["tcp"], str(bound.port))
        for tunnel in tunnels:
            self.claims.used(name_of(tunnel), identity.account)
        self.remembered()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A ReqTunnel, understood."""

    session: Session
    request: ReqTunnel
    protocols: Sequence[Protocol]
    policy: Policy
    conflicts: Conflicts
    slots: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots.update({kind: _slot(self.session, kind) for kind in ("http", "tcp")})

    @property
    def web(self) -> list[Protocol]:
        return [protocol for protocol in self.protocols if protocol != "tcp"]

    @property
    def tcp(self) -> bool:
        return "tcp" in self.protocols


@dataclass(frozen=True, slots=True)
class _Web:
    """The names for each web protocol. `label`: the random one they are made of, "" when they were asked for."""

    names: Mapping[Protocol, PublicName]
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Port:
    """`holder`: whose listener it is now, and who has to give way."""

    number: int
    chosen: bool
    holder: Tunnel | None = None


def name_of(tunnel: Tunnel) -> Name:
    """The name of a tunnel as claims and the store know it."""
    return Name("port", str(tunnel.port)) if tunnel.protocol == "tcp" else Name("host", tunnel.host)


def _slot(session: Session, kind: str) -> int:
    """Which of the session's random tunnels of this kind the next one is: http and https of one name count once."""
    taken = {
        tunnel.port or tunnel.host
        for tunnel in session.tunnels.values()
        if not tunnel.chosen and (tunnel.protocol == "tcp") == (kind == "tcp")
    }
    return len(taken)

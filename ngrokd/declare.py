"""Declaring tunnels: a ReqTunnel becomes tunnels, all of its protocols or none.

The steps are parse, name, compile the policy, bind tcp ports, enter the registry; every step may refuse, and a refusal
leaves nothing behind. One synchronous call: nobody sees a request half done. It must not know the control link.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ngrokd.affinity import Affinity, owner_key
from ngrokd.naming import Naming, protocols_of
from ngrokd.registry import Conflict, Registry, Want
from ngrokd.session import Session
from ngrokd.tunnel import Protocol, Tunnel
from protocol.errors import Blame, Fault
from protocol.messages import ReqTunnel
from protocol.secret import random_name

if TYPE_CHECKING:
    from ngrokd.edge.tcp import BoundTcp, TcpEdge
    from ngrokd.policy import Policy

MAX_TUNNELS = 256  # of one session: a config file has a dozen, a loop that never ends has no end
RANDOM_TRIES = 5  # as in 1.7; with 80 bits the second is never needed, but a remembered name may be taken

CompilePolicy = Callable[[str, Mapping[str, object] | None], "Policy"]


@dataclass(frozen=True, slots=True)
class Declarer:
    """Turns requests into tunnels and takes them down again. `remembered` is called after affinity may have changed."""

    registry: Registry
    naming: Naming
    affinity: Affinity
    tcp: TcpEdge
    compile_policy: CompilePolicy
    remembered: Callable[[], None]

    def declare(self, session: Session, request: ReqTunnel) -> list[Tunnel]:
        """The tunnels of `request`, in its order, online from now on. Raises Fault with a message for the agent's user;
        then nothing has changed."""
        protocols = protocols_of(request)
        if len(session.tunnels) + len(protocols) > MAX_TUNNELS:
            raise Fault("too_many_tunnels", f"a session has at most {MAX_TUNNELS} tunnels", blame=Blame.AGENT)
        policy = self.compile_policy(request.http_auth, request.options)
        owner = owner_key(session.client_id, session.identity.account)
        slots = _slot(session, "tcp"), _slot(session, "http")
        bound = self._bind(request, owner, slots[0]) if "tcp" in protocols else None
        try:
            tunnels = self._enter(session, _Request(request, protocols, policy, bound), owner, slots[1])
            if bound is not None:
                self.tcp.serve(bound, next(tunnel for tunnel in tunnels if tunnel.protocol == "tcp"))
        except BaseException:
            if bound is not None:
                bound.close()
            raise
        if bound is not None and not request.remote_port:
            self.affinity.remember(owner, "tcp", slots[0], str(bound.port))
        self.remembered()
        return tunnels

    def take_down(self, tunnels: Iterable[Tunnel]) -> None:
        """Close what tunnels that have left the registry had open."""
        for tunnel in tunnels:
            if tunnel.protocol == "tcp":
                self.tcp.stop(tunnel)

    def _bind(self, request: ReqTunnel, owner: str, slot: int) -> BoundTcp:
        if request.remote_port:
            return self.tcp.bind(request.remote_port)
        remembered = self.affinity.recall(owner, "tcp", slot)
        if remembered is not None and remembered.isascii() and remembered.isdigit():
            with contextlib.suppress(Fault):  # somebody else has it now: any other port will do
                return self.tcp.bind(int(remembered))
        return self.tcp.bind(0)

    def _enter(self, session: Session, asked: _Request, owner: str, slot: int) -> list[Tunnel]:
        """Into the registry with the name that is asked for, or with random ones until one is free."""
        names = [protocol for protocol in asked.protocols if protocol != "tcp"]
        random = any(self.naming.requested(protocol, asked.request) is None for protocol in names)
        for name in self._candidates(owner, slot) if random else [""]:
            wants = [self._want(asked, protocol, name) for protocol in asked.protocols]
            outcome = self.registry.declare(session, wants)
            if not isinstance(outcome, Conflict):
                if random:
                    self.affinity.remember(owner, "http", slot, name)
                return outcome
        assert isinstance(outcome, Conflict)
        raise Fault(
            "name_taken",
            f"{outcome.want.url} is already registered by another agent",
            blame=Blame.OPERATOR,
            hint="choose another name",
            retry=True,
        )

    def _want(self, asked: _Request, protocol: Protocol, name: str) -> Want:
        request, policy = asked.request, asked.policy
        if protocol == "tcp":
            assert asked.bound is not None
            port = asked.bound.port
            url = self.naming.urls.at_port(port).url
            return Want("tcp", url, port=port, policy=policy, chosen=bool(request.remote_port))
        found = self.naming.requested(protocol, request)
        chosen = found is not None
        found = found or self.naming.under_domain(protocol, name)
        return Want(protocol, found.url, host=found.host, policy=policy, chosen=chosen)

    def _candidates(self, owner: str, slot: int) -> Iterator[str]:
        remembered = self.affinity.recall(owner, "http", slot)
        fresh = (random_name() for _ in itertools.count())
        return itertools.islice(itertools.chain([remembered] if remembered else [], fresh), RANDOM_TRIES)


@dataclass(frozen=True, slots=True)
class _Request:
    """A ReqTunnel, understood."""

    request: ReqTunnel
    protocols: Sequence[Protocol]
    policy: Policy
    bound: BoundTcp | None


def _slot(session: Session, kind: str) -> int:
    """Which of the session's random tunnels of this kind the next one is: http and https of one name count once."""
    taken = {
        tunnel.port or tunnel.host
        for tunnel in session.tunnels.values()
        if not tunnel.chosen and (tunnel.protocol == "tcp") == (kind == "tcp")
    }
    return len(taken)

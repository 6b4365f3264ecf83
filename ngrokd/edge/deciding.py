"""Who serves a request, and whether it may pass: guard, routing, the token's rate, the tunnel's policy, in that order.
And whether a request that got no answer may be sent again, and to whom.

Each request is decided on its own, whatever was decided for the one before it on its connection, and by the one parsed head
that frames and forwards it, too. Knows no ports and no bodies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ngrokd.policy.denial import Denial

if TYPE_CHECKING:
    from ngrokd.edge.visitor import VisitorConnection
    from ngrokd.tunnel import Tunnel
    from protocol.errors import Fault
    from protocol.head import RequestHead

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110, 9.2.2 (TRACE is refused)


def decide(visitor: VisitorConnection, request: RequestHead) -> Tunnel | Denial | None:
    """The tunnel that serves `request`, or why none does. None: its agent is expected back; `visitor.look_again` is called
    later."""
    guard = visitor.edge.guard
    if guard is not None:
        denial = guard.consider(visitor, request)
        if denial is not None:
            return denial
    return find(visitor, request)


def find(visitor: VisitorConnection, request: RequestHead) -> Tunnel | Denial | None:
    """The same for a request that the guard has let in already, and counted: one that waited, or is sent again."""
    edge = visitor.edge
    if visitor.server_name is not None and visitor.server_name != request.host:
        return Denial("misdirected")
    tunnel = edge.registry.lookup(edge.scheme, request.host)
    if tunnel is None:
        if edge.room is not None and edge.room.takes(visitor, edge.scheme, request.host):
            return None
        if edge.heir is not None and edge.heir(visitor, request):
            return None
        return Denial(edge.why_unknown(request.host))
    usage = tunnel.session.usage
    if usage is not None and not usage.admit_request(edge.reactor.now):
        return Denial("tunnel_rate_limited", detail=usage.grant.name)
    policy = tunnel.policy
    if policy is not None and not policy.trivial:
        denial = policy.admit(visitor.address[0], request, visitor.secure)
        if denial is not None:
            return denial
    return tunnel


def may_repeat(request: RequestHead) -> bool:
    """Whether sending `request` twice does no more than sending it once, and we still have all of it."""
    return not request.length and request.method in IDEMPOTENT


def decide_again(visitor: VisitorConnection, request: RequestHead, tunnel: Tunnel) -> Tunnel | Denial | None:
    """The same as `decide` for a request that `tunnel` was to serve: it has been let in, but names change hands."""
    owner = visitor.edge.registry.lookup(visitor.edge.scheme, request.host)
    if owner is tunnel:
        return tunnel
    if owner is None and visitor.edge.heir is None:
        return Denial("agent_gone")
    return find(visitor, request)


def decide_without(visitor: VisitorConnection, request: RequestHead, fault: Fault) -> Denial | None:
    """What becomes of `request` when there is no stream for it: after a hot restart its agent may have gone over to the
    heir while it waited."""
    heir = visitor.edge.heir
    if fault.code == "agent_gone" and heir is not None and heir(visitor, request):
        return None
    return Denial(fault.code, detail=fault.message)

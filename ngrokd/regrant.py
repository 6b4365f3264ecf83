"""Giving the sessions of a token its new limits while they run. What they may no longer have is taken from them.

Rights to names and ports are checked again for every tunnel; of numbers (tunnels, sessions) only what comes later is
measured by the new ones. Streams that run keep the bandwidth that they were opened with. Synchronous: no request meets half
of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ngrokd.control import dismiss
from ngrokd.grants import Grant
from ngrokd.throttle import limited
from protocol.errors import Fault
from protocol.messages import TunnelClosed

if TYPE_CHECKING:
    from ngrokd.control import Services
    from ngrokd.session import Session
    from ngrokd.tunnel import Tunnel


def regrant(services: Services, grant: Grant) -> None:
    """`grant` is a token's new one, compiled for this server."""
    usage = services.usages.get(grant.account)
    if usage is not None:
        usage.use(grant)
    for session in list(services.registry.sessions_of(grant.account)):
        session.identity = replace(session.identity, grant=grant)
        session.opener = limited(services.reactor, session.links, session.usage, services.log)
        lost = [tunnel for tunnel in session.tunnels.values() if not _allowed(grant, tunnel)]
        if lost:
            _take(services, session, lost)


def _allowed(grant: Grant, tunnel: Tunnel) -> bool:
    try:
        if tunnel.host:
            grant.check_host(tunnel.host)
        else:
            grant.check_port(tunnel.port)
    except Fault:
        return False
    return True


def _take(services: Services, session: Session, lost: list[Tunnel]) -> None:
    """A native agent is told for each tunnel; a 1.7 agent can't be, so it is sent to log in anew and is told then."""
    reason = "the token may not have this name any more"
    if session.caps:
        for tunnel in lost:
            services.registry.withdraw(session.key, tunnel.id)
            session.control.send(TunnelClosed(tunnel.id, "not_allowed", reason))
        services.declarer.take_down(lost)
    else:
        dismiss(services, services.registry.release(session.key), reason)
    services.cut(lost)

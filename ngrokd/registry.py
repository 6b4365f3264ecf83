"""Who owns which public name: routes, tcp ports and sessions. Pure: no IO, no clock, no waiting.

Every mutation is one synchronous call that either happens whole or not at all, and returns what must now be done; the
caller does it afterwards. So at every instant a name has exactly one owner or none, whatever is awaited elsewhere.
A release names (client id, generation): the farewell of a replaced session finds nothing of its successor's to take away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ngrokd.session import Session, SessionKey
from ngrokd.tunnel import Protocol, Tunnel
from protocol.names import is_wildcard, wildcards_for

if TYPE_CHECKING:
    from ngrokd.policy import Policy


@dataclass(frozen=True, slots=True)
class Want:
    """One tunnel to be: checked, normalised, with the URL the agent will be told."""

    protocol: Protocol
    url: str
    host: str = ""  # http and https: lower case, without port; `*.` in front makes it a wildcard
    port: int = 0  # tcp: the port whose listener is bound already
    policy: Policy | None = None
    chosen: bool = True  # False: the server picked the name or port


@dataclass(frozen=True, slots=True)
class Conflict:
    """Nothing was declared: `want` belongs to `owner` already."""

    want: Want
    owner: Tunnel


@dataclass(frozen=True, slots=True)
class Departure:
    """A session that is no longer in the registry and the tunnels it had: end its link, close their listeners."""

    session: Session
    tunnels: list[Tunnel]


class Registry:
    """The one place where routing is decided. `new_id` makes tunnel ids (unguessable, unique). `one_listener`: https tunnels
    come in by the http listener too, because somebody else's proxy stands before it (`-publicUrl`)."""

    def __init__(self, new_id: Callable[[], str], *, one_listener: bool = False) -> None:
        self._new_id = new_id
        self._one_listener = one_listener
        self._exact: dict[tuple[str, str], Tunnel] = {}
        self._wild: dict[tuple[str, str], Tunnel] = {}  # apart, so that the usual lookup is one step
        self._ports: dict[int, Tunnel] = {}
        self._sessions: dict[str, Session] = {}
        self._generation = 0

    def __repr__(self) -> str:
        names = len(self._exact) + len(self._wild)
        return f"<Registry sessions={len(self._sessions)} names={names} ports={len(self._ports)}>"

    # -- looking up
    def lookup(self, scheme: str, host: str) -> Tunnel | None:
        """The tunnel for a normalised host: an exact name before a wildcard, the longest wildcard before shorter ones."""
        found = self._exact.get((scheme, host))
        if found is not None:
            return found
        if self._wild:
            found = self._wildcard(scheme, host)
        if found is None and self._one_listener and scheme == "http":
            return self.lookup("https", host)
        return found

    def _wildcard(self, scheme: str, host: str) -> Tunnel | None:
        for wildcard in wildcards_for(host):
            found = self._wild.get((scheme, wildcard))
            if found is not None:
                return found
        return None

    def holder(self, protocol: str, host: str, port: int = 0) -> Tunnel | None:
        """The tunnel that has exactly this name (or port, for tcp) now: for who wants to declare it."""
        if protocol == "tcp":
            return self._ports.get(port)
        table, key = self._table(protocol, host)
        return table.get(key)

    def on_port(self, port: int) -> Tunnel | None:
        return self._ports.get(port)

    def session(self, client_id: str) -> Session | None:
        return self._sessions.get(client_id)

    def sessions(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def sessions_of(self, account: str) -> list[Session]:
        """All sessions of one token. Looks at every session: for operators and declarations, not for requests."""
        return [session for session in self._sessions.values() if session.identity.account == account]

    def tunnels(self) -> Iterator[Tunnel]:
        return iter([tunnel for session in self._sessions.values() for tunnel in session.tunnels.values()])

    # -- sessions
    def next_generation(self) -> int:
        """A number that no session had before, larger than all earlier ones."""
        self._generation += 1
        return self._generation

    def replace(self, session: Session) -> Departure | None:
        """Let `session` in. An older session of the same client id is out at once and all its names are free; it is
        returned so that the caller ends its link. Raises ValueError for a session that is older than the one it meets."""
        older = self._sessions.get(session.client_id)
        if older is not None and older.generation >= session.generation:
            raise ValueError("a session can't be replaced by an older one")
        departure = self.release(older.key) if older is not None else None
        self._sessions[session.client_id] = session
        return departure

    def release(self, key: SessionKey) -> Departure | None:
        """Take out exactly this generation with everything it has; None when it is out already."""
        session = self._sessions.get(key.client_id)
        if session is None or session.generation != key.generation:
            return None
        del self._sessions[key.client_id]
        tunnels = list(session.tunnels.values())
        for tunnel in tunnels:
            self._forget(tunnel)
        session.tunnels.clear()
        return Departure(session, tunnels)

    # -- tunnels
    def declare(self, session: Session, wants: Sequence[Want]) -> list[Tunnel] | Conflict:
        """Bind all of `wants` or none of them. Raises ValueError when `session` is not in (any more), or when `wants`
        contradict each other."""
        if self._sessions.get(session.client_id) is not session:
            raise ValueError("the session has left")
        for want in wants:
            owner = self.holder(want.protocol, want.host, want.port)
            if owner is not None:
                return Conflict(want, owner)
        if len({(want.protocol, want.host, want.port) for want in wants}) != len(wants):
            raise ValueError("the same name is wanted twice")
        declared = []
        for want in wants:
            tunnel = Tunnel(
                self._new_id(), want.url, want.protocol, want.host, want.port, session, want.policy, chosen=want.chosen
            )
            self._bind(tunnel)
            session.tunnels[tunnel.id] = tunnel
            declared.append(tunnel)
        return declared

    def withdraw(self, key: SessionKey, tunnel_id: str) -> Tunnel | None:
        """Take out one tunnel of exactly this generation; None when it is not there (any more)."""
        session = self._sessions.get(key.client_id)
        if session is None or session.generation != key.generation:
            return None
        tunnel = session.tunnels.pop(tunnel_id, None)
        if tunnel is not None:
            self._forget(tunnel)
        return tunnel

    # -- the tables
    def _table(self, protocol: str, host: str) -> tuple[dict[tuple[str, str], Tunnel], tuple[str, str]]:
        if is_wildcard(host):
            return self._wild, (protocol, host)
        return self._exact, (protocol, host)

    def _bind(self, tunnel: Tunnel) -> None:
        if tunnel.protocol == "tcp":
            self._ports[tunnel.port] = tunnel
            return
        table, key = self._table(tunnel.protocol, tunnel.host)
        table[key] = tunnel

    def _forget(self, tunnel: Tunnel) -> None:
        """Remove `tunnel` from its table, if it is the one that stands there."""
        if tunnel.protocol == "tcp":
            if self._ports.get(tunnel.port) is tunnel:
                del self._ports[tunnel.port]
            return
        table, key = self._table(tunnel.protocol, tunnel.host)
        if table.get(key) is tunnel:
            del table[key]

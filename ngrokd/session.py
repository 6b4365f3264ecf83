"""A session: one authenticated agent and what belongs to it. No IO: its control link stands behind two methods.

The registry holds sessions by client id; the generation tells an older session of the same agent from a newer one, so a
late farewell of the old one can name exactly what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from protocol.messages import Message
from protocol.secret import Secret

if TYPE_CHECKING:
    from ngrokd.grants import Grant
    from ngrokd.opener import Links, Opener
    from ngrokd.tunnel import Tunnel
    from ngrokd.usage import Usage


class SessionKey(NamedTuple):
    """What every release names: never the id alone."""

    client_id: str
    generation: int


class ControlHandle(Protocol):
    """The session's control link, as the rest of the server sees it. Neither call waits or raises."""

    def send(self, message: Message) -> None:
        """Queue a message; a link that can't keep up is ended."""

    def end(self, reason: str) -> None:
        """Close the link after what is queued; the session's own task releases the rest."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this is, as found out when the agent was let in; only its token's grant may become another (`regrant`)."""

    key: SessionKey
    session_id: str
    ticket: Secret | None = None  # None: classic, links prove themselves by the client id
    account: str = ""  # the token's id; "" while the server has no tokens
    grant: Grant | None = None  # what the token allows; None: everything


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """What the agent says about itself (for people; never decided upon) and where it comes from."""

    version: str = ""
    os: str = ""
    lang: str = ""
    address: str = ""


@dataclass(slots=True, eq=False)
class Session:
    """One agent, logged in. `links` is what its links join; closing it is the job of who made the session."""

    identity: Identity
    agent: AgentInfo
    caps: frozenset[str]
    control: ControlHandle
    links: Links
    tunnels: dict[str, Tunnel] = field(default_factory=dict)
    usage: Usage | None = None
    opener: Opener = field(init=False)
    """Gets visitors to the agent: `links`, or who counts and slows before it where its token has limits (`usage`)."""

    def __post_init__(self) -> None:
        self.opener = self.links

    @property
    def key(self) -> SessionKey:
        return self.identity.key

    @property
    def id(self) -> str:
        return self.identity.session_id

    @property
    def client_id(self) -> str:
        return self.identity.key.client_id

    @property
    def generation(self) -> int:
        return self.identity.key.generation

    @property
    def ticket(self) -> Secret | None:
        return self.identity.ticket

    def admits(self, client_id: str, ticket: str | None) -> bool:
        """Whether a proxy link or leg with these credentials belongs here: by ticket where one was granted."""
        if client_id != self.client_id:
            return False
        return self.ticket is None or (ticket is not None and self.ticket.matches(ticket))

    def __repr__(self) -> str:
        dialect = "native" if self.caps else "classic"
        return f"<Session {self.client_id[:8]}#{self.generation} {dialect} tunnels={len(self.tunnels)}>"

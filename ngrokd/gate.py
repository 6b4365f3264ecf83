"""Who may log in: the question is asked here, once, before anything is made for an agent.

`Gate` is the seam. `AddressGate` is the rule of a server with no token on its books: agents on this machine only, unless
the operator said `-open`; `token_gate.TokenGate` asks it while there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ngrokd.grants import Grant
from protocol.errors import Blame, RefusedError
from protocol.link.trust import is_loopback
from protocol.messages import Auth


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a link comes from and at which of our own addresses it came in; "" when unknown."""

    peer: str
    local: str
    peer_port: int = 0

    @property
    def on_this_machine(self) -> bool:
        """Both ends are loopback: a peer alone could be made to look so by a redirect of the kernel."""
        return is_loopback(self.peer) and is_loopback(self.local)


@dataclass(frozen=True, slots=True)
class Admission:
    """An agent that may come in. `account` is the id of its token, "" on a server without tokens; `grant` what that allows."""

    account: str = ""
    grant: Grant | None = None


class Gate(Protocol):
    async def admit(self, auth: Auth, arrival: Arrival) -> Admission:
        """Let an agent in, or raise RefusedError with a message for its user. May wait (a store is asked)."""


@dataclass(frozen=True, slots=True)
class AddressGate:
    """The gate of a server without tokens."""

    open: bool = False

    async def admit(self, auth: Auth, arrival: Arrival) -> Admission:  # noqa: ARG002 - a token proves nothing here
        if self.open or arrival.on_this_machine:
            return Admission()
        raise RefusedError(
            "no_tokens",
            "this server has no tokens yet, so it serves only agents on its own machine; its operator can make one with "
            "`ngrokd token add NAME`, or start it with -open to let in anybody",
            blame=Blame.AGENT,
            retry=True,
        )

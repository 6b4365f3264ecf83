"""When a name is in use: who gives way. Pure: it judges and words the answer; the declarer carries it out.

A session of the same token may take a name over when it asks to (`on_conflict: takeover`); without a token nobody can show
that the name is theirs. `random` takes another name instead. The default, `fail`, tells the agent who has it.
An agent that resumes its own session does not come here: that session is out before the new one asks for anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ngrokd.session import Session
from ngrokd.tunnel import Tunnel
from protocol.errors import Blame, Fault
from protocol.messages import TunnelClosed

TAKEN_OVER = "another session of this token took the name over"


@dataclass(slots=True)
class Conflicts:
    """The conflicts of one request: `wish` is its on_conflict, `evicted` collects the tunnels that have to go."""

    session: Session
    wish: str
    evicted: list[Tunnel] = field(default_factory=list)

    def check(self, owner: Tunnel, what: str) -> None:
        """Whether `owner` gives way. Raises Fault `name_taken` when it does not."""
        if self.wish != "takeover" or not self._ours(owner) or owner.session is self.session:
            raise self.refusal(owner, what)

    def settles(self, fault: Fault) -> bool:
        """Whether another name will do instead."""
        return self.wish == "random" and fault.code in ("name_taken", "port_taken")

    def refusal(self, owner: Tunnel, what: str) -> Fault:
        """Why `what` can't be had: `owner` has it."""
        if owner.session is self.session:
            return _taken(f"{what} is a tunnel of this session already", "choose another name")
        if self._ours(owner):
            return _taken(
                f"{what} is in use by another session of this token",
                "stop that agent, or set on_conflict: takeover (or random) for this tunnel",
            )
        if owner.session.identity.account or self.session.identity.account:
            return _taken(f"{what} is taken by another token", "choose another name")
        hint = "choose another name"
        if self.wish == "takeover":
            hint += "; on_conflict: takeover needs a token, which shows whose the name is"
        return _taken(f"{what} is already registered by another agent", hint)

    def _ours(self, owner: Tunnel) -> bool:
        account = self.session.identity.account
        return bool(account) and owner.session.identity.account == account


def tell_evicted(tunnel: Tunnel) -> None:
    """Let the agent know that its tunnel is gone. 1.7 has no words for that: its session ends, and the refusal that it meets
    when it comes back tells its user."""
    control, caps = tunnel.session.control, tunnel.session.caps
    if "close" in caps:
        control.send(TunnelClosed(tunnel.id, "taken_over", TAKEN_OVER))
    else:
        control.end(TAKEN_OVER)


def _taken(message: str, hint: str) -> Fault:
    return Fault("name_taken", message, blame=Blame.OPERATOR, hint=hint, retry=True)

"""Who may say what, when: the order of messages on a control link, capabilities, heartbeats. Both dialects, both sides.

The control link is a short play in one table:

    START    nothing was said             only Auth, from the agent
    ASKED    Auth is on its way           only AuthResp; with an error the play is over
    OPEN     the session lives            tunnels, proxies, heartbeats in any order
    LEAVING  the server said GoAway       as OPEN: what was on its way still counts, the agent is dialling anew
    ENDED    refused                      nothing

1.7 forgives a known message in the wrong place once the session lives (it is ignored) and nothing before that; it dies of
types that it does not know, so a native type without its capability is an error here too. `StartProxy` and the first frames
of other links (`RegProxy`, `RegLeg`) are not part of this play: see `link_kind`.

No clock and no IO: `Heartbeat` only says which times hold.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.errors import WireError
from protocol.messages import (
    Auth,
    AuthResp,
    CloseTunnel,
    GoAway,
    Message,
    NewTunnel,
    Notice,
    Ping,
    Pong,
    RegLeg,
    RegProxy,
    ReqLeg,
    ReqProxy,
    ReqTunnel,
    TunnelClosed,
)

CAPABILITIES: Final = ("ticket", "close", "mux", "options", "verdict", "bye", "notice")
_DEPENDS: Final[Mapping[str, str]] = {"mux": "ticket"}  # a leg registers itself with the ticket


def negotiate(offered: Collection[str] | None, ours: Collection[str] = CAPABILITIES) -> tuple[str, ...]:
    """The capabilities that both sides have, in our order; unknown words are ignored, and one whose base is missing is
    left out. None (a 1.7 peer) gives none."""
    both = [word for word in CAPABILITIES if word in ours and word in (offered or ())]
    return tuple(word for word in both if _DEPENDS.get(word, word) in both)


class Side(enum.Enum):
    AGENT = "agent"
    SERVER = "server"

    @property
    def other(self) -> Side:
        return Side.SERVER if self is Side.AGENT else Side.AGENT


class State(enum.Enum):
    START = "start"
    ASKED = "asked"
    OPEN = "open"
    LEAVING = "leaving"
    ENDED = "ended"


class LinkKind(enum.Enum):
    """What a new connection on the tunnel port is going to be."""

    CONTROL = "control"
    PROXY = "proxy"
    LEG = "leg"


Line = tuple[Side, type[Message]]

_LIVING: Final[Mapping[Line, State]] = {
    (Side.AGENT, ReqTunnel): State.OPEN,
    (Side.SERVER, NewTunnel): State.OPEN,
    (Side.SERVER, ReqProxy): State.OPEN,
    (Side.AGENT, Ping): State.OPEN,
    (Side.SERVER, Pong): State.OPEN,
    (Side.SERVER, Ping): State.OPEN,
    (Side.AGENT, Pong): State.OPEN,
    (Side.AGENT, CloseTunnel): State.OPEN,
    (Side.SERVER, TunnelClosed): State.OPEN,
    (Side.SERVER, ReqLeg): State.OPEN,
    (Side.SERVER, Notice): State.OPEN,
    (Side.SERVER, GoAway): State.LEAVING,
}
TABLE: Final[Mapping[State, Mapping[Line, State]]] = {
    State.START: {(Side.AGENT, Auth): State.ASKED},
    State.ASKED: {(Side.SERVER, AuthResp): State.OPEN},
    State.OPEN: _LIVING,
    State.LEAVING: dict.fromkeys(_LIVING, State.LEAVING),
    State.ENDED: {},
}

_ANY = "any"  # allowed as soon as anything native was negotiated
_NEEDS: Final[Mapping[Line, str]] = {
    (Side.SERVER, Ping): _ANY,
    (Side.AGENT, Pong): _ANY,
    (Side.AGENT, CloseTunnel): "close",
    (Side.SERVER, TunnelClosed): "close",
    (Side.SERVER, ReqLeg): "mux",
    (Side.SERVER, GoAway): "bye",
    (Side.SERVER, Notice): "notice",
}
_KINDS: Final[Mapping[type[Message], LinkKind]] = {
    Auth: LinkKind.CONTROL,
    RegProxy: LinkKind.PROXY,
    RegLeg: LinkKind.LEG,
}


def link_kind(first: Message) -> LinkKind:
    """What the first frame of an incoming link makes of it. Raises WireError `out_of_order` for any other message."""
    kind = _KINDS.get(type(first))
    if kind is None:
        raise WireError("out_of_order", f"a link cannot begin with {type(first).__name__}")
    return kind


class ControlOrder:
    """The state of one control link as one side sees it. Tell it of every message with `sent` and `received`."""

    __slots__ = ("_offered", "caps", "side", "state")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.state = State.START
        self.caps: tuple[str, ...] = ()
        self._offered: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<ControlOrder {self.side.value} {self.state.value} caps={' '.join(self.caps) or '-'}>"

    @property
    def native(self) -> bool:
        """Whether anything beyond 1.7 was agreed on."""
        return bool(self.caps)

    def may_send(self, kind: type[Message]) -> bool:
        """Whether a message of this class is ours to send now."""
        line = (self.side, kind)
        return line in TABLE[self.state] and self._allowed(line)

    def sent(self, message: Message) -> None:
        """We send this. Raises ValueError when it is not our turn: a mistake in our own program."""
        if not self.may_send(type(message)):
            raise ValueError(f"{self!r} cannot send {type(message).__name__}")
        self._follow(self.side, message)

    def received(self, message: Message) -> bool:
        """They sent this. True: act on it. False: known, but not in its place: ignore it, as 1.7 does (a Pong from a 1.7
        client, a Ping from its server). Raises WireError `out_of_order` while the session is being made, `not_agreed` for
        a native message without its capability."""
        line = (self.side.other, type(message))
        allowed = self._allowed(line)
        if not allowed and _NEEDS[line] != _ANY:
            raise WireError("not_agreed", f"{type(message).__name__} was not negotiated")
        if allowed and line in TABLE[self.state]:
            self._follow(self.side.other, message)
            return True
        if self.state in (State.START, State.ASKED):
            raise WireError("out_of_order", f"{type(message).__name__} came before its turn")
        return False

    def _allowed(self, line: Line) -> bool:
        need = _NEEDS.get(line)
        return need is None or need in self.caps or (need == _ANY and self.native)

    def _follow(self, side: Side, message: Message) -> None:
        self.state = TABLE[self.state][side, type(message)]
        if isinstance(message, Auth):
            self._offered = message.caps or ()
        elif isinstance(message, AuthResp):
            self.caps = negotiate(message.caps, self._offered)  # nobody is granted what was not offered
            self._offered = ()
            if message.error:
                self.state = State.ENDED


class Sign(enum.Enum):
    """What counts as a sign of life."""

    ANY_BYTE = "any byte"
    PING = "a Ping"
    PONG = "a Pong for the oldest Ping"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One side's duty. Send a Ping every `every` seconds (0: never). The link is dead `dead_after` seconds after the last
    sign; for `Sign.PONG` after a Ping that was not answered."""

    every: float
    dead_after: float
    sign: Sign


NATIVE_HEARTBEAT: Final = Heartbeat(every=4.0, dead_after=10.0, sign=Sign.ANY_BYTE)
CLASSIC_AGENT_HEARTBEAT: Final = Heartbeat(every=20.0, dead_after=15.0, sign=Sign.PONG)
CLASSIC_SERVER_HEARTBEAT: Final = Heartbeat(every=0.0, dead_after=30.0, sign=Sign.PING)


def heartbeat(side: Side, caps: Collection[str]) -> Heartbeat:
    """The heartbeat of a session with these capabilities: native with any, 1.7's own with none."""
    if caps:
        return NATIVE_HEARTBEAT
    return CLASSIC_AGENT_HEARTBEAT if side is Side.AGENT else CLASSIC_SERVER_HEARTBEAT

"""The messages of both dialects and their JSON bodies.

A message is one frozen object. Attributes are the wire's keys in snake_case (`ClientId` is `client_id`). Fields with a
default of "" or 0 are 1.7's own: always written. Fields with a default of None are native extras: None is not on the wire,
and 1.7 ignores them. Which message may come when is `session`'s business, lengths and caps are `frames`'.

`docs/wire.md` shows every message with an example; change it with this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final

from protocol.codec import Codec
from protocol.secret import MASK

PROTOCOL_VERSION = "2"  # Auth.Version and AuthResp.Version; 1.7 compares it as a string
CLASSIC_VERSION = "1.7"  # MmVersion
_SHOWN_OF_ID = 8  # a ClientId proves a classic session, so a repr shows enough to tell two apart and no more


class Message:
    """Base of all messages. Its repr is safe to log: secrets are masked, options show their names only."""

    __slots__ = ()

    __dataclass_fields__: ClassVar[dict[str, Any]]  # every child is a dataclass

    def __repr__(self) -> str:
        values = [(entry.name, getattr(self, entry.name)) for entry in fields(self)]
        shown = [f"{name}={_shown(name, value)}" for name, value in values if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(name: str, value: object) -> str:
    if name in _SECRET_FIELDS and value:
        return MASK
    if name == "client_id" and isinstance(value, str) and len(value) > _SHOWN_OF_ID:
        return repr(value[:_SHOWN_OF_ID] + "...")
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(ascii(key) for key in value)) + "}"
    return repr(value)


_SECRET_FIELDS: Final = frozenset({"user", "password", "http_auth", "ticket", "resume"})


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """What program the agent is, for logs and the admin page. Part of Auth, not a message."""

    version: str = ""
    os: str = ""
    lang: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Auth(Message):
    """First frame of a control link, agent to server. `user` is the token; `resume` the last ticket."""

    version: str = PROTOCOL_VERSION
    mm_version: str = CLASSIC_VERSION
    user: str = ""
    password: str = ""
    os: str = ""
    arch: str = ""
    client_id: str = ""
    caps: tuple[str, ...] | None = None
    agent: AgentInfo | None = None
    resume: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class AuthResp(Message):
    """The answer to Auth. Refused when `error` is not empty; then `code` says why and `retry` whether to try again.
    `server` is the program that answers, with its version, for people."""

    version: str = PROTOCOL_VERSION
    mm_version: str = CLASSIC_VERSION
    client_id: str = ""
    error: str = ""
    caps: tuple[str, ...] | None = None
    ticket: str | None = None
    session_id: str | None = None
    code: str | None = None
    retry: bool | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ReqTunnel(Message):
    """Ask for one name or port over one or several protocols (`http+https`). `http_auth` is `user:password`."""

    req_id: str = ""
    protocol: str = ""
    hostname: str = ""
    subdomain: str = ""
    http_auth: str = ""
    remote_port: int = 0
    options: Mapping[str, object] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True, repr=False)
class NewTunnel(Message):
    """One protocol of a ReqTunnel is online at `url`, or not (`error`). A 1.7 server leaves all else empty on errors."""

    req_id: str = ""
    url: str = ""
    protocol: str = ""
    error: str = ""
    code: str | None = None
    tunnel_id: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ReqProxy(Message):
    """Classic: the server asks for one more proxy link."""


@dataclass(frozen=True, slots=True, repr=False)
class RegProxy(Message):
    """Classic: first frame of a proxy link. `ticket` is required once the session has the capability of that name."""

    client_id: str = ""
    ticket: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class StartProxy(Message):
    """A visitor has come for `url`; the visitor's bytes follow. First on a proxy link's way down and on each stream."""

    url: str = ""
    client_addr: str = ""
    tunnel_id: str | None = None
    conn_id: str | None = None
    proto: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Ping(Message):
    """A sign of life is wanted. Classic: agent to server only; native: either side."""


@dataclass(frozen=True, slots=True, repr=False)
class Pong(Message):
    """The answer to each Ping."""


@dataclass(frozen=True, slots=True, repr=False)
class CloseTunnel(Message):
    """`close`, agent to server: give this tunnel's name back. Answered by TunnelClosed."""

    tunnel_id: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class TunnelClosed(Message):
    """`close`, server to agent: this tunnel is gone; `code` is `asked`, `taken_over`, `removed` ..."""

    tunnel_id: str = ""
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class RegLeg(Message):
    """`mux`: first frame of a leg, agent to server. `leg` numbers the session's legs from 1."""

    client_id: str = ""
    ticket: str = ""
    leg: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class RegLegResp(Message):
    """`mux`: the leg is taken (`error` empty), and yamux follows in both directions; or refused, and the link ends."""

    error: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class ReqLeg(Message):
    """`mux`, server to agent: dial one more leg."""


@dataclass(frozen=True, slots=True, repr=False)
class StartProxyResp(Message):
    """`verdict`, agent to server: the first bytes on a stream. `code` "" means that the upstream's bytes follow."""

    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class GoAway(Message):
    """`bye`, server to agent: dial anew; what runs may go on for `after` seconds."""

    after: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Notice(Message):
    """`notice`, server to agent: what the owner should know and a visitor must not. `code` as on error pages."""

    code: str = ""
    message: str = ""


Kinds = tuple[type[Message], ...]

CLASSIC: Final[Kinds] = (Auth, AuthResp, ReqTunnel, NewTunnel, ReqProxy, RegProxy, StartProxy, Ping, Pong)
NATIVE: Final[Kinds] = (CloseTunnel, TunnelClosed, RegLeg, RegLegResp, ReqLeg, StartProxyResp, GoAway, Notice)
_CODEC: Final[Codec[Message]] = Codec(CLASSIC + NATIVE, parts=(AgentInfo,), limits={"RemotePort": 65535})


def encode(message: Message) -> bytes:
    """The JSON body of a message, as 1.7 writes it: compact, `Type` first, every classic field, then the extras in use.

    Raises TypeError or ValueError for values that JSON cannot say (in `options`): our own mistake.
    """
    return _CODEC.encode(message)


def decode(body: bytes) -> Message:
    """The message in a frame's body, by 1.7's rules: keys match exactly or else without regard to case, unknown keys are
    ignored, missing keys and nulls are "" or 0 (natives: None), of duplicates the last counts. An unknown type, a value
    of the wrong JSON type or out of range, and anything that is not strict JSON raise WireError, which never repeats
    what the peer sent.
    """
    return _CODEC.decode(body)

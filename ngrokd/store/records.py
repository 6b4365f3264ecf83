"""What the store keeps, as data. Times are seconds since the epoch; `token` fields are tokens' ids. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ngrokd.grants import Scope
from protocol.errors import Blame, Fault

Kind = Literal["host", "port"]


class Name(NamedTuple):
    """A public name: a normalised host (or `*.` and one), or the number of a tcp port as text."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return self.text if self.kind == "host" else f"tcp port {self.text}"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token on the books. `digest` is the SHA-256 of its secret in hex; the secret itself is kept nowhere."""

    id: str
    name: str
    digest: str
    scope: Scope = field(default_factory=Scope)
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    last_source: str = ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """`name` is for `token` alone."""

    name: Name
    token: str
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Hold:
    """A freed name that waits for its last owner."""

    name: Name
    token: str
    until: float


@dataclass(frozen=True, slots=True)
class Notes:
    """What is written behind the scenes, when it can be: None as a value removes. `used` is token id -> (when, where from)."""

    remembered: Mapping[str, str | None] = field(default_factory=dict)
    holds: Mapping[Name, Hold | None] = field(default_factory=dict)
    used: Mapping[str, tuple[float, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.remembered or self.holds or self.used)


def name_in_use(name: str) -> Fault:
    return Fault("token_exists", f"there is a token called {name} already", blame=Blame.OPERATOR)


def no_such_token() -> Fault:
    return Fault("no_such_token", "there is no such token", blame=Blame.OPERATOR, hint="see: ngrokd token list")


def already_reserved(name: Name) -> Fault:
    return Fault("name_taken", f"{name} is reserved already", blame=Blame.OPERATOR)

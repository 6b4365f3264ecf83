"""Who may not log in for a while: what a kick with a time leaves behind. Pure: the caller brings the clock.

A ban names a token (account), an address or an agent's client id. It lives in memory: a restart forgets it, a revoked token
is the lasting way. Bounded: the ban that would end first gives way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["token", "address", "client"]
KINDS: Final[tuple[Kind, ...]] = ("token", "address", "client")
MAX_BANS: Final = 10_000
LONGEST: Final = 30 * 86400.0  # seconds


@dataclass(frozen=True, slots=True)
class Ban:
    """`until`: the server's monotonic clock, seconds."""

    kind: Kind
    value: str
    until: float
    reason: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.value}"


class Bans:
    def __init__(self) -> None:
        self._bans: dict[str, Ban] = {}

    def __len__(self) -> int:
        return len(self._bans)

    def add(self, ban: Ban) -> None:
        self._bans[ban.id] = ban
        if len(self._bans) > MAX_BANS:
            first = min(self._bans.values(), key=lambda entry: entry.until)
            del self._bans[first.id]

    def lift(self, ban_id: str) -> bool:
        """False when there was none."""
        return self._bans.pop(ban_id, None) is not None

    def live(self, now: float) -> list[Ban]:
        """Those that still hold; the others are forgotten."""
        self._bans = {key: ban for key, ban in self._bans.items() if ban.until > now}
        return list(self._bans.values())

    def covering(self, now: float, *, token: str = "", address: str = "", client: str = "") -> Ban | None:
        """The ban that keeps this agent out, if any; "" matches nothing."""
        for kind, value in zip(KINDS, (token, address, client), strict=True):
            ban = self._bans.get(f"{kind}:{value}") if value else None
            if ban is not None:
                if ban.until > now:
                    return ban
                del self._bans[ban.id]
        return None

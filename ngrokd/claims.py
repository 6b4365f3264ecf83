"""Who has a right to a name whether or not it is in use: reservations, and holds of names that were freed. Pure.

The store's rows, compiled for the moment when a tunnel is declared: everything here is one synchronous step, so no answer of
the disk can come between the question and the registry. What changes is collected for the keeper, who writes it down when
the disk allows.

Rules: an exact reservation beats a wildcard's, the nearest wildcard the others. A name that a token had is held for it for
HOLD_SECONDS after it was freed; names of agents without a token are not held. While a name is in use its hold has no end
yet, so that after a crash the clock starts when the server does. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from ngrokd.store.records import Hold, Name, Reservation
from protocol.errors import Blame, Fault
from protocol.names import is_wildcard, wildcards_for

HOLD_SECONDS: Final = 24 * 3600.0
HOLDS_OF_ONE: Final = 64  # names that wait for one token: more is hoarding. The oldest are given up first
IN_USE: Final = 0.0  # `Hold.until` of a name that is in use


@dataclass(frozen=True, slots=True)
class Claim:
    """`token` has a right to the name; `by` is the reservation or hold that says so (a wildcard may cover it)."""

    token: str
    by: Name
    reserved: bool


class Claims:
    """All reservations and holds of one server."""

    def __init__(self) -> None:
        self._reserved: dict[Name, str] = {}
        self._holds: dict[Name, Hold] = {}
        self._waiting: defaultdict[str, dict[Name, None]] = defaultdict(dict)  # token -> freed names, oldest first
        self._changed: dict[Name, Hold | None] = {}

    def __repr__(self) -> str:
        return f"<Claims reserved={len(self._reserved)} holds={len(self._holds)}>"

    def load(self, reservations: Iterable[Reservation], holds: Iterable[Hold], now: float) -> None:
        """Replace everything by what the store has. Names that were in use when the server ended are held from now on."""
        self._reserved = {entry.name: entry.token for entry in reservations}
        self._holds.clear()
        self._waiting.clear()
        for hold in sorted(holds, key=lambda entry: entry.until):
            if hold.until == IN_USE:
                self._hold(Hold(hold.name, hold.token, now + HOLD_SECONDS))
            elif hold.until > now:
                self._put(hold)
            else:
                self._changed[hold.name] = None

    # -- asking
    def owner(self, name: Name, now: float) -> Claim | None:
        """Who has the right to `name`, if anybody."""
        for candidate in _covering(name):
            token = self._reserved.get(candidate)
            if token is not None:
                return Claim(token, candidate, reserved=True)
        hold = self._holds.get(name)
        if hold is None or (hold.until != IN_USE and hold.until <= now):
            return None
        return Claim(hold.token, name, reserved=False)

    def check(self, name: Name, token: str, now: float) -> None:
        """Raises Fault `name_taken` unless `token` ("" for an agent without one) may have `name`; a wildcard only with a
        reservation of it."""
        claim = self.owner(name, now)
        if claim is not None and claim.token != token:
            _refuse(name, claim)
        if name.kind == "host" and is_wildcard(name.text) and (claim is None or not claim.reserved):
            raise Fault(
                "name_taken",
                "a wildcard needs a reservation",
                blame=Blame.OPERATOR,
                hint=f"ask the server's operator for: ngrokd reserve '{name.text}' --for TOKEN",
            )

    # -- changes by the operator (the store has them already)
    def reserve(self, name: Name, token: str) -> None:
        self._reserved[name] = token

    def unreserve(self, name: Name) -> None:
        self._reserved.pop(name, None)

    def forget(self, token: str) -> None:
        """The token is no more, and with it its reservations and holds."""
        self._reserved = {name: owner for name, owner in self._reserved.items() if owner != token}
        self.release(token)

    def release(self, token: str) -> None:
        """The token is revoked: what it held is free."""
        for name in [name for name, hold in self._holds.items() if hold.token == token]:
            self._drop(name)

    # -- changes by tunnels
    def used(self, name: Name, token: str) -> None:
        """`name` has come online for `token`."""
        if token:
            self._hold(Hold(name, token, IN_USE))
        elif name in self._holds:
            self._drop(name)

    def freed(self, name: Name, token: str, now: float) -> None:
        """`name` is no longer in use by `token`."""
        hold = self._holds.get(name)
        if not token or hold is None or hold.token != token:
            return
        self._hold(Hold(name, token, now + HOLD_SECONDS))

    def take_changes(self) -> dict[Name, Hold | None]:
        """The holds that changed since the last call, for the store."""
        changed, self._changed = self._changed, {}
        return changed

    # -- the tables
    def _hold(self, hold: Hold) -> None:
        self._put(hold)
        self._changed[hold.name] = hold
        waiting = self._waiting[hold.token]
        while len(waiting) > HOLDS_OF_ONE:
            self._drop(next(iter(waiting)))

    def _put(self, hold: Hold) -> None:
        self._leave_line(hold.name)
        self._holds[hold.name] = hold
        if hold.until != IN_USE:
            self._waiting[hold.token][hold.name] = None

    def _drop(self, name: Name) -> None:
        self._leave_line(name)
        del self._holds[name]
        self._changed[name] = None

    def _leave_line(self, name: Name) -> None:
        hold = self._holds.get(name)
        if hold is not None:
            self._waiting[hold.token].pop(name, None)


def _covering(name: Name) -> Iterator[Name]:
    yield name
    if name.kind == "host":
        yield from (Name("host", wildcard) for wildcard in wildcards_for(name.text) if wildcard != name.text)


def _refuse(name: Name, claim: Claim) -> NoReturn:
    if claim.reserved:
        message = f"{name} is reserved for another token"
    else:
        message = f"{name} belongs to another token, which has it still or had it within the last day"
    raise Fault("name_taken", message, blame=Blame.OPERATOR, hint="choose another name", retry=not claim.reserved)

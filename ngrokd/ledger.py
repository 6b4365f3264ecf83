"""Tokens and reservations as an operator changes them: every change goes to the store first, then takes effect.

The same object serves the operator's page, the local socket and, with no server running, the command line itself. `ends` is
how a change reaches sessions that live: without a server there are none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import trio

from ngrokd.claims import Claims
from ngrokd.grants import Scope, parse_token_name
from ngrokd.settings import HIGHEST_PORT, LOWEST_PORT, PortRange
from ngrokd.store.base import Store
from ngrokd.store.records import Name, Reservation, TokenRecord, no_such_token
from protocol.errors import Blame, Fault
from protocol.names import Zone
from protocol.secret import Secret
from protocol.token import new_token

Ends = Callable[[str, str], int]
Regrants = Callable[[TokenRecord], None]


def nobody(_token_id: str, _reason: str) -> int:
    """The `Ends` of a ledger without a server."""
    return 0


def unheard(_record: TokenRecord) -> None:
    """The `Regrants` of a ledger without a server."""


def any_port() -> PortRange:
    """The `ports` of a ledger that knows of no `-tcpPorts`."""
    return PortRange(LOWEST_PORT, HIGHEST_PORT)


@dataclass(frozen=True, slots=True)
class Ledger:
    """`pin` is the fingerprint that new tokens carry ("": none). `ends(token id, reason)` ends a token's sessions within a
    second and says how many; `regrants(record)` gives them their token's new limits; `ports()` is what the server gives out
    now. All calls raise Fault."""

    store: Store
    claims: Claims
    zone: Zone
    pin: str = ""
    ends: Ends = nobody
    clock: Callable[[], float] = time.time
    regrants: Regrants = unheard
    ports: Callable[[], PortRange] = any_port

    # -- tokens
    async def tokens(self) -> Sequence[TokenRecord]:
        """All on the books, oldest first."""
        return await self.store.tokens()

    async def find(self, word: str, *, revoked_too: bool = False) -> TokenRecord:
        """By name, or by id. Raises Fault `no_such_token`."""
        found = [record for record in await self.store.tokens() if word in (record.name, record.id)]
        living = [record for record in found if record.revoked is None]
        if not living and not (found and revoked_too):
            raise no_such_token()
        return (living or found)[-1]

    async def add_token(self, name: str, scope: Scope, lifetime: float | None) -> tuple[TokenRecord, Secret]:
        """A new token and its text, which nobody can show again. `lifetime` in seconds, None for ever."""
        token, now = new_token(self.pin), self.clock()
        expires = None if lifetime is None else now + lifetime
        record = TokenRecord(token.id, parse_token_name(name), token.secret.digest(), scope, now, expires)
        await self.store.add_token(record)
        return record, token.text()

    async def limit_token(self, token_id: str, changes: Mapping[str, Any]) -> TokenRecord:
        """Other limits, as `grants.parse_changes` gives them; its sessions have them at once."""
        record = await self._known(token_id)
        limits = dict(changes)
        expires = record.expires
        if "lifetime" in limits:
            lifetime = limits.pop("lifetime")
            expires = None if lifetime is None else self.clock() + lifetime
        changed = replace(record, scope=replace(record.scope, **limits), expires=expires)
        await self.store.limit_token(token_id, changed.scope, expires)
        await _logins_of_before()
        self.regrants(changed)
        return changed

    async def rotate_token(self, token_id: str) -> tuple[TokenRecord, Secret]:
        """Another secret for it; the old one is worth nothing from now on, and its sessions end."""
        record = await self._known(token_id)
        token = new_token(self.pin, token_id=token_id)
        await self.store.rotate_token(token_id, token.secret.digest())
        await _logins_of_before()
        self.ends(token_id, "the token was given a new secret")
        return replace(record, digest=token.secret.digest()), token.text()

    async def revoke_token(self, token_id: str) -> int:
        """Its sessions end; how many. What it held is free, what is reserved for it stays so until it is forgotten or
        reserved for another."""
        await self.store.revoke_token(token_id, self.clock())
        await _logins_of_before()
        ended = self.ends(token_id, "the token was revoked")
        self.claims.release(token_id)
        return ended

    async def forget_token(self, token_id: str) -> int:
        """Strike it off the books, with its reservations. With the last one gone the server is without tokens again."""
        await self.store.forget_token(token_id)
        await _logins_of_before()
        ended = self.ends(token_id, "the token was revoked")
        self.claims.forget(token_id)
        return ended

    async def _known(self, token_id: str) -> TokenRecord:
        record = await self.store.has_token(token_id)
        if record is None or record.revoked is not None:
            raise no_such_token()
        return record

    # -- names
    async def reservations(self) -> Sequence[Reservation]:
        return await self.store.reservations()

    async def reserve(self, name: Name, token_id: str) -> Reservation:
        """Raises Fault for names that nobody may have, `port_not_allowed`, `name_taken`, `no_such_token`."""
        await self._known(token_id)
        reservation = Reservation(self._given_out(self.check_name(name)), token_id, self.clock())
        await self.store.reserve(reservation)
        self.claims.reserve(reservation.name, token_id)
        return reservation

    def _given_out(self, name: Name) -> Name:
        """`name`, if the server gives out ports like it. Not looked at to unreserve one: the range may have been changed."""
        ports = self.ports()
        if name.kind == "port" and int(name.text) not in ports:
            raise Fault(
                "port_not_allowed",
                f"tcp port {name.text} is outside of -tcpPorts, {ports.first}-{ports.last}: nobody could have it",
                blame=Blame.OPERATOR,
                hint="choose one within, or widen the range first (a reload is enough)",
            )
        return name

    async def unreserve(self, name: Name) -> None:
        """Raises Fault `no_such_reservation`."""
        if not await self.store.unreserve(name):
            raise Fault("no_such_reservation", f"{name} is not reserved", blame=Blame.OPERATOR)
        self.claims.unreserve(name)

    def name(self, text: str) -> Name:
        """What a person typed: a tcp port, a full host, or a name below the server's domain. Raises Fault."""
        text = text.strip()
        if text.isascii() and text.isdigit():
            return self.check_name(Name("port", text))
        if "." in text.removeprefix("*."):
            return self.check_name(Name("host", text))
        return Name("host", f"{self.zone.subdomain(text, wildcard=True)}.{self.zone.domain}")

    def check_name(self, name: Name) -> Name:
        """`name` in its one spelling, if somebody may have it."""
        if name.kind == "host":
            return Name("host", self.zone.hostname(name.text, wildcard=True))
        port = int(name.text) if name.text.isascii() and name.text.isdigit() and len(name.text) <= 5 else 0
        if not LOWEST_PORT <= port <= HIGHEST_PORT:
            raise Fault("bad_argument", f"tcp ports lie within {LOWEST_PORT}-{HIGHEST_PORT}", blame=Blame.OPERATOR)
        return Name("port", str(port))


async def _logins_of_before() -> None:
    """Let those in whom the books allowed it before a change: the store answers many at a time, and whoever is still on the
    way to the registry then would not be found there."""
    await trio.lowlevel.cancel_shielded_checkpoint()

"""A store that forgets: for tests, demos and programs that embed a server and keep their own books. It must not touch files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ngrokd.grants import Scope
from ngrokd.store.records import (
    Hold,
    Name,
    Notes,
    Reservation,
    TokenRecord,
    already_reserved,
    name_in_use,
    no_such_token,
)
from protocol.errors import Blame, Fault


class MemoryStore:
    """See `base.Store`. Every call is done at once."""

    def __init__(self) -> None:
        self._tokens: dict[str, TokenRecord] = {}
        self._reservations: dict[Name, Reservation] = {}
        self._holds: dict[Name, Hold] = {}
        self._remembered: dict[str, str] = {}
        self._facts: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<MemoryStore tokens={len(self._tokens)} reservations={len(self._reservations)}>"

    # -- tokens
    async def has_tokens(self) -> bool:
        return bool(self._tokens)

    async def has_token(self, token_id: str) -> TokenRecord | None:
        return self._tokens.get(token_id)

    async def tokens(self) -> Sequence[TokenRecord]:
        return sorted(self._tokens.values(), key=lambda record: (record.created, record.id))

    async def add_token(self, record: TokenRecord) -> None:
        taken = any(other.name == record.name and other.revoked is None for other in self._tokens.values())
        if taken or record.id in self._tokens:
            raise name_in_use(record.name)
        self._tokens[record.id] = record

    async def rotate_token(self, token_id: str, digest: str) -> None:
        record = self._tokens.get(token_id)
        if record is None or record.revoked is not None:
            raise no_such_token()
        self._tokens[token_id] = replace(record, digest=digest)

    async def limit_token(self, token_id: str, scope: Scope, expires: float | None) -> None:
        record = self._tokens.get(token_id)
        if record is None or record.revoked is not None:
            raise no_such_token()
        self._tokens[token_id] = replace(record, scope=scope, expires=expires)

    async def revoke_token(self, token_id: str, when: float) -> None:
        record = self._known(token_id)
        if record.revoked is None:
            self._tokens[token_id] = replace(record, revoked=when)

    async def forget_token(self, token_id: str) -> None:
        self._known(token_id)
        del self._tokens[token_id]
        self._reservations = {name: entry for name, entry in self._reservations.items() if entry.token != token_id}
        self._holds = {name: entry for name, entry in self._holds.items() if entry.token != token_id}

    def _known(self, token_id: str) -> TokenRecord:
        record = self._tokens.get(token_id)
        if record is None:
            raise no_such_token()
        return record

    # -- names
    async def has_route(self, name: Name) -> Reservation | None:
        return self._reservations.get(name)

    async def reservations(self) -> Sequence[Reservation]:
        return sorted(self._reservations.values(), key=lambda entry: entry.name)

    async def reserve(self, reservation: Reservation) -> None:
        self._known(reservation.token)
        found = self._reservations.get(reservation.name)
        if found is not None and found.token != reservation.token and self._known(found.token).revoked is None:
            raise already_reserved(reservation.name)
        self._reservations[reservation.name] = reservation

    async def unreserve(self, name: Name) -> bool:
        return self._reservations.pop(name, None) is not None

    async def holds(self) -> Sequence[Hold]:
        return list(self._holds.values())

    async def remembered(self) -> Mapping[str, str]:
        return dict(self._remembered)

    # -- the rest
    async def note(self, notes: Notes) -> None:
        for key, value in notes.remembered.items():
            self._remembered.pop(key, None)
            if value is not None:
                self._remembered[key] = value
        for name, hold in notes.holds.items():
            self._holds.pop(name, None)
            if hold is not None and hold.token in self._tokens:
                self._holds[name] = hold
        for token_id, (when, source) in notes.used.items():
            if token_id in self._tokens:
                self._tokens[token_id] = replace(self._tokens[token_id], last_used=when, last_source=source)

    async def facts(self) -> Mapping[str, str]:
        return dict(self._facts)

    async def set_facts(self, facts: Mapping[str, str]) -> None:
        self._facts |= facts

    async def backup(self, path: Path) -> None:  # noqa: ARG002 - there is nothing to copy
        raise Fault("not_supported", "this server keeps its books in memory", blame=Blame.OPERATOR)

    async def aclose(self) -> None:
        """Nothing is open."""

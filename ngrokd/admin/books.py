"""Tokens and reservations as the operator's view needs them: a protocol that the server's keeper of both fulfils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ngrokd.grants import Scope
from ngrokd.store.records import Name, Reservation, TokenRecord
from protocol.secret import Secret


class Books(Protocol):
    """All calls raise Fault for what can't be done: `no_such_token`, `token_exists`, `name_taken`, `store_full` ..."""

    async def tokens(self) -> Sequence[TokenRecord]: ...

    async def add_token(self, name: str, scope: Scope, lifetime: float | None) -> tuple[TokenRecord, Secret]:
        """A new token and its text, which is shown once. `lifetime` in seconds, None for ever."""

    async def limit_token(self, token_id: str, changes: Mapping[str, Any]) -> TokenRecord:
        """Other limits, as `grants.parse_changes` gives them; its sessions have them at once."""

    async def rotate_token(self, token_id: str) -> tuple[TokenRecord, Secret]:
        """Another secret for it; its sessions end."""

    async def revoke_token(self, token_id: str) -> object:
        """Its sessions end within a second."""

    async def reservations(self) -> Sequence[Reservation]: ...

    async def reserve(self, name: Name, token_id: str) -> Reservation: ...

    async def unreserve(self, name: Name) -> None:
        """Raises Fault `no_such_reservation`."""

"""`Store`: what a server remembers beyond its own life, as a protocol that several kinds of store can keep.

`sqlite` is the embedded one; `memory` serves tests and programs that embed a server; a shared database can take their place.
All of them pass one conformance test (tests/ngrokd/store/test_base.py).

A write has happened, and outlives a crash, when its call returns; otherwise it raises and nothing has changed. Faults:
`store_full`, `store_readonly` and `store_failed` (trying again may help), and those named at the calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ngrokd.grants import Scope
from ngrokd.store.records import Hold, Name, Notes, Reservation, TokenRecord


class Store(Protocol):
    """See the module. Calls may be made from any number of tasks of one trio run; none of them blocks the loop."""

    # -- tokens
    async def has_tokens(self) -> bool:
        """Whether any token is on the books, revoked and expired ones too: then every agent needs one."""

    async def has_token(self, token_id: str) -> TokenRecord | None:
        """The token with this id, whatever its state."""

    async def tokens(self) -> Sequence[TokenRecord]:
        """All of them, oldest first."""

    async def add_token(self, record: TokenRecord) -> None:
        """Raises Fault `token_exists` when a token that is not revoked has its name, or any its id."""

    async def rotate_token(self, token_id: str, digest: str) -> None:
        """Give it another secret. Raises Fault `no_such_token`, also for a revoked one."""

    async def limit_token(self, token_id: str, scope: Scope, expires: float | None) -> None:
        """Give it other limits. Raises Fault `no_such_token`, also for a revoked one."""

    async def revoke_token(self, token_id: str, when: float) -> None:
        """Raises Fault `no_such_token`; a revoked one stays as it is."""

    async def forget_token(self, token_id: str) -> None:
        """Strike it off the books with its reservations and holds. Raises Fault `no_such_token`."""

    # -- names
    async def has_route(self, name: Name) -> Reservation | None:
        """The reservation of exactly this name."""

    async def reservations(self) -> Sequence[Reservation]:
        """All of them, by kind and name."""

    async def reserve(self, reservation: Reservation) -> None:
        """Raises Fault `name_taken` when another token that is not revoked has it, `no_such_token`."""

    async def unreserve(self, name: Name) -> bool:
        """False when it was not reserved."""

    async def holds(self) -> Sequence[Hold]:
        """Those that have ended, too."""

    async def remembered(self) -> Mapping[str, str]:
        """Affinity: who had which random name or port; the one written longest ago first."""

    # -- the rest
    async def note(self, notes: Notes) -> None:
        """Write all of `notes` or nothing. What concerns a token that is not on the books (any more) is left out."""

    async def facts(self) -> Mapping[str, str]:
        """Words about the server itself, by key: the domain it had at its last start ..."""

    async def set_facts(self, facts: Mapping[str, str]) -> None:
        """Set these, keep the others."""

    async def backup(self, path: Path) -> None:
        """Write a consistent copy to the file `path` (replaced; 0600) while the store is in use. Raises OSError, or Fault
        `not_supported`."""

    async def aclose(self) -> None:
        """Finish what was begun and let go of files and locks. Idempotent."""

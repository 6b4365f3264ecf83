"""What keeps tokens for the operator's view: the server's ledger and the tests' own books both fit."""

from __future__ import annotations

from ngrokd.admin.books import Books
from ngrokd.claims import Claims
from ngrokd.grants import Scope
from ngrokd.ledger import Ledger
from ngrokd.store.memory import MemoryStore
from protocol.names import Zone
from tests.kit.adminworld import MemoryBooks


async def test_both_fit() -> None:
    for books in (MemoryBooks(), Ledger(MemoryStore(), Claims(), Zone("example.me"))):
        found: Books = books
        record, text = await found.add_token("alice", Scope(), 60.0)
        assert text.reveal().startswith(f"nt_{record.id}_")
        assert [entry.name for entry in await found.tokens()] == ["alice"]
        assert list(await found.reservations()) == []

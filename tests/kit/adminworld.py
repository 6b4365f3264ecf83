"""A whole server with its operator's API on a free port, and books that live in memory."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import structlog
import trio

from ngrokd.grants import Scope
from ngrokd.server import Server
from ngrokd.settings import settings_from
from ngrokd.store.records import Name, Reservation, TokenRecord, already_reserved, name_in_use, no_such_token
from protocol.errors import Fault
from protocol.secret import Secret
from protocol.token import new_token


class MemoryBooks:
    """Books of a dictionary."""

    def __init__(self) -> None:
        self.records: dict[str, TokenRecord] = {}
        self.names: dict[Name, Reservation] = {}

    async def tokens(self) -> Sequence[TokenRecord]:
        return list(self.records.values())

    async def add_token(self, name: str, scope: Scope, lifetime: float | None) -> tuple[TokenRecord, Secret]:
        if any(record.name == name for record in self.records.values()):
            raise name_in_use(name)
        token = new_token()
        expires = time.time() + lifetime if lifetime else None
        record = TokenRecord(token.id, name, token.secret.digest(), scope, time.time(), expires)
        self.records[token.id] = record
        return record, token.text()

    async def limit_token(self, token_id: str, changes: Mapping[str, Any]) -> TokenRecord:
        limits, record = dict(changes), self._found(token_id)
        lifetime = limits.pop("lifetime", None)
        expires = time.time() + lifetime if lifetime else None
        found = self.records[token_id] = replace(record, scope=replace(record.scope, **limits), expires=expires)
        return found

    async def rotate_token(self, token_id: str) -> tuple[TokenRecord, Secret]:
        return self._found(token_id), new_token(token_id=token_id).text()

    async def revoke_token(self, token_id: str) -> None:
        del self.records[self._found(token_id).id]

    def _found(self, token_id: str) -> TokenRecord:
        if token_id not in self.records:
            raise no_such_token()
        return self.records[token_id]

    async def reservations(self) -> Sequence[Reservation]:
        return list(self.names.values())

    async def reserve(self, name: Name, token_id: str) -> Reservation:
        self._found(token_id)
        if name in self.names:
            raise already_reserved(name)
        found = self.names[name] = Reservation(name, token_id, time.time())
        return found

    async def unreserve(self, name: Name) -> None:
        if self.names.pop(name, None) is None:
            raise Fault("no_such_reservation", "this name is not reserved")


class AdminWorld:
    """A running server, its base URL and its token."""

    def __init__(self, server: Server, state: Path) -> None:
        self.server = server
        self.state = state
        self.port = server.addresses["admin"][0].port
        self.base = f"http://127.0.0.1:{self.port}"
        self.token = (state / "admin-token").read_text().strip()

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Knows the token unless `authorization` says otherwise."""
        return httpx.AsyncClient(
            base_url=self.base, headers={"authorization": f"Bearer {self.token}", **headers}, trust_env=False
        )


@contextlib.asynccontextmanager
async def open_admin(tmp_path: Path, **more: str) -> AsyncIterator[AdminWorld]:
    """A server that is stopped in order when the block ends; its books are in memory."""
    state = tmp_path / "state"
    values = {
        "domain": "localhost", "http_addr": "127.0.0.1:0", "https_addr": "127.0.0.1:0", "tunnel_addr": "127.0.0.1:0",
        "admin_addr": "127.0.0.1:0", "state_dir": str(state), "grace": "0.05", **more,
    }  # fmt: skip
    # To this test's own output: click's runner puts another stdout in place for all threads, and a line of the server's
    # log in a command's output is no JSON.
    server = Server(settings_from(values), structlog.wrap_logger(structlog.PrintLogger(sys.stderr)))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        try:
            yield AdminWorld(server, state)
        finally:
            server.stop()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await server.stopped.wait()

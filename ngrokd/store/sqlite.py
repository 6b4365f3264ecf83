"""The embedded store: one sqlite database in the state directory, used by one server at a time.

WAL with full syncs: what was acknowledged outlives kill -9 and a power cut. Statements and rows only; threads and batches
are `worker`'s, tables `schema`'s.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from ngrokd.grants import Scope
from ngrokd.store.lock import StateLock
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
from ngrokd.store.schema import bad_state, migrate
from ngrokd.store.worker import Worker, disk_fault
from protocol.errors import Blame, Fault

DATABASE: Final = "ngrokd.db"
LOCK: Final = "ngrokd.lock"
REMEMBERED: Final = 20_000  # names kept for random tunnels; the ones written longest ago go first. About 2 MB

_TOKEN = "id, name, digest, scope, created, expires, revoked, last_used, last_source"  # noqa: S105 - columns


class SqliteStore:
    """See `base.Store`. Made by `open_store`."""

    def __init__(self, worker: Worker, lock: StateLock) -> None:
        self._worker = worker
        self._lock = lock

    # -- tokens
    async def has_tokens(self) -> bool:
        return await self._worker.read(lambda db: db.execute("SELECT 1 FROM tokens LIMIT 1").fetchone() is not None)

    async def has_token(self, token_id: str) -> TokenRecord | None:
        rows = await self._rows(f"SELECT {_TOKEN} FROM tokens WHERE id = ?", token_id)  # noqa: S608 - our own columns
        return _token(rows[0]) if rows else None

    async def tokens(self) -> Sequence[TokenRecord]:
        return [_token(row) for row in await self._rows(f"SELECT {_TOKEN} FROM tokens ORDER BY created, id")]  # noqa: S608

    async def add_token(self, record: TokenRecord) -> None:
        values = (
            record.id, record.name, record.digest, record.scope.dump(), record.created, record.expires, record.revoked,
            record.last_used, record.last_source,
        )  # fmt: skip

        def add(db: sqlite3.Connection) -> None:
            try:
                db.execute(f"INSERT INTO tokens ({_TOKEN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
            except sqlite3.IntegrityError:
                raise name_in_use(record.name) from None

        await self._worker.write(add)

    async def rotate_token(self, token_id: str, digest: str) -> None:
        await self._change("UPDATE tokens SET digest = ? WHERE id = ? AND revoked IS NULL", digest, token_id)

    async def limit_token(self, token_id: str, scope: Scope, expires: float | None) -> None:
        statement = "UPDATE tokens SET scope = ?, expires = ? WHERE id = ? AND revoked IS NULL"
        await self._change(statement, scope.dump(), expires, token_id)

    async def revoke_token(self, token_id: str, when: float) -> None:
        await self._change("UPDATE tokens SET revoked = coalesce(revoked, ?) WHERE id = ?", when, token_id)

    async def forget_token(self, token_id: str) -> None:
        await self._change("DELETE FROM tokens WHERE id = ?", token_id)

    # -- names
    async def has_route(self, name: Name) -> Reservation | None:
        rows = await self._rows(
            "SELECT kind, name, token, created FROM reservations WHERE kind = ? AND name = ?", *name
        )
        return _reservation(rows[0]) if rows else None

    async def reservations(self) -> Sequence[Reservation]:
        rows = await self._rows("SELECT kind, name, token, created FROM reservations ORDER BY kind, name")
        return [_reservation(row) for row in rows]

    async def reserve(self, reservation: Reservation) -> None:
        name, token = reservation.name, reservation.token

        def change(db: sqlite3.Connection) -> None:
            found = db.execute(
                "SELECT token, revoked IS NULL FROM reservations JOIN tokens ON tokens.id = token"
                " WHERE kind = ? AND reservations.name = ?", name
            ).fetchone()  # fmt: skip
            if found is not None and found[0] != token and found[1]:
                raise already_reserved(name)
            try:
                db.execute(
                    "INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?)", (*name, token, reservation.created)
                )
            except sqlite3.IntegrityError:
                raise no_such_token() from None

        await self._worker.write(change)

    async def unreserve(self, name: Name) -> bool:
        statement = "DELETE FROM reservations WHERE kind = ? AND name = ?"
        return await self._worker.write(lambda db: db.execute(statement, name).rowcount > 0)

    async def holds(self) -> Sequence[Hold]:
        rows = await self._rows("SELECT kind, name, token, until FROM holds ORDER BY kind, name")
        return [Hold(Name(kind, name), token, until) for kind, name, token, until in rows]

    async def remembered(self) -> Mapping[str, str]:
        return dict(await self._rows("SELECT key, value FROM remembered ORDER BY place"))

    # -- the rest
    async def note(self, notes: Notes) -> None:
        await self._worker.write(lambda db: _note(db, notes))

    async def facts(self) -> Mapping[str, str]:
        return dict(await self._rows("SELECT key, value FROM facts ORDER BY key"))

    async def set_facts(self, facts: Mapping[str, str]) -> None:
        def change(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

        await self._worker.write(change)

    async def backup(self, path: Path) -> None:
        await self._worker.read(lambda db: _backup(db, path))

    async def aclose(self) -> None:
        await self._worker.aclose()
        self._lock.release()

    async def _rows(self, statement: str, *values: object) -> list[Any]:
        return await self._worker.read(lambda db: db.execute(statement, values).fetchall())

    async def _change(self, statement: str, *values: object) -> None:
        if not await self._worker.write(lambda db: db.execute(statement, values).rowcount):
            raise no_such_token()


async def open_store(directory: Path) -> SqliteStore:
    """Open the store in `directory` (which exists and is private), making or migrating it. The caller closes it. Raises
    Fault `state_in_use`, `bad_state` or as for writes."""
    try:
        lock = await trio.to_thread.run_sync(StateLock, directory / LOCK)
    except OSError as error:
        raise _unusable(directory, error.strerror or str(error)) from error
    worker = Worker(lambda: connect(directory / DATABASE))
    try:
        await worker.start()
    except BaseException:
        lock.release()
        raise
    return SqliteStore(worker, lock)


def connect(path: Path) -> sqlite3.Connection:
    """A checked, migrated connection (blocking). Raises Fault."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # sqlite's own would follow the umask
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    try:
        connection.execute("PRAGMA busy_timeout = 2000")  # a person's own look at the database
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        migrate(connection)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise bad_state("it is damaged")
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise disk_fault(error) from error
        raise bad_state(str(error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _unusable(path: Path, reason: str) -> Fault:
    return Fault(
        "store_readonly",
        f"the state directory can't be used: {path}: {reason}",
        blame=Blame.OPERATOR,
        hint="name a directory that this user may write with -stateDir",
    )


def _token(row: Sequence[Any]) -> TokenRecord:
    token_id, name, digest, scope, created, expires, revoked, used, source = row
    try:
        limits = Scope.load(scope)
    except (ValueError, TypeError):
        raise bad_state(f"the limits of the token {name} can't be read") from None
    return TokenRecord(token_id, name, digest, limits, created, expires, revoked, used, source)


def _reservation(row: Sequence[Any]) -> Reservation:
    kind, name, token, created = row
    return Reservation(Name(kind, name), token, created)


def _note(db: sqlite3.Connection, notes: Notes) -> None:
    for key, value in notes.remembered.items():
        db.execute("DELETE FROM remembered WHERE key = ?", (key,))
        if value is not None:
            db.execute("INSERT INTO remembered (key, value) VALUES (?, ?)", (key, value))
    if notes.remembered:
        db.execute(
            "DELETE FROM remembered WHERE place <= (SELECT place FROM remembered ORDER BY place DESC LIMIT 1 OFFSET ?)",
            (REMEMBERED,),
        )
    for name, hold in notes.holds.items():
        db.execute("DELETE FROM holds WHERE kind = ? AND name = ?", name)
        if hold is not None:
            db.execute("INSERT INTO holds SELECT ?, ?, id, ? FROM tokens WHERE id = ?", (*name, hold.until, hold.token))
    for token_id, (when, source) in notes.used.items():
        db.execute("UPDATE tokens SET last_used = ?, last_source = ? WHERE id = ?", (when, source, token_id))


def _backup(db: sqlite3.Connection, path: Path) -> None:
    """Copy beside `path`, sync, rename: the file is a whole copy or not there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        copy = sqlite3.connect(beside, isolation_level=None)
        try:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a -wal beside it
        finally:
            copy.close()
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise

"""Versions of the tables: each older one becomes the newest with what it holds; newer and foreign files are left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ngrokd.store import schema
from ngrokd.store.schema import APPLICATION_ID, STEPS, migrate
from protocol.errors import Fault


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None)
    yield connection
    connection.close()


def version(db: sqlite3.Connection) -> int:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def test_from_nothing(db: sqlite3.Connection) -> None:
    assert migrate(db) == len(STEPS)
    assert migrate(db) == 0
    assert version(db) == len(STEPS)


@pytest.mark.parametrize("old", range(1, len(STEPS)))
def test_an_older_file_keeps_what_it_holds(db: sqlite3.Connection, old: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", STEPS[:old])
        migrate(db)
    db.execute("INSERT INTO tokens (id, name, digest, scope, created) VALUES ('a', 'alice', 'd', '{}', 1.0)")
    db.execute("INSERT INTO reservations VALUES ('host', 'shop.example.me', 'a', 2.0)")
    assert migrate(db) == len(STEPS) - old
    assert db.execute("SELECT name, token FROM reservations").fetchall() == [("shop.example.me", "a")]
    assert db.execute("SELECT count(*) FROM holds").fetchone() == (0,)


def test_a_step_that_fails_has_not_happened(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(db)
    monkeypatch.setattr(schema, "STEPS", (*STEPS, "CREATE TABLE more (x); CREATE TABLE more (x);"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(db)
    assert version(db) == len(STEPS)
    assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'more'").fetchall()


def test_a_newer_file_is_refused(db: sqlite3.Connection) -> None:
    migrate(db)
    db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    with pytest.raises(Fault, match="a newer ngrokd made it"):
        migrate(db)


def test_another_program_s_file_is_left_alone(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE recipes (name)")
    with pytest.raises(Fault, match="another program"):
        migrate(db)
    assert [row[0] for row in db.execute("SELECT name FROM sqlite_schema")] == ["recipes"]
    assert APPLICATION_ID.to_bytes(4, "big") == b"ngrk"

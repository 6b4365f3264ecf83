"""The tables, as a list of steps from one version to the next. A step is never changed once it is released: add one.

`PRAGMA user_version` counts the steps taken. Each is one transaction with its count, so a crash leaves the version before
or after it, never between.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from protocol.errors import Blame, Fault

APPLICATION_ID: Final = 0x6E67726B  # "ngrk": tells our files from others (sqlite.org/fileformat, 1.3.14)

STEPS: Final = (
    """
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, scope TEXT NOT NULL, created REAL NOT NULL,
        expires REAL, revoked REAL, last_used REAL, last_source TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE UNIQUE INDEX token_names ON tokens (name) WHERE revoked IS NULL;
    CREATE TABLE reservations (
        kind TEXT NOT NULL CHECK (kind IN ('host', 'port')), name TEXT NOT NULL,
        token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE, created REAL NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT;
    CREATE INDEX reservations_of ON reservations (token);
    CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    """,
    """
    CREATE TABLE holds (
        kind TEXT NOT NULL CHECK (kind IN ('host', 'port')), name TEXT NOT NULL,
        token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE, until REAL NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT;
    CREATE INDEX holds_of ON holds (token);
    CREATE TABLE remembered (place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value TEXT NOT NULL) STRICT;
    """,
)


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the tables to the newest version; how many steps that took. Raises Fault `bad_state` for a file that is not
    ours or of a newer program; then nothing has changed."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (tables or version) and application != APPLICATION_ID:
        raise bad_state("it belongs to another program")
    if version > len(STEPS):
        raise bad_state(f"a newer ngrokd made it (version {version}; this one knows {len(STEPS)})")
    for number, step in enumerate(STEPS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in step.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return len(STEPS) - int(version)


def bad_state(why: str) -> Fault:
    return Fault(
        "bad_state",
        f"the database in the state directory can't be used: {why}",
        blame=Blame.OPERATOR,
        hint="restore it from a backup, or start with another directory (-stateDir)",
    )

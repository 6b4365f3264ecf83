"""The thread of the database: batches, faults that stay where they belong, and a disk that takes no writes."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from ngrokd.store.worker import Worker
from protocol.errors import Fault


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x TEXT UNIQUE)")
    return connection


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    found = Worker(lambda: connect(tmp_path / "db"))
    await found.start()
    yield found
    await found.aclose()


def insert(db: sqlite3.Connection, text: str) -> None:
    db.execute("INSERT INTO t VALUES (?)", (text,))


def half_done(db: sqlite3.Connection) -> None:
    insert(db, "gone")
    1 / 0  # noqa: B018 - the defect


def count(db: sqlite3.Connection) -> int:
    (found,) = db.execute("SELECT count(*) FROM t").fetchone()
    return int(found)


async def test_one_bad_write_of_a_batch_fails_alone(worker: Worker) -> None:
    failed: list[BaseException] = []

    async def write(text: str) -> None:
        try:
            await worker.write(lambda db: insert(db, text))
        except sqlite3.IntegrityError as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(write, str(number % 40))
    assert len(failed) == 10
    assert await worker.read(count) == 40


async def test_a_defect_is_raised_where_it_was_asked_for(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        await worker.write(half_done)
    with pytest.raises(ZeroDivisionError):
        await worker.read(lambda _: 1 / 0)
    assert await worker.read(count) == 0


async def test_a_full_disk_refuses_writes_and_answers_reads(worker: Worker) -> None:
    await worker.read(lambda db: db.execute("PRAGMA max_page_count = 1").fetchall())
    with pytest.raises(Fault) as caught:
        for number in range(1000):
            await worker.write(partial(insert, text=f"{number}" * 1000))
    assert caught.value.code == "store_full"
    assert caught.value.retry
    before = await worker.read(count)
    await worker.read(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchall())
    await worker.write(lambda db: insert(db, "again"))
    assert await worker.read(count) == before + 1


async def test_a_read_only_disk(worker: Worker) -> None:
    await worker.read(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
    with pytest.raises(Fault) as caught:
        await worker.write(lambda db: insert(db, "x"))
    assert caught.value.code == "store_readonly"
    assert await worker.read(count) == 0


async def test_what_was_asked_for_is_done_before_the_end(tmp_path: Path) -> None:
    worker = Worker(lambda: connect(tmp_path / "db"))
    await worker.start()
    done: list[int] = []

    async def write(number: int) -> None:
        await worker.write(lambda db: insert(db, str(number)))
        done.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(300):  # more than one batch
            nursery.start_soon(write, number)
        await trio.testing.wait_all_tasks_blocked()
        await worker.aclose()
    assert len(done) == 300
    with pytest.raises(Fault, match="closed"):
        await worker.read(count)
    await worker.aclose()


async def test_a_caller_that_left_leaves_the_others_alone(worker: Worker) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await worker.write(lambda db: insert(db, "a"))
    await worker.write(lambda db: insert(db, "b"))
    assert await worker.read(count) in (1, 2)


async def test_a_database_that_can_t_be_opened(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await Worker(lambda: connect(tmp_path / "no" / "db")).start()

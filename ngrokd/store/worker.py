"""The one thread that touches a sqlite database. Calls come from trio tasks; what waits is done in one transaction.

Reads of a batch come first, each by itself, so that a disk that takes no writes still answers them. Writes share a
transaction, each in a savepoint: one that breaks a rule of the tables fails alone. Nobody is told of success before the
commit. It must not know what the tables mean.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

import trio

from protocol.errors import Blame, Fault

BATCH: Final = 256  # writes in one transaction: keeps the wait of the first one short
T = TypeVar("T")

_CODES: Final = {
    sqlite3.SQLITE_FULL: ("store_full", "the disk with the state directory is full"),
    sqlite3.SQLITE_READONLY: ("store_readonly", "the state directory can't be written"),
    sqlite3.SQLITE_CANTOPEN: ("store_readonly", "the state directory can't be written"),
}


def disk_fault(error: sqlite3.Error) -> Fault:
    """What a failure of sqlite is to us. The extended code's low byte is the kind."""
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
    code, message = _CODES.get(kind, ("store_failed", f"the state could not be read or written: {error}"))
    return Fault(code, message, blame=Blame.OPERATOR, retry=True)


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    writes: bool
    result: Any = None
    error: BaseException | None = None
    done: trio.Event = field(default_factory=trio.Event)


class Worker:
    """Owns a connection that `connect` opens, in its own thread. `start` before the first call, `aclose` after the last."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def start(self) -> None:
        """Open the database. Raises what `connect` raises."""
        self._token = trio.lowlevel.current_trio_token()
        opened = _Job(lambda _: None, writes=False)
        thread = threading.Thread(target=self._run, args=(opened,), name="ngrokd-store", daemon=True)
        thread.start()
        with trio.CancelScope(shield=True):  # a local disk; and nobody else would stop the thread
            await opened.done.wait()
        if opened.error is not None:
            raise opened.error
        self._thread = thread

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns. Raises what it raises; a failure of sqlite becomes a Fault."""
        return await self._call(work, writes=False)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same for work that changes something: when this returns it is on the disk. Cancelled: it may be, or not."""
        return await self._call(work, writes=True)

    async def _call(self, work: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        if self._thread is None:
            raise Fault("store_failed", "the store is closed", blame=Blame.SERVER)
        job = _Job(work, writes)
        self._queue.put(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    async def aclose(self) -> None:
        """Do what was asked for, then close. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join)

    # -- in the thread
    def _run(self, opened: _Job) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - handed to `start`
            opened.error = error
            self._deliver([opened])
            return
        self._deliver([opened])
        try:
            while (batch := self._next_batch()) is not None:
                serve(connection, batch)
                self._deliver(batch)
        finally:
            connection.close()

    def _next_batch(self) -> list[_Job] | None:
        """At least one job; None at the end. Behind the end nothing is put."""
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < BATCH:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                self._queue.put(None)
                break
            batch.append(job)
        return batch

    def _deliver(self, batch: list[_Job]) -> None:
        def tell() -> None:
            for job in batch:
                job.done.set()

        assert self._token is not None
        try:
            self._token.run_sync_soon(tell)
        except trio.RunFinishedError:
            pass  # nobody waits any more


def serve(connection: sqlite3.Connection, batch: list[_Job]) -> None:
    """Do all jobs and fill in how they ended. Never raises."""
    writes = [job for job in batch if job.writes]
    for job in batch:
        if not job.writes:
            _attempt(connection, job)
    if not writes:
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in writes:
            _attempt_within(connection, job)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        fault = disk_fault(error)
        for job in writes:
            job.error = fault


def _attempt(connection: sqlite3.Connection, job: _Job) -> None:
    try:
        job.result = job.work(connection)
    except sqlite3.Error as error:
        job.error = disk_fault(error)
    except Exception as error:  # noqa: BLE001 - raised again where it was asked for
        job.error = error


def _attempt_within(connection: sqlite3.Connection, job: _Job) -> None:
    """One write of the transaction. A failure of the disk raises: it is everybody's."""
    connection.execute("SAVEPOINT one")
    try:
        job.result = job.work(connection)
    except sqlite3.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - raised again where it was asked for
        connection.execute("ROLLBACK TO one")
        job.error = error
    connection.execute("RELEASE one")

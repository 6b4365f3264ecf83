"""The embedded store: what only a file can do. What all stores share is in test_base."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from ngrokd.store import Notes, TokenRecord
from ngrokd.store import sqlite as sqlite_store
from ngrokd.store.sqlite import DATABASE, connect, open_store
from protocol.errors import Fault

ALICE = TokenRecord("alice0alice", "alice", "aa", created=10.0)

WRITER = """
import sys, trio
from pathlib import Path
from ngrokd.store import Notes, TokenRecord
from ngrokd.store.sqlite import open_store

async def main():
    store = await open_store(Path(sys.argv[1]))
    async def write(lane):
        for number in range(125):
            token = TokenRecord(f"t{lane}-{number}", f"t{lane}-{number}", "digest")
            await store.add_token(token)
            await store.note(Notes({token.id: "name"}))
            print(token.id, flush=True)
    async with trio.open_nursery() as nursery:
        for lane in range(8):
            nursery.start_soon(write, lane)

trio.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 150, 700])
async def test_kill_9_during_a_thousand_writes_loses_nothing_acknowledged(tmp_path: Path, after: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(after)]
        writer.kill()
        told += writer.stdout.readlines()
    acknowledged = {line.decode().strip() for line in told if line.endswith(b"\n")}
    assert len(acknowledged) >= after
    store = await open_store(tmp_path)
    assert acknowledged <= {token.id for token in await store.tokens()}
    assert acknowledged <= (await store.remembered()).keys()
    await store.add_token(ALICE)
    await store.aclose()


async def test_it_is_still_there_after_a_restart(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.add_token(ALICE)
    await store.aclose()
    store = await open_store(tmp_path)
    assert await store.has_token(ALICE.id) == ALICE
    await store.aclose()


async def test_two_never_share_it(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    with pytest.raises(Fault) as caught:
        await open_store(tmp_path)
    assert caught.value.code == "state_in_use"
    await store.aclose()
    await (await open_store(tmp_path)).aclose()


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = await open_store(tmp_path)
        await store.add_token(ALICE)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        await store.aclose()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}, modes


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"hello" * 2000)
    with pytest.raises(Fault) as caught:
        await open_store(tmp_path)
    assert caught.value.code == "bad_state"
    assert (tmp_path / DATABASE).read_bytes() == b"hello" * 2000
    (tmp_path / DATABASE).unlink()
    await (await open_store(tmp_path)).aclose()  # the lock was let go


async def test_a_damaged_database(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    for number in range(200):
        await store.add_token(replace(ALICE, id=f"t{number}", name=f"t{number}"))
    await store.aclose()
    raw = bytearray((tmp_path / DATABASE).read_bytes())
    raw[4096 : 4096 * 3] = b"\xff" * (4096 * 2)
    (tmp_path / DATABASE).write_bytes(raw)
    with pytest.raises(Fault) as caught:
        await open_store(tmp_path)
    assert caught.value.code == "bad_state"
    assert "backup" in caught.value.hint


async def test_limits_that_can_t_be_read_are_not_no_limits(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.add_token(ALICE)
    await store._worker.write(lambda db: db.execute("UPDATE tokens SET scope = '{\"later\": 1}'"))
    with pytest.raises(Fault) as caught:
        await store.has_token(ALICE.id)
    assert caught.value.code == "bad_state"
    await store.aclose()


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        await open_store(tmp_path / "no")
    assert caught.value.code == "store_readonly"


async def test_a_database_that_can_t_be_made(tmp_path: Path) -> None:
    (tmp_path / DATABASE).mkdir()
    with pytest.raises(Fault) as caught:
        connect(tmp_path / DATABASE)
    assert caught.value.code == "store_readonly"


async def test_a_backup_while_it_is_written_to(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    copy = tmp_path / "copy" / "backup.db"
    copy.parent.mkdir()
    await store.add_token(ALICE)

    async def write() -> None:
        for number in range(50):
            await store.note(Notes({f"key{number}": "name"}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await store.backup(copy)
        await store.backup(copy)  # the next day
    await store.aclose()
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    assert copy.stat().st_mode & 0o777 == 0o600
    (copy.parent / copy.name).rename(copy.parent / DATABASE)
    again = await open_store(copy.parent)
    assert await again.has_token(ALICE.id) == ALICE
    await again.aclose()


async def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "inner").mkdir()
    with pytest.raises(OSError):
        await store.backup(tmp_path / "no" / "copy")
    with pytest.raises(OSError):
        await store.backup(tmp_path / "d" / "inner")
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["inner"]
    await store.aclose()


async def test_remembered_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "REMEMBERED", 10)
    store = await open_store(tmp_path)
    for number in range(15):
        await store.note(Notes({f"k{number}": "v"}))
    assert list(await store.remembered()) == [f"k{number}" for number in range(5, 15)]
    await store.aclose()


def test_a_connection_has_the_settings_that_its_promises_rest_on(tmp_path: Path) -> None:
    connection: sqlite3.Connection = connect(tmp_path / DATABASE)
    found = [
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    connection.close()
    assert found == ["wal", 2, 1]

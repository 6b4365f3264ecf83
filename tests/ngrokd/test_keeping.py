"""The server's memory as one: opened whole or not at all, and what it keeps is there for the next start."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
import trio
from structlog.testing import capture_logs

from ngrokd.claims import HOLD_SECONDS
from ngrokd.grants import Scope
from ngrokd.keeping import open_keeping
from ngrokd.local import SOCKET, ask
from ngrokd.state import StateDirectory
from ngrokd.store import Name
from ngrokd.store.memory import MemoryStore
from protocol.errors import Fault

LOG = structlog.get_logger()
SHOP = Name("host", "shop.example.me")
NOW = 1e6


async def test_what_is_kept_is_there_again(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    keeping = await open_keeping(state, LOG, clock=lambda: NOW)
    ledger = keeping.ledger("example.me", "", lambda *_: 0)
    record, _ = await ledger.add_token("alice", Scope(), None)
    await ledger.reserve(Name("host", "r.example.me"), record.id)
    await keeping.note_facts("example.me", 4443, own_certificate=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(keeping.run, ledger, "example.me:4443")
        keeping.claims.used(SHOP, record.id)
        keeping.keeper.changed()
        (row,) = await ask(state.file(SOCKET), "token_list", {})
        assert row["name"] == "alice"
        nursery.cancel_scope.cancel()
    await keeping.aclose()
    with capture_logs() as logs:
        again = await open_keeping(state, LOG, clock=lambda: NOW)
    assert logs == [{"event": "agents need a token", "log_level": "info", "tokens": 1, "reservations": 1}]
    for name in (SHOP, Name("host", "r.example.me")):
        claim = again.claims.owner(name, NOW + HOLD_SECONDS - 1)
        assert claim is not None
        assert claim.token == record.id
    assert (await again.store.facts())["domain"] == "example.me"
    await again.aclose()


async def test_a_second_server_ends_here(tmp_path: Path) -> None:
    keeping = await open_keeping(StateDirectory(tmp_path), LOG)
    with pytest.raises(Fault) as caught:
        await open_keeping(StateDirectory(tmp_path), LOG)
    assert caught.value.code == "state_in_use"
    await keeping.aclose()


async def test_a_store_of_the_caller_s_is_not_closed(tmp_path: Path) -> None:
    class Store(MemoryStore):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    store = Store()
    keeping = await open_keeping(StateDirectory(tmp_path), LOG, store)
    await keeping.aclose()
    assert not store.closed
    assert not list(tmp_path.glob("ngrokd.*"))


async def test_a_disk_that_takes_nothing_stops_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise Fault("store_full", "the disk is full")

    store = MemoryStore()
    monkeypatch.setattr(store, "set_facts", full)
    keeping = await open_keeping(StateDirectory(tmp_path), LOG, store)
    with capture_logs() as logs:
        await keeping.note_facts("example.me", 4443, own_certificate=False)
    assert [entry["code"] for entry in logs] == ["store_full"]


async def test_without_a_socket_the_server_runs(tmp_path: Path) -> None:
    keeping = await open_keeping(StateDirectory(tmp_path), LOG, MemoryStore())
    (tmp_path / SOCKET).mkdir()
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(keeping.run, keeping.ledger("example.me", "", lambda *_: 0), "x")
            nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logs] == ["commands can't reach this server"]

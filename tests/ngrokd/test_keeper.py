"""The keeper: changes are written once, a broken disk is survived, said once a minute, and caught up with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from ngrokd.claims import Claims
from ngrokd.keeper import Keeper
from ngrokd.store import Name, Notes, TokenRecord
from ngrokd.store.memory import MemoryStore
from protocol.errors import Fault

SHOP = Name("host", "shop.example.me")


class BreakingStore(MemoryStore):
    """Takes no notes while `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.notes: list[Notes] = []

    async def note(self, notes: Notes) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise Fault("store_full", "the disk is full", retry=True)
        self.notes.append(notes)
        await super().note(notes)


class Bench:
    def __init__(self) -> None:
        self.store = BreakingStore()
        self.claims = Claims()
        self.keeper = Keeper(self.store, self.claims, structlog.get_logger())

    def use(self, text: str = "shop.example.me") -> None:
        self.claims.used(Name("host", text), "alice")
        self.keeper.changed()


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    found = Bench()
    await found.store.add_token(TokenRecord("alice", "alice", "d"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.keeper.run)
        yield found
        nursery.cancel_scope.cancel()


async def test_a_storm_is_one_write(autojump_clock: MockClock) -> None:
    async with bench() as b:
        for number in range(100):
            b.use(f"n{number % 10}.example.me")
            b.keeper.used("alice", float(number), "192.0.2.1")
        await trio.sleep(1)
        assert len(b.store.notes) == 1
        assert len(await b.store.holds()) == 10
        (token,) = await b.store.tokens()
        assert token.last_used == 99.0


async def test_what_is_left_is_written_at_the_end(autojump_clock: MockClock) -> None:
    async with bench() as b:
        b.use()
    assert [hold.name for hold in await b.store.holds()] == [SHOP]


async def test_a_full_disk_is_said_once_a_minute_and_caught_up_with(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with bench() as b:
            b.store.broken = True
            b.use()
            await trio.sleep(125)
            b.use("second.example.me")
            b.keeper.used("alice", 5.0, "192.0.2.1")
            await trio.sleep(10)
            assert (b.keeper.behind, b.keeper.failures > 100) == (True, True)
            assert [entry["log_level"] for entry in logs] == ["warning"] * 3
            b.store.broken = False
            await trio.sleep(1.1)
            assert b.keeper.behind is False
            assert len(await b.store.holds()) == 2
            (token,) = await b.store.tokens()
            assert token.last_used == 5.0
    assert logs[-1]["event"] == "the state can be written again"


async def test_newer_changes_win_over_those_that_could_not_be_written(autojump_clock: MockClock) -> None:
    async with bench() as b:
        b.store.broken = True
        b.use()
        await trio.sleep(2)
        b.claims.release("alice")
        b.keeper.changed()
        b.store.broken = False
        await trio.sleep(2)
        assert not await b.store.holds()

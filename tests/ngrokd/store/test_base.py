"""Every kind of store behaves alike: one conformance test for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from ngrokd.grants import Scope
from ngrokd.store import Hold, Name, Notes, Reservation, Store, TokenRecord
from ngrokd.store.memory import MemoryStore
from ngrokd.store.sqlite import open_store
from protocol.errors import Fault

ALICE = TokenRecord("alice0alice", "alice", "aa", Scope(("x.example.me",), ((2000, 2100),), 3), 10.0, 500.0)
BOB = TokenRecord("bob0000000", "bob", "bb", created=20.0)
SHOP = Name("host", "shop.example.me")
PORT = Name("port", "2022")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    found: Store = MemoryStore() if request.param == "memory" else await open_store(tmp_path)
    yield found
    await found.aclose()
    await found.aclose()


async def test_a_new_store_is_empty(store: Store) -> None:
    assert not await store.has_tokens()
    assert await store.has_token("alice") is None
    assert not await store.tokens()
    assert not await store.reservations()
    assert not await store.holds()
    assert await store.has_route(SHOP) is None
    assert await store.remembered() == await store.facts() == {}


async def test_tokens_are_kept_as_they_are_oldest_first(store: Store) -> None:
    await store.add_token(BOB)
    await store.add_token(ALICE)
    assert await store.has_tokens()
    assert await store.has_token(ALICE.id) == ALICE
    assert list(await store.tokens()) == [ALICE, BOB]


async def test_one_name_one_living_token(store: Store) -> None:
    await store.add_token(ALICE)
    for again in (replace(BOB, name="alice"), replace(ALICE, name="other")):
        with pytest.raises(Fault) as caught:
            await store.add_token(again)
        assert caught.value.code == "token_exists"
    await store.revoke_token(ALICE.id, 30.0)
    await store.add_token(replace(BOB, name="alice"))
    assert len(await store.tokens()) == 2


async def test_revoked_tokens_stay_on_the_books(store: Store) -> None:
    await store.add_token(ALICE)
    await store.revoke_token(ALICE.id, 30.0)
    await store.revoke_token(ALICE.id, 40.0)
    found = await store.has_token(ALICE.id)
    assert found is not None
    assert found.revoked == 30.0
    assert await store.has_tokens()
    with pytest.raises(Fault, match="no such token"):
        await store.rotate_token(ALICE.id, "zz")
    await store.forget_token(ALICE.id)
    assert not await store.has_tokens()


async def test_rotation_changes_the_secret_alone(store: Store) -> None:
    await store.add_token(ALICE)
    await store.rotate_token(ALICE.id, "new")
    assert await store.has_token(ALICE.id) == replace(ALICE, digest="new")


async def test_other_limits(store: Store) -> None:
    await store.add_token(ALICE)
    scope = Scope(max_tunnels=3, allow_hosts=("shop",))
    await store.limit_token(ALICE.id, scope, 99.0)
    assert await store.has_token(ALICE.id) == replace(ALICE, scope=scope, expires=99.0)
    await store.revoke_token(ALICE.id, 1.0)
    with pytest.raises(Fault, match="no such token"):
        await store.limit_token(ALICE.id, Scope(), None)


async def test_what_is_not_there_can_t_be_changed(store: Store) -> None:
    for call in (
        store.rotate_token("x", "y"),
        store.limit_token("x", Scope(), None),
        store.revoke_token("x", 1.0),
        store.forget_token("x"),
    ):
        with pytest.raises(Fault) as caught:
            await call
        assert caught.value.code == "no_such_token"
    assert not await store.unreserve(SHOP)


async def test_reservations(store: Store) -> None:
    await store.add_token(ALICE)
    await store.add_token(BOB)
    for name in (PORT, SHOP):
        await store.reserve(Reservation(name, ALICE.id, 5.0))
    assert await store.has_route(SHOP) == Reservation(SHOP, ALICE.id, 5.0)
    assert [entry.name for entry in await store.reservations()] == [SHOP, PORT]
    await store.reserve(Reservation(SHOP, ALICE.id, 6.0))
    with pytest.raises(Fault) as caught:
        await store.reserve(Reservation(SHOP, BOB.id))
    assert caught.value.code == "name_taken"
    assert await store.unreserve(SHOP)
    await store.reserve(Reservation(SHOP, BOB.id))
    with pytest.raises(Fault, match="no such token"):
        await store.reserve(Reservation(Name("host", "x.example.me"), "nobody"))


async def test_what_a_revoked_token_had_reserved_can_be_given_to_another(store: Store) -> None:
    await store.add_token(ALICE)
    await store.add_token(BOB)
    await store.reserve(Reservation(SHOP, ALICE.id))
    await store.revoke_token(ALICE.id, 1.0)
    assert (await store.has_route(SHOP)) is not None
    await store.reserve(Reservation(SHOP, BOB.id))
    assert [entry.token for entry in await store.reservations()] == [BOB.id]


async def test_forgetting_a_token_takes_its_names_along(store: Store) -> None:
    await store.add_token(ALICE)
    await store.reserve(Reservation(SHOP, ALICE.id))
    await store.note(Notes(holds={PORT: Hold(PORT, ALICE.id, 99.0)}))
    await store.forget_token(ALICE.id)
    assert not await store.reservations()
    assert not await store.holds()


async def test_notes(store: Store) -> None:
    await store.add_token(ALICE)
    hold = Hold(SHOP, ALICE.id, 99.0)
    await store.note(Notes({"a": "1", "b": "2", "c": "3"}, {SHOP: hold}, {ALICE.id: (77.0, "192.0.2.1")}))
    assert list((await store.remembered()).items()) == [("a", "1"), ("b", "2"), ("c", "3")]
    assert list(await store.holds()) == [hold]
    found = await store.has_token(ALICE.id)
    assert found is not None
    assert (found.last_used, found.last_source) == (77.0, "192.0.2.1")
    await store.note(Notes({"a": "4", "b": None}, {SHOP: None}))
    assert list((await store.remembered()).items()) == [("c", "3"), ("a", "4")]
    assert list(await store.holds()) == []
    assert not Notes()


async def test_notes_about_strangers_are_left_out(store: Store) -> None:
    await store.note(Notes({"a": "1"}, {SHOP: Hold(SHOP, "nobody", 9.0), PORT: None}, {"nobody": (1.0, "x")}))
    assert await store.remembered() == {"a": "1"}
    assert list(await store.holds()) == []


async def test_facts(store: Store) -> None:
    await store.set_facts({"domain": "example.me", "port": "4443"})
    await store.set_facts({"port": "5000"})
    assert await store.facts() == {"domain": "example.me", "port": "5000"}


async def test_a_thousand_reservations_of_one_name_have_one_winner(store: Store) -> None:
    tokens = [replace(BOB, id=f"token{number:05}", name=f"t{number}") for number in range(100)]
    won: list[str] = []
    lost: list[str] = []

    async def register(token: TokenRecord) -> None:
        try:
            await store.reserve(Reservation(SHOP, token.id))
            won.append(token.id)
        except Fault as fault:
            lost.append(fault.code)

    async with trio.open_nursery() as nursery:
        for token in tokens:
            nursery.start_soon(store.add_token, token)
    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(register, tokens[number % 100])
    found = await store.has_route(SHOP)
    assert found is not None
    assert set(won) == {found.token}
    assert set(lost) == {"name_taken"}

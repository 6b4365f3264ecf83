"""The books: changes go to the store, then take effect; names are checked before they are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing

from ngrokd.claims import Claims
from ngrokd.grants import Scope
from ngrokd.ledger import Ledger
from ngrokd.settings import PortRange
from ngrokd.store import Name
from ngrokd.store.memory import MemoryStore
from ngrokd.store.records import TokenRecord
from protocol.errors import Fault
from protocol.names import Zone
from protocol.token import parse_token

NOW = 1000.0
PIN = "sha256:" + "ab" * 32


class Bench:
    def __init__(self, pin: str = PIN) -> None:
        self.store = MemoryStore()
        self.claims = Claims()
        self.ended: list[tuple[str, str]] = []
        self.ledger = Ledger(self.store, self.claims, Zone("example.me"), pin, self.end, lambda: NOW)

    def end(self, token_id: str, reason: str) -> int:
        self.ended.append((token_id, reason))
        return 2

    async def alice(self) -> str:
        record, _ = await self.ledger.add_token("alice", Scope(), None)
        return record.id


async def test_a_new_token_is_shown_once_and_kept_as_a_hash() -> None:
    bench = Bench()
    record, text = await bench.ledger.add_token("alice", Scope(max_tunnels=1), 60.0)
    token = parse_token(text.reveal())
    assert token is not None
    assert (token.id, token.pin, token.secret.digest()) == (record.id, PIN, record.digest)
    assert (record.created, record.expires) == (NOW, NOW + 60)
    assert token.secret.reveal() not in repr(await bench.store.tokens())
    with pytest.raises(Fault):
        await bench.ledger.add_token("a b", Scope(), None)


async def test_rotation() -> None:
    bench = Bench(pin="")
    record, old = await bench.ledger.add_token("alice", Scope(), None)
    again, new = await bench.ledger.rotate_token(record.id)
    assert (again.id, again.name) == (record.id, "alice")
    assert new != old
    stored = await bench.store.has_token(record.id)
    assert stored == again
    assert [token_id for token_id, _ in bench.ended] == [record.id]


async def test_revoking_ends_sessions_and_frees_what_was_held() -> None:
    bench = Bench()
    alice, shop = await bench.alice(), Name("host", "shop.example.me")
    bench.claims.used(shop, alice)
    bench.claims.freed(shop, alice, NOW)
    assert await bench.ledger.revoke_token(alice) == 2
    assert bench.ended == [(alice, "the token was revoked")]
    assert bench.claims.owner(shop, NOW) is None
    for call in (bench.ledger.rotate_token(alice), bench.ledger.find("alice")):
        with pytest.raises(Fault, match="no such token"):
            await call
    assert (await bench.ledger.find("alice", revoked_too=True)).id == alice
    assert await bench.ledger.forget_token(alice) == 2
    assert not await bench.ledger.tokens()


async def test_tokens_are_found_by_name_and_id_the_living_one_first() -> None:
    bench = Bench()
    first = await bench.alice()
    await bench.ledger.revoke_token(first)
    second = await bench.alice()
    assert (await bench.ledger.find("alice")).id == second
    assert (await bench.ledger.find(second)).id == second
    with pytest.raises(Fault):
        await bench.ledger.find("bob")


async def test_a_port_that_the_server_gives_to_nobody_is_not_reserved() -> None:
    bench = Bench()
    alice, port = await bench.alice(), Name("port", "2222")
    ledger = replace(bench.ledger, ports=lambda: PortRange(20000, 20010))
    with pytest.raises(Fault, match="20000-20010") as caught:
        await ledger.reserve(port, alice)
    assert caught.value.code == "port_not_allowed"
    assert "-tcpPorts" in caught.value.message
    await ledger.reserve(Name("port", "20010"), alice)
    await bench.ledger.reserve(port, alice)  # while the range was another one
    await ledger.unreserve(ledger.name("2222"))


async def test_reservations_take_effect_at_once() -> None:
    bench = Bench()
    alice = await bench.alice()
    reservation = await bench.ledger.reserve(Name("host", "SHOP.example.me."), alice)
    assert reservation.name == Name("host", "shop.example.me")
    claim = bench.claims.owner(reservation.name, NOW)
    assert claim is not None
    assert claim.token == alice
    assert list(await bench.ledger.reservations()) == [reservation]
    await bench.ledger.unreserve(reservation.name)
    assert bench.claims.owner(reservation.name, NOW) is None
    with pytest.raises(Fault, match="is not reserved"):
        await bench.ledger.unreserve(reservation.name)
    with pytest.raises(Fault, match="no such token"):
        await bench.ledger.reserve(reservation.name, "nobody")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shop", Name("host", "shop.example.me")),
        (" Shop ", Name("host", "shop.example.me")),
        ("shop.other.org", Name("host", "shop.other.org")),
        ("*.demo.example.me", Name("host", "*.demo.example.me")),
        ("*.demo", Name("host", "*.demo.example.me")),
        ("02222", Name("port", "2222")),
    ],
)
def test_names_as_people_type_them(text: str, name: Name) -> None:
    assert Bench().ledger.name(text) == name


@pytest.mark.parametrize(
    "text", ["", "www", "adm1n", "a_b", "example.me", "80", "70000", "192.0.2.1", "xn--80ak6aa92e"]
)
def test_names_that_nobody_may_have(text: str) -> None:
    with pytest.raises(Fault) as caught:
        Bench().ledger.name(text)
    assert caught.value.message


async def test_other_limits_reach_the_sessions() -> None:
    bench = Bench()
    heard: list[TokenRecord] = []
    ledger = replace(bench.ledger, regrants=heard.append)
    record, _ = await ledger.add_token("alice", Scope(max_tunnels=1, max_sessions=2), 60.0)
    changed = await ledger.limit_token(record.id, {"max_tunnels": None, "max_requests": 5.0})
    assert changed.scope == Scope(max_sessions=2, max_requests=5.0)
    assert changed.expires == NOW + 60
    assert await bench.store.has_token(record.id) == changed
    assert (await ledger.limit_token(record.id, {"lifetime": 5.0})).expires == NOW + 5
    assert (await ledger.limit_token(record.id, {"lifetime": None})).expires is None
    assert [one.scope for one in heard] == [changed.scope] * 3
    await ledger.revoke_token(record.id)
    with pytest.raises(Fault, match="no such token"):
        await ledger.limit_token(record.id, {})


class TogetherStore(MemoryStore):
    """As the real one: answers of a batch arrive together, and those who waited go on in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.batch = trio.Event()
        self.batch.set()
        self.logins = 0
        """How many look-ups wait for the batch; the ledger's own come before it."""

    async def has_token(self, token_id: str) -> TokenRecord | None:
        record = await super().has_token(token_id)
        if self.logins:
            self.logins -= 1
            await self.batch.wait()
        return record

    async def _change(self, work: Awaitable[None]) -> None:
        await work
        await self.batch.wait()

    async def revoke_token(self, token_id: str, when: float) -> None:
        await self._change(super().revoke_token(token_id, when))

    async def rotate_token(self, token_id: str, digest: str) -> None:
        await self._change(super().rotate_token(token_id, digest))

    async def forget_token(self, token_id: str) -> None:
        await self._change(super().forget_token(token_id))

    async def limit_token(self, token_id: str, scope: Scope, expires: float | None) -> None:
        await self._change(super().limit_token(token_id, scope, expires))


@pytest.mark.parametrize("what", ["revoke", "rotate", "forget", "limit"])
async def test_a_login_that_was_judged_before_the_change_does_not_escape_it(what: str) -> None:
    for _ in range(20):  # trio wakes tasks in a random order
        store = TogetherStore()
        sessions: list[TokenRecord] = []

        def end(_token_id: str, _reason: str, sessions: list[TokenRecord] = sessions) -> int:
            sessions.clear()
            return 0

        def regrant(_record: TokenRecord, sessions: list[TokenRecord] = sessions) -> None:
            sessions.clear()

        ledger = Ledger(store, Claims(), Zone("example.me"), "", end, lambda: NOW, regrant)
        record, _ = await ledger.add_token("alice", Scope(), None)

        async def login(store: MemoryStore, token_id: str, sessions: list[TokenRecord]) -> None:
            found = await store.has_token(token_id)
            assert found is not None
            sessions.append(found)

        changes: dict[str, Callable[[], Awaitable[object]]] = {
            "revoke": partial(ledger.revoke_token, record.id),
            "rotate": partial(ledger.rotate_token, record.id),
            "forget": partial(ledger.forget_token, record.id),
            "limit": partial(ledger.limit_token, record.id, {"max_tunnels": 1}),
        }
        async with trio.open_nursery() as nursery:
            store.batch, store.logins = trio.Event(), 1
            nursery.start_soon(login, store, record.id, sessions)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(changes[what])
            await trio.testing.wait_all_tasks_blocked()
            store.batch.set()
        assert not sessions

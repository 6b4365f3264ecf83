"""Who may log in: the rules with and without tokens, and what each refusal says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ngrokd.gate import Arrival
from ngrokd.grants import Scope
from ngrokd.store import Store, TokenRecord
from ngrokd.store.memory import MemoryStore
from ngrokd.token_gate import TokenGate
from protocol.errors import Fault, RefusedError
from protocol.messages import Auth
from protocol.token import Token, new_token

HERE = Arrival("127.0.0.1", "127.0.0.1")
AWAY = Arrival("192.0.2.7", "203.0.113.1")
NOW = 1000.0


class Bench:
    def __init__(self, *, open_to_all: bool = False) -> None:
        self.store: Store = MemoryStore()
        self.used: list[tuple[str, float, str]] = []
        self.gate = TokenGate(self.store, "example.me", open_to_all, lambda *what: self.used.append(what), lambda: NOW)
        self.token = new_token()
        self.record = TokenRecord(self.token.id, "alice", self.token.secret.digest(), Scope(("shop",), max_tunnels=2))

    async def refused(self, user: str, arrival: Arrival = HERE) -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            await self.gate.admit(Auth(user=user), arrival)
        assert not self.used
        return caught.value


async def test_without_tokens_the_address_decides() -> None:
    bench = Bench()
    assert (await bench.gate.admit(Auth(), HERE)).account == ""
    assert (await bench.gate.admit(Auth(user="whatever"), HERE)).grant is None
    refusal = await bench.refused("", AWAY)
    assert refusal.code == "no_tokens"
    assert refusal.retry
    for words in ("-open", "ngrokd token add NAME"):
        assert words in refusal.message


async def test_open_lets_anybody_in_until_there_is_a_token() -> None:
    bench = Bench(open_to_all=True)
    await bench.gate.admit(Auth(), AWAY)
    await bench.store.add_token(bench.record)
    for arrival in (HERE, AWAY):
        assert (await bench.refused("", arrival)).code == "token_needed"


async def test_the_right_token_brings_its_grant() -> None:
    bench = Bench()
    await bench.store.add_token(bench.record)
    for arrival in (HERE, AWAY):
        admission = await bench.gate.admit(Auth(user=f" {bench.token.text().reveal()}\n"), arrival)
        assert admission.account == bench.token.id
        assert admission.grant is not None
        assert admission.grant.scope == Scope(("shop.example.me",), max_tunnels=2)
        assert admission.grant.name == "alice"
    assert bench.used == [(bench.token.id, NOW, "127.0.0.1"), (bench.token.id, NOW, "192.0.2.7")]


async def test_wrong_ones_are_all_refused_alike() -> None:
    bench = Bench()
    await bench.store.add_token(bench.record)
    pinned = Token(bench.token.id, new_token().secret)
    wrong = [
        "x",
        "nt_",
        new_token().text().reveal(),
        pinned.text().reveal(),
        bench.token.text().reveal()[:-1],
        "a" * 10_000,
    ]
    found = {(error.code, error.message, error.retry) for error in [await bench.refused(text) for text in wrong]}
    assert len(found) == 1
    ((code, message, retry),) = found
    assert (code, retry) == ("bad_token", False)
    assert "not known here" in message


async def test_a_revoked_one_says_so_only_to_who_has_it() -> None:
    bench = Bench()
    await bench.store.add_token(replace(bench.record, revoked=5.0))
    assert "was revoked" in (await bench.refused(bench.token.text().reveal())).message
    guess = Token(bench.token.id, new_token().secret).text().reveal()
    assert "not known here" in (await bench.refused(guess)).message


@pytest.mark.parametrize(("expires", "fine"), [(NOW + 0.1, True), (NOW, False), (NOW - 1e6, False)])
async def test_expiry(expires: float, fine: bool) -> None:
    bench = Bench()
    await bench.store.add_token(replace(bench.record, expires=expires))
    if fine:
        assert (await bench.gate.admit(Auth(user=bench.token.text().reveal()), HERE)).account
    else:
        assert "has expired" in (await bench.refused(bench.token.text().reveal())).message


async def test_a_store_that_can_t_be_read_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(open_to_all=True)

    async def broken(*_: object) -> bool:
        raise Fault("store_failed", "I/O error")

    monkeypatch.setattr(bench.store, "has_tokens", broken)
    refusal = await bench.refused("")
    assert (refusal.code, refusal.retry) == ("unavailable", True)

"""Whom random names are remembered for."""

from __future__ import annotations

from ngrokd.affinity import Affinity
from ngrokd.memory import SHARED, candidates, keep
from ngrokd.session import Identity, SessionKey


def who(client: str, account: str = "") -> Identity:
    return Identity(SessionKey(client, 1), "s", account=account)


def offered(affinity: Affinity, identity: Identity, slot: int = 0) -> list[str]:
    return list(candidates(affinity, identity, "http", slot))


def test_without_a_token_it_is_the_client() -> None:
    affinity = Affinity()
    keep(affinity, who("a"), "http", 0, "blue")
    assert offered(affinity, who("a")) == ["blue"]
    assert offered(affinity, who("a"), 1) == offered(affinity, who("b")) == []


def test_agents_of_one_token_have_each_its_own_and_share_the_rest() -> None:
    affinity = Affinity()
    keep(affinity, who("a", "alice"), "http", 0, "blue")
    keep(affinity, who("b", "alice"), "http", 0, "red")
    assert offered(affinity, who("a", "alice")) == ["blue", "red"]
    assert offered(affinity, who("b", "alice")) == ["red", "blue"]
    assert offered(affinity, who("new", "alice")) == ["blue", "red"]
    assert offered(affinity, who("a", "bob")) == offered(affinity, who("a")) == []


def test_what_a_token_shares_is_bounded() -> None:
    affinity = Affinity()
    for number in range(SHARED * 3):
        keep(affinity, who(f"c{number}", "alice"), "http", 0, f"n{number}")
        keep(affinity, who(f"c{number}", "alice"), "http", 0, f"n{number}")
    assert len(offered(affinity, who("new", "alice"))) == SHARED

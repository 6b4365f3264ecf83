"""Claims: reservations before holds, exact before wildcard, a day for the last owner, and no hoarding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.claims import HOLD_SECONDS, HOLDS_OF_ONE, IN_USE, Claims
from ngrokd.store.records import Hold, Name, Reservation
from protocol.errors import Fault

NOW = 1_000_000.0


def host(text: str) -> Name:
    return Name("host", text)


SHOP, PORT = host("shop.example.me"), Name("port", "2022")


def claims(*reservations: tuple[str, str], holds: tuple[Hold, ...] = ()) -> Claims:
    found = Claims()
    found.load([Reservation(host(name), token) for name, token in reservations], holds, NOW)
    return found


def may(found: Claims, name: Name, token: str, now: float = NOW) -> bool:
    try:
        found.check(name, token, now)
    except Fault as fault:
        return fault.code != "name_taken"
    return True


def test_an_unclaimed_name_is_anybody_s() -> None:
    assert may(claims(), SHOP, "alice")
    assert may(claims(), SHOP, "")
    assert claims().owner(SHOP, NOW) is None


def test_a_reserved_name_is_its_token_s_alone() -> None:
    found = claims(("shop.example.me", "alice"))
    assert may(found, SHOP, "alice")
    assert not may(found, SHOP, "bob")
    assert not may(found, SHOP, "")
    with pytest.raises(Fault, match=r"shop\.example\.me is reserved for another token"):
        found.check(SHOP, "bob", NOW)
    found.unreserve(SHOP)
    assert may(found, SHOP, "bob")


def test_exact_beats_wildcard_beats_none() -> None:
    found = claims(("*.demo.me", "alice"), ("x.demo.me", "bob"), ("*.deep.demo.me", "carol"))
    assert may(found, host("x.demo.me"), "bob")
    assert not may(found, host("x.demo.me"), "alice")
    assert may(found, host("y.demo.me"), "alice")
    assert not may(found, host("y.demo.me"), "bob")
    assert may(found, host("a.deep.demo.me"), "carol")
    assert not may(found, host("a.deep.demo.me"), "alice")
    assert may(found, host("demo.me"), "bob")
    assert may(found, host("other.me"), "bob")


def test_a_wildcard_needs_a_reservation_that_covers_it() -> None:
    found = claims(("*.demo.me", "alice"))
    assert may(found, host("*.demo.me"), "alice")
    assert may(found, host("*.deep.demo.me"), "alice")
    assert not may(found, host("*.demo.me"), "bob")
    assert not may(found, host("*.me"), "alice")
    with pytest.raises(Fault, match="a wildcard needs a reservation") as caught:
        found.check(host("*.free.me"), "alice", NOW)
    assert "ngrokd reserve '*.free.me'" in caught.value.hint


def test_a_freed_name_waits_a_day_for_its_last_owner() -> None:
    found = claims()
    found.used(SHOP, "alice")
    assert not may(found, SHOP, "bob", NOW + 10 * HOLD_SECONDS)
    found.freed(SHOP, "alice", NOW)
    assert may(found, SHOP, "alice", NOW + 1)
    assert not may(found, SHOP, "bob", NOW + HOLD_SECONDS - 1)
    assert not may(found, SHOP, "", NOW + HOLD_SECONDS - 1)
    assert may(found, SHOP, "bob", NOW + HOLD_SECONDS)
    with pytest.raises(Fault, match="belongs to another token, which has it still or had it within the last day"):
        found.check(SHOP, "bob", NOW)


def test_names_of_agents_without_a_token_are_not_held() -> None:
    found = claims()
    found.used(SHOP, "")
    found.freed(SHOP, "", NOW)
    assert may(found, SHOP, "bob")
    assert found.take_changes() == {}


def test_the_farewell_of_an_older_owner_changes_nothing() -> None:
    found = claims()
    found.used(SHOP, "alice")
    found.used(SHOP, "bob")
    found.freed(SHOP, "alice", NOW)
    assert found.owner(SHOP, NOW + 2 * HOLD_SECONDS) is not None
    assert may(found, SHOP, "bob")


def test_after_a_crash_names_that_were_in_use_are_held() -> None:
    found = claims(holds=(Hold(SHOP, "alice", IN_USE), Hold(PORT, "bob", NOW - 1)))
    assert not may(found, SHOP, "bob", NOW + HOLD_SECONDS - 1)
    assert may(found, SHOP, "bob", NOW + HOLD_SECONDS)
    assert may(found, PORT, "alice")
    assert found.take_changes() == {SHOP: Hold(SHOP, "alice", NOW + HOLD_SECONDS), PORT: None}
    assert found.take_changes() == {}


def test_nobody_hoards_names() -> None:
    found = claims()
    names = [host(f"n{number}.me") for number in range(HOLDS_OF_ONE + 3)]
    for number, name in enumerate(names):
        found.used(name, "alice")
        found.freed(name, "alice", NOW + number)
    assert [may(found, name, "bob") for name in names[:4]] == [True, True, True, False]
    assert len([hold for hold in found.take_changes().values() if hold is not None]) == HOLDS_OF_ONE


def test_names_in_use_do_not_count_as_hoarded() -> None:
    found = claims()
    for number in range(HOLDS_OF_ONE * 2):
        found.used(host(f"n{number}.me"), "alice")
    assert not may(found, host("n0.me"), "bob")


def test_a_revoked_token_holds_nothing_and_a_forgotten_one_has_nothing_reserved() -> None:
    found = claims(("r.me", "alice"))
    found.used(SHOP, "alice")
    found.freed(SHOP, "alice", NOW)
    found.release("alice")
    assert may(found, SHOP, "bob")
    assert not may(found, host("r.me"), "bob")
    found.forget("alice")
    assert may(found, host("r.me"), "bob")
    found.reserve(host("r.me"), "bob")
    assert not may(found, host("r.me"), "alice")
    assert "reserved=1" in repr(found)


tokens = st.sampled_from(["alice", "bob", ""])
names = st.sampled_from([host("a.me"), host("b.me"), PORT])


@given(
    st.lists(st.tuples(st.sampled_from(["used", "freed", "release"]), names, tokens, st.integers(0, 2)), max_size=40)
)
def test_what_is_written_down_says_the_same(steps: list[tuple[str, Name, str, int]]) -> None:
    """A server that starts from the store's rows at any moment gives the same answers (in-use names become held)."""
    found, rows, now = Claims(), dict[Name, Hold](), NOW
    for what, name, token, days in steps:
        now += days * HOLD_SECONDS / 2
        if what == "used" and may(found, name, token, now):
            found.used(name, token)
        elif what == "freed":
            found.freed(name, token, now)
        elif what == "release":
            found.release(token)
        for changed, hold in found.take_changes().items():
            rows.pop(changed, None)
            if hold is not None:
                rows[changed] = hold
        again = Claims()
        again.load([], rows.values(), now)
        for each in (host("a.me"), host("b.me"), PORT):
            assert again.owner(each, now) == found.owner(each, now)

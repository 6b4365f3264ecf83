"""Bans end by themselves, can be lifted, and are bounded."""

from __future__ import annotations

from ngrokd.admin import bans
from ngrokd.admin.bans import Ban, Bans


def test_a_ban_covers_what_it_names_until_its_end() -> None:
    book = Bans()
    book.add(Ban("address", "192.0.2.7", 10.0))
    book.add(Ban("token", "t1", 20.0, "kicked"))
    assert book.covering(5.0, address="192.0.2.7") is not None
    assert book.covering(5.0, token="192.0.2.7", address="192.0.2.8", client="") is None
    assert book.covering(10.0, address="192.0.2.7") is None
    assert [ban.id for ban in book.live(10.0)] == ["token:t1"]
    assert len(book) == 1


def test_nothing_is_no_name() -> None:
    book = Bans()
    book.add(Ban("token", "", 10.0))
    assert book.covering(5.0, token="") is None


def test_lifting() -> None:
    book = Bans()
    book.add(Ban("client", "c", 10.0))
    assert book.lift("client:c")
    assert not book.lift("client:c")


def test_the_first_to_end_gives_way() -> None:
    book = Bans()
    for number in range(bans.MAX_BANS + 1):
        book.add(Ban("address", str(number), float(number)))
    assert len(book) == bans.MAX_BANS
    assert not book.lift("address:0")

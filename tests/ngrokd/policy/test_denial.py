"""A denial is a value."""

from __future__ import annotations

from ngrokd.policy.denial import Denial


def test_equal_and_frozen() -> None:
    assert Denial("forbidden") == Denial("forbidden", b"")
    assert hash(Denial("forbidden")) == hash(Denial("forbidden"))

"""What a token's sessions use together: one count for all, and nothing is left when the last one goes."""

from __future__ import annotations

import pytest

from ngrokd.grants import Grant, Scope
from ngrokd.usage import Usage, Usages
from protocol.errors import Fault


def grant(**limits: object) -> Grant:
    return Grant("k3v9", "alice", Scope(**limits))  # type: ignore[arg-type]


def test_sessions_of_a_token_share() -> None:
    usages = Usages()
    first, second = usages.join(grant()), usages.join(grant())
    assert first is second
    assert list(usages) == [first]
    for _ in range(2):
        usages.leave(first)
    assert usages.get("k3v9") is None
    assert not list(usages)


def test_requests() -> None:
    usage = Usage(grant(max_requests=2))
    assert [usage.admit_request(0.0) for _ in range(3)] == [True, True, False]
    assert usage.admit_request(0.5)
    assert usage.refused == {"requests": 1}
    free = Usage(grant())
    assert all(free.admit_request(0.0) for _ in range(1000))


def test_connections() -> None:
    usage = Usage(grant(max_connections=1))
    assert usage.counts_connections
    with usage.connection():
        assert usage.connections == 1
        with pytest.raises(Fault) as caught:
            usage.connection()
        assert caught.value.code == "limit_reached"
    assert usage.connections == 0
    assert usage.refused == {"connections": 1}
    assert not Usage(grant()).counts_connections
    assert Usage(grant(max_bandwidth=1000)).counts_connections
    assert "alice" in repr(usage)

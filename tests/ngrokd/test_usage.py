"""What a token's sessions use together: one count for all, and nothing is left when the last one goes."""

from __future__ import annotations

import pytest

from ngrokd.grants import Grant, Scope
from ngrokd.usage import Usage, Usages
from protocol.errors import Fault
from protocol.messages import Notice


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
    with usage.connection(0.0):
        assert usage.connections == 1
        with pytest.raises(Fault) as caught:
            usage.connection(0.0)
        assert caught.value.code == "limit_reached"
    assert usage.connections == 0
    assert usage.refused == {"connections": 1}
    assert not Usage(grant()).counts_connections
    assert Usage(grant(max_bandwidth=1000)).counts_connections
    assert "alice" in repr(usage)


def test_each_agent_of_the_token_is_told_once_a_minute() -> None:
    usages = Usages()
    first: list[Notice] = []
    second: list[Notice] = []
    usage = usages.join(grant(max_requests=1, max_connections=0), first.append)
    usages.join(grant(), second.append)
    for _ in range(1000):
        usage.admit_request(0.0)
        with pytest.raises(Fault):
            usage.connection(0.0)
    assert [notice.code for notice in first] == ["limit_reached", "tunnel_rate_limited"]
    assert "alice may have 1 requests a second (--max-requests); 1 refused" in first[1].message
    assert first == second
    usages.leave(usage, second.append)
    assert usage.sessions == 1
    assert [usage.admit_request(60.5) for _ in range(3)] == [True, False, False]
    assert len(first) == 3
    assert "1000 refused" in first[-1].message
    assert len(second) == 2


def test_limits_that_change_under_way() -> None:
    """What is in use stays counted; a rate starts anew only when it is another one."""
    usage = Usage(grant(max_requests=1, max_connections=2))
    assert usage.admit_request(0.0)
    slot = usage.connection(0.0)
    usage.use(grant(max_requests=1, max_connections=1, max_bandwidth=5000))
    assert not usage.admit_request(0.0)
    assert usage.bucket is not None
    with pytest.raises(Fault):
        usage.connection(0.0)
    slot.release()
    usage.use(grant())
    assert all(usage.admit_request(0.0) for _ in range(100))
    assert not usage.counts_connections

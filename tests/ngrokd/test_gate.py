"""Without tokens: agents on this machine, unless -open."""

from __future__ import annotations

import pytest

from ngrokd.gate import AddressGate, Admission, Arrival
from protocol.errors import RefusedError
from protocol.messages import Auth


@pytest.mark.parametrize(
    ("peer", "local", "inside"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("127.0.0.1", "192.0.2.1", False),  # redirected to look local
        ("192.0.2.9", "192.0.2.1", False),
        ("", "", False),
        ("fe80::1%eth0", "fe80::2", False),
    ],
)
async def test_both_ends_must_be_loopback(peer: str, local: str, inside: bool) -> None:
    gate, arrival = AddressGate(), Arrival(peer, local)
    if inside:
        assert await gate.admit(Auth(), arrival) == Admission()
        return
    with pytest.raises(RefusedError, match="-open"):
        await gate.admit(Auth(user="anything"), arrival)


async def test_open_lets_anybody_in() -> None:
    assert await AddressGate(open=True).admit(Auth(), Arrival("192.0.2.9", "192.0.2.1")) == Admission()

"""Address lists against ipaddress itself."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.policy.addresses import AddressList, parse_address, source_of


def test_members() -> None:
    some = AddressList(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "192.0.2.128/25"])
    for text in ("192.0.2.0", "192.0.2.255", "198.51.100.7", "2001:db8:ffff::1", "::ffff:192.0.2.3"):
        address = parse_address(text)
        assert address is not None
        assert address in some
    for text in ("192.0.1.255", "192.0.3.0", "198.51.100.8", "2001:db9::", "::", "0.0.0.0"):
        address = parse_address(text)
        assert address is not None
        assert address not in some


def test_everything_and_nothing() -> None:
    address = parse_address("192.0.2.1")
    assert address is not None
    assert address in AddressList(["0.0.0.0/0"])
    assert address not in AddressList(["::/0"])
    assert not AddressList([])
    assert AddressList(["::/0"])


@pytest.mark.parametrize(
    "text", ["", "a", "192.0.2.0/33", "192.0.2.1/24", "192.0.2", "192.0.02.1", "::1/129", "1/8 ", "10/8"]
)
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError):
        AddressList([text])


def test_addresses() -> None:
    assert str(parse_address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert str(parse_address("fe80::1%eth0")) == "fe80::1"
    assert parse_address("@socket") is None


def test_sources() -> None:
    one, other = parse_address("2001:db8::1"), parse_address("2001:db8::ffff:2")
    assert source_of(one) == source_of(other) != source_of(parse_address("2001:db8:0:1::1"))
    assert source_of(parse_address("192.0.2.1")) != source_of(parse_address("192.0.2.2"))
    assert source_of(None) == "unknown"


NETWORKS = st.builds(
    lambda address, bits: ipaddress.ip_network((address, bits % (address.max_prefixlen + 1)), strict=False),
    st.ip_addresses(),
    st.integers(0, 128),
)


@given(st.lists(NETWORKS, max_size=8), st.ip_addresses())
def test_the_same_as_asking_each(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], address: object
) -> None:
    assert isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    listed = AddressList([str(network) for network in networks])
    for one in (address, *(network.network_address for network in networks), *(n.broadcast_address for n in networks)):
        assert (one in listed) == any(one in network for network in networks)


def test_lists_are_equal_when_they_hold_the_same() -> None:
    assert AddressList(["10.0.0.0/9", "10.128.0.0/9"]) == AddressList(["10.0.0.0/8"])
    assert AddressList(["10.0.0.0/8"]) != AddressList(["10.0.0.0/9"])
    assert AddressList(["::/0"]) != AddressList(["0.0.0.0/0"])
    assert len({AddressList(["10.0.0.0/8"]), AddressList(["10.0.0.0/8"])}) == 1

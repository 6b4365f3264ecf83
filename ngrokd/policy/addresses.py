"""Lists of networks: from text once, then asked for each visitor in logarithmic time."""

from __future__ import annotations

import bisect
import ipaddress
from collections.abc import Iterable
from typing import Final

NETWORKS_MAX: Final = 1000  # of one list; whole countries belong into a firewall

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressList:
    """Addresses and CIDR networks of both families. Raises ValueError for text that is neither, host bits set included:
    `10.0.0.1/8` is a mistake that would let in more than was meant."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, texts: Iterable[str]) -> None:
        networks = [ipaddress.ip_network(text) for text in texts]
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        fours = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
        sixes = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
        for version, merged in (
            (4, list(ipaddress.collapse_addresses(fours))),
            (6, list(ipaddress.collapse_addresses(sixes))),
        ):
            self._starts[version] = [int(network.network_address) for network in merged]
            self._ends[version] = [int(network.broadcast_address) for network in merged]

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same addresses, however they were written."""
        return isinstance(other, AddressList) and (self._starts, self._ends) == (other._starts, other._ends)

    def __hash__(self) -> int:
        return hash(tuple(self._starts[4] + self._starts[6]))

    def __contains__(self, address: Address) -> bool:
        starts = self._starts[address.version]
        number = int(address)
        index = bisect.bisect_right(starts, number) - 1
        return index >= 0 and number <= self._ends[address.version][index]

    def __bool__(self) -> bool:
        return any(self._starts.values())


def parse_address(text: str) -> Address | None:
    """A visitor's address, IPv4-mapped as IPv4, zone left out; None if it is none (a unix socket's peer)."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def source_of(address: Address | None) -> int | str:
    """Whom failures count against: an IPv4 address, or the /64 that an IPv6 visitor can move in."""
    if address is None:
        return "unknown"
    return int(address) if address.version == 4 else f"{int(address) >> 64:x}"

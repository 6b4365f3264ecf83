"""The running server as the operator's view sees it: a few objects to read, and nothing to change. Made by `server`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ngrokd.edge.http import HttpEdge
from ngrokd.edge.tcp import TcpEdge
from ngrokd.legs import LegHouse
from ngrokd.registry import Registry

if TYPE_CHECKING:
    from ngrokd.accept import TunnelPort
    from ngrokd.tunnel import Tunnel
    from protocol.link.reactor import Reactor


@dataclass(frozen=True, slots=True)
class Facts:
    """What hardly changes. The calls are asked anew each time."""

    version: str
    domain: str
    started: float  # seconds since the epoch
    addresses: Callable[[], Mapping[str, Sequence[str]]]
    fingerprint: Callable[[], str]
    expires: Callable[[], float | None]
    dropped: Callable[[], int]  # lines that the log lost
    unwritten: Callable[[], int] = lambda: 0  # writes to the state that failed


@dataclass(frozen=True, slots=True)
class House:
    """Everything that is looked at."""

    registry: Registry
    edges: Callable[[], Iterable[HttpEdge]]
    tcp: TcpEdge
    legs: LegHouse
    agents: TunnelPort
    facts: Facts
    pid: int = field(default_factory=os.getpid)

    @property
    def reactor(self) -> Reactor:
        return self.legs.reactor

    @property
    def version(self) -> str:
        return self.facts.version

    @property
    def domain(self) -> str:
        return self.facts.domain

    @property
    def started(self) -> float:
        return self.facts.started

    def addresses(self) -> dict[str, list[str]]:
        return {name: list(places) for name, places in self.facts.addresses().items()}

    def fingerprint(self) -> str:
        return self.facts.fingerprint()

    def expires(self) -> float | None:
        return self.facts.expires()

    def dropped(self) -> int:
        return self.facts.dropped()

    def unwritten(self) -> int:
        return self.facts.unwritten()

    def visitors(self) -> dict[str, int]:
        """How many are connected, by kind."""
        found = {edge.scheme: 0 for edge in self.edges()}
        for edge in self.edges():
            found[edge.scheme] += len(edge.visitors)
        return {**found, "tcp": self.tcp.live}

    def refusals(self) -> Iterator[Counter[str]]:
        return (edge.refusals for edge in self.edges())

    def moving(self) -> Iterator[tuple[Tunnel, tuple[int, int]]]:
        """(tunnel, bytes up and down) of each visitor that is in the middle of something."""
        for edge in self.edges():
            for visitor in edge.visitors:
                tunnel, moved = visitor.slot.counted, visitor.moved
                if tunnel is not None and moved != (0, 0):
                    yield tunnel, moved
        for tunnel, _, moved in self.tcp.moving():
            yield tunnel, moved

    def connections(self) -> Iterator[dict[str, Any]]:
        """One row for each visitor that is connected."""
        for edge in self.edges():
            for visitor in list(edge.visitors):
                tunnel, (up, down) = visitor.slot.counted, visitor.moved
                yield {
                    "id": visitor.conn_id,
                    "kind": edge.scheme,
                    "address": visitor.address[0],
                    "port": visitor.address[1],
                    "url": tunnel.url if tunnel is not None else None,
                    "state": visitor.state.value,
                    "up": up,
                    "down": down,
                }
        for tunnel, (address, port), (up, down) in self.tcp.moving():
            yield {
                "id": "", "kind": "tcp", "address": address, "port": port, "url": tunnel.url, "state": "relay",
                "up": up, "down": down,
            }  # fmt: skip

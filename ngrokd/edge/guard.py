"""What the operator asks of every request before any tunnel is looked at: who it is from, how often, how large.

A proxy in front of ngrokd says who its visitor is; it is believed only when its own address is one of -trustedProxies.
Given a clock, so without one of its own. Knows no listeners.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ngrokd.policy.addresses import AddressList, parse_address, source_of
from ngrokd.policy.denial import Denial

if TYPE_CHECKING:
    from ngrokd.edge.visitor import VisitorConnection
    from protocol.head import RequestHead

SOURCES_MAX: Final = 65_536  # addresses whose rate is remembered, the longest unseen goes first; about 12 MiB
BURST_SECONDS: Final = 2.0  # of the rate may come at once: a page with its pictures
HOPS_MAX: Final = 32  # of a forwarded list that are looked at, from the end

_TOO_LARGE: Final = Denial("body_too_large")
# an address as proxies write it: with a port, in brackets, in quotes
_NODE: Final = re.compile(
    r'"?(?:\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}|([0-9A-Fa-f:.]{2,45}))"?'
)
_FOR: Final = re.compile(rb'(?i)(?:^|[;,])[ \t]*for=("[^"]*"|[^;, \t"]+)')
_PROTO: Final = re.compile(rb'(?i)(?:^|[;,])[ \t]*proto="?(https?)"?')


@dataclass(frozen=True, slots=True)
class GuardRules:
    """`rate`: requests per second from one address; `max_body`: bytes of a request's body. 0 means no limit."""

    trusted: AddressList
    rate: float = 0.0
    max_body: int = 0

    def __bool__(self) -> bool:
        return bool(self.trusted or self.rate or self.max_body)


class Origin(NamedTuple):
    """Who asks, and whether by https, as far as we believe it."""

    address: str
    secure: bool


class Proxy(NamedTuple):
    """A trusted proxy's end of a connection; `secure`: it came by https itself. `by`: the list that said so."""

    host: str
    port: int
    secure: bool
    by: AddressList


class Guard:
    """One for all edges. `clock` gives seconds; `rules` may be others at any time."""

    __slots__ = ("_buckets", "_clock", "rules")

    def __init__(self, rules: GuardRules, clock: Callable[[], float]) -> None:
        self.rules = rules
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float]] = {}  # source -> requests left, when

    def trusts(self, address: str) -> bool:
        """Whether what comes from `address` may speak for others."""
        if not self.rules.trusted:
            return False
        found = parse_address(address)
        return found is not None and found in self.rules.trusted

    def proxy(self, address: tuple[str, int], secure: bool) -> Proxy | None:
        """The other end of a connection, when it is trusted."""
        return Proxy(*address, secure, self.rules.trusted) if self.trusts(address[0]) else None

    def consider(self, visitor: VisitorConnection, request: RequestHead) -> Denial | None:
        """Settle whom `request` is from, in the visitor's `address` and `secure`; whether it may pass."""
        proxy = visitor.proxy
        if proxy is not None:
            origin = self._origin_behind(proxy, request)
            if origin.address != visitor.address[0]:
                visitor.slot.close()  # a proxy's connection carries many visitors, a stream to the agent carries one
                visitor.address = (origin.address, proxy.port if origin.address == proxy.host else 0)
            visitor.secure = origin.secure
        return self.admit(visitor.address[0], request)

    def _origin_behind(self, proxy: Proxy, request: RequestHead) -> Origin:
        if proxy.by is self.rules.trusted or self.trusts(proxy.host):
            return self.origin(request, proxy.host, secure=proxy.secure)
        return Origin(proxy.host, proxy.secure)  # a reload has taken it off the list

    def origin(self, request: RequestHead, peer: str, *, secure: bool) -> Origin:
        """The visitor behind the trusted `peer`: in X-Forwarded-For (else Forwarded, RFC 7239) the last one that is no
        trusted proxy itself. What stands before that one is anybody's word. Nothing said, or nonsense: the peer."""
        hops: list[str] = []
        scheme: bytes | None = None
        forwarded: list[bytes] = []
        for name, value in request.fields:
            low = name.lower()
            if low == b"x-forwarded-for":
                hops += value.decode("latin-1").split(",")
            elif low == b"x-forwarded-proto":
                scheme = value.rpartition(b",")[2].strip().lower()
            elif low == b"forwarded":
                forwarded.append(value)
        if not hops and forwarded:
            joined = b",".join(forwarded)
            hops = [found.decode("latin-1") for found in _FOR.findall(joined)]
            schemes = _PROTO.findall(joined)
            scheme = scheme or (schemes[-1].lower() if schemes else None)
        if scheme in (b"http", b"https"):
            secure = scheme == b"https"
        return Origin(self._last_stranger(hops, peer), secure)

    def _last_stranger(self, hops: list[str], peer: str) -> str:
        found = peer
        for hop in reversed(hops[-HOPS_MAX:]):
            match = _NODE.fullmatch(hop.strip())
            address = parse_address(match[match.lastindex or 0] if match is not None else "")
            if address is None:
                return found
            found = str(address)
            if address not in self.rules.trusted:
                return found
        return found

    def admit(self, address: str, request: RequestHead) -> Denial | None:
        """Whether one more request from `address` may pass."""
        most = self.rules.max_body
        if most and request.length > most:
            return _TOO_LARGE
        return self._count(source_of(parse_address(address))) if self.rules.rate else None

    def _count(self, source: Hashable) -> Denial | None:
        rate, now = self.rules.rate, self._clock()
        burst = max(1.0, rate * BURST_SECONDS)
        left, then = self._buckets.pop(source, (burst, now))
        left = min(burst, left + (now - then) * rate)
        denied = left < 1.0
        self._buckets[source] = (left if denied else left - 1.0, now)  # to the end: dicts keep the order of insertion
        if len(self._buckets) > SOURCES_MAX:
            del self._buckets[next(iter(self._buckets))]
        if not denied:
            return None
        return Denial("rate_limited", b"Retry-After: %d\r\n" % max(1, math.ceil((1.0 - left) / rate)))

"""Sessions, tunnels and the rest as plain data for JSON. What stands here is the API's shape; the OpenAPI file describes it."""

from __future__ import annotations

from typing import Any

from ngrokd.admin.meters import Histogram
from ngrokd.admin.rates import QUIET, Rate, Rates
from ngrokd.native_links import NativeLinks
from ngrokd.opener import Opener
from ngrokd.pool import LinkPool
from ngrokd.session import Session
from ngrokd.store.records import Reservation, TokenRecord
from ngrokd.throttle import ThrottledOpener
from ngrokd.tunnel import Tunnel

Json = dict[str, Any]
ID_SHOWN = 8  # characters of a client id: it proves classic sessions


def rate(value: Rate) -> Json:
    """Per second."""
    return {"up": round(value.up), "down": round(value.down), "connections": round(value.connections, 2)}


def latency(histogram: Histogram) -> Json:
    """Milliseconds, upper bounds of buckets; null without any."""

    def bound(share: float) -> float | None:
        found = histogram.quantile(share)
        return None if found is None or found == float("inf") else round(found * 1000, 3)

    return {"p50": bound(0.5), "p90": bound(0.9), "p99": bound(0.99)}


def innermost(opener: Opener) -> Opener:
    """The opener behind those that only count and slow."""
    while isinstance(opener, ThrottledOpener):
        opener = opener.inner
    return opener


def links(opener: Opener) -> Json:
    """How visitors get to the agent."""
    match innermost(opener):
        case NativeLinks() as native:
            legs, rtt = native.legs, native.legs.rtt
            return {
                "kind": "legs", "count": legs.legs, "streams": legs.streams, "waiting": legs.waiting,
                "rtt_ms": None if rtt is None else round(rtt * 1000, 3),
            }  # fmt: skip
        case LinkPool() as pool:
            return {"kind": "links", "count": pool.parked, "streams": None, "waiting": pool.waiting, "rtt_ms": None}
        case _:
            return {"kind": "other", "count": 0, "streams": None, "waiting": 0, "rtt_ms": None}


def session(found: Session, since: float, rates: Rates) -> Json:
    tunnels = list(found.tunnels.values())
    return {
        "id": found.id,
        "client": found.client_id[:ID_SHOWN],
        "generation": found.generation,
        "account": found.identity.account or None,
        "address": found.agent.address,
        "agent": {"version": found.agent.version, "os": found.agent.os, "lang": found.agent.lang},
        "dialect": "native" if found.caps else "classic",
        "caps": sorted(found.caps),
        "since": since,
        "links": links(found.opener),
        "live": sum(tunnel.traffic.live for tunnel in tunnels),
        "rates": rate(sum((rates.of(tunnel) for tunnel in tunnels), QUIET)),
        "tunnels": [tunnel.url for tunnel in tunnels],
    }


def tunnel(found: Tunnel, moving: tuple[int, int], speed: Rate) -> Json:
    traffic = found.traffic
    return {
        "id": found.id,
        "url": found.url,
        "protocol": found.protocol,
        "host": found.host or None,
        "port": found.port or None,
        "session": found.session.id,
        "account": found.session.identity.account or None,
        "connections": traffic.connections,
        "live": traffic.live,
        "up": traffic.up + moving[0],
        "down": traffic.down + moving[1],
        "rates": rate(speed),
    }


def token(record: TokenRecord) -> Json:
    scope = record.scope
    return {
        "id": record.id,
        "name": record.name,
        "created": record.created,
        "expires": record.expires,
        "revoked": record.revoked,
        "last_used": record.last_used,
        "last_source": record.last_source or None,
        "scope": {
            "allow_hosts": list(scope.allow_hosts),
            "allow_ports": [list(pair) for pair in scope.allow_ports],
            "max_tunnels": scope.max_tunnels,
            "max_sessions": scope.max_sessions,
            "max_connections": scope.max_connections,
            "max_requests": scope.max_requests,
            "max_bandwidth": scope.max_bandwidth,
        },
    }


def reservation(found: Reservation) -> Json:
    return {"kind": found.name.kind, "name": found.name.text, "token": found.token, "created": found.created}

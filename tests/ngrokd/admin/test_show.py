"""Sessions, tunnels and openers as plain data; nothing of it proves anything."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from ngrokd.admin import show
from ngrokd.admin.meters import Histogram
from ngrokd.admin.rates import Rate, Rates
from ngrokd.grants import Scope
from ngrokd.pool import LinkPool
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.store.records import Name, Reservation, TokenRecord
from ngrokd.tunnel import Traffic
from protocol.link.tasks import TaskReactor
from protocol.secret import Secret

CLIENT = "0123456789abcdef0123456789abcdef"


def test_a_session_shows_no_secret() -> None:
    opener: Any = LinkPool(TaskReactor(), lambda: None)
    identity = Identity(SessionKey(CLIENT, 3), "s1", Secret("ticket" * 10), "t1")
    session = Session(identity, AgentInfo("1.7", "linux", "", "192.0.2.7"), frozenset(), SimpleNamespace(), opener)
    tunnel: Any = type("Tunnel", (), {"url": "http://a", "traffic": Traffic(live=2)})()
    session.tunnels["x"] = tunnel
    row = show.session(session, 12.0, Rates())
    text = json.dumps(row)
    assert CLIENT not in text
    assert "ticket" not in text
    assert (row["client"], row["dialect"], row["live"], row["links"]["kind"]) == ("01234567", "classic", 2, "links")


def test_bytes_under_way_are_counted_in() -> None:
    tunnel: Any = SimpleNamespace(
        id="x", url="tcp://a:1", protocol="tcp", host="", port=1, traffic=Traffic(3, 1, 10, 20),
        session=SimpleNamespace(id="s1", identity=SimpleNamespace(account="")),
    )  # fmt: skip
    row = show.tunnel(tunnel, (5, 6), Rate(1.4, 2.6, 0.333))
    assert (row["up"], row["down"], row["host"], row["account"]) == (15, 26, None, None)
    assert row["rates"] == {"up": 1, "down": 3, "connections": 0.33}


def test_tokens_without_what_proves_them() -> None:
    row = show.token(TokenRecord("t1", "alice", "digest-of-it", Scope(allow_ports=((1, 2),))))
    assert "digest" not in json.dumps(row)
    assert row["scope"]["allow_ports"] == [[1, 2]]
    assert show.reservation(Reservation(Name("port", "22"), "t1"))["kind"] == "port"


def test_latency_and_strange_openers() -> None:
    found = Histogram()
    assert show.latency(found) == {"p50": None, "p90": None, "p99": None}
    found.add(0.001)
    found.add(1000.0)
    assert show.latency(found)["p50"] == 1.024
    assert show.latency(found)["p99"] is None  # longer than all buckets
    strange: Any = SimpleNamespace()
    assert show.links(strange)["kind"] == "other"

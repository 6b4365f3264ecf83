"""The parts of a server: put together without opening anything, and changed as one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog
import trio
from structlog.testing import capture_logs

from ngrokd import certs
from ngrokd.edge.http import HttpEdge
from ngrokd.frontdoor import open_front_door
from ngrokd.gate import AddressGate
from ngrokd.keeping import open_keeping
from ngrokd.parts import Parts, build, new_reactor
from ngrokd.policy.addresses import AddressList
from ngrokd.reloading import Fresh, Sources, load
from ngrokd.settings import settings_from
from ngrokd.state import StateDirectory
from ngrokd.store.memory import MemoryStore
from ngrokd.token_gate import TokenGate
from ngrokd.version import program_version


def read(state: StateDirectory, **values: str) -> Fresh:
    settings = settings_from({"domain": "localhost", **values})
    return load(settings, Sources(lambda: settings, lambda s: certs.own(state, s.domain), lambda _s: None))


def gate_of(parts: Parts) -> TokenGate:
    assert isinstance(parts.gate, TokenGate)
    return parts.gate


async def test_what_was_read_reaches_every_part(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    keeping = await open_keeping(state, structlog.get_logger(), MemoryStore())
    first = read(state)
    door = open_front_door(first.settings)
    parts = build(keeping, new_reactor(keeping.log), first, {"http": 80}, door, None, [])
    assert not gate_of(parts).open
    assert parts.live_visitors == 0
    assert parts.services.product == f"ngrokd {program_version()}"
    second = read(state, open="true", tcp_ports="2000-2001", max_visitors="3", max_body="5", tcp_proxies="::1")
    parts.use(second)
    assert gate_of(parts).open
    assert parts.tcp.ports.last == 2001
    assert parts.tcp.proxies == AddressList(["::1"])
    assert door.crowd.limits.in_all == 3
    assert door.guard is not None
    parts.use(first)
    assert not gate_of(parts).open
    await parts.office.aclose()


async def test_the_edge_knows_whose_agent_was_here_a_moment_ago(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    keeping = await open_keeping(state, structlog.get_logger(), MemoryStore())
    fresh = read(state, public_url="https://example.me")
    parts = build(keeping, new_reactor(keeping.log), fresh, {"http": 80}, open_front_door(fresh.settings), None, [])
    edge = HttpEdge(parts.public._world, "http")
    assert edge.why_unknown("a.example.me") == "tunnel_not_found"
    gone: Any = SimpleNamespace(host="a.example.me", protocol="https")
    parts.services.absences.left([gone])
    assert edge.why_unknown("a.example.me") == "agent_offline"
    await parts.office.aclose()


async def test_a_gate_of_the_callers_own_is_left_alone(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    keeping = await open_keeping(state, structlog.get_logger(), MemoryStore())
    fresh, gate = read(state), AddressGate()
    parts = build(keeping, new_reactor(keeping.log), fresh, {}, open_front_door(fresh.settings), gate, [])
    parts.use(read(state, open="true"))
    assert parts.gate is gate
    assert not gate.open


async def test_a_callback_that_fails_is_a_line_in_the_log() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with capture_logs() as lines:
        reactor = new_reactor(structlog.get_logger())
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            with reactor.turn():
                reactor.soon(broken)
            nursery.cancel_scope.cancel()
    assert [line["log_level"] for line in lines] == ["error"]

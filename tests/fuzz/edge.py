"""The whole edge in memory: visitors that send anything in any pieces, services that answer anything.

Whatever comes: no exception, no hang, no visitor or stream left behind, and nothing forwarded that h11 refuses (but for the
exceptions of docs/http.md). `python -m tests.fuzz.edge --seconds 60`.
"""

from __future__ import annotations

import itertools
import sys

import h11

from protocol.frames import frame
from protocol.messages import StartProxyResp
from tests.fuzz.loop import Mutator, run
from tests.kit.exchange_table import table
from tests.kit.handedge import ADDRESS, HandEdge
from tests.kit.hostile_heads import REFUSED_REQUESTS, REFUSED_RESPONSES, STRANGE_REQUESTS, STRANGE_RESPONSES
from tests.kit.memory_port import MemoryPort, memory_pair

HOSTS = (b"one.test", b"two.test")
TUNNELS = [
    (host.decode(), frozenset(caps)) for host, caps in zip(HOSTS, ({"ticket", "verdict"}, set[str]()), strict=True)
]
"""One of a session with verdicts, one of a 1.7 agent."""
LONGEST = 3000
TICK = 5.0


class _Service:
    """The far end of one stream. Looks with h11 at what was forwarded, and answers each whole request."""

    def __init__(self, port: MemoryPort, verdict: bool) -> None:
        self.port = port
        self._verdict = verdict
        self._oracle = h11.Connection(h11.SERVER, 1 << 20)
        self._lost = False  # behind an upgrade, or an exception of docs/http.md: h11 can't follow

    def take(self) -> int:
        """Read what came; how many whole requests that completed."""
        data = bytes(self.port.incoming)
        self.port.incoming.clear()
        if self._lost or not data:
            return 0
        if not data.partition(b"\r\n")[0].isascii():
            self._lost = True
            return 1
        self._oracle.receive_data(data)
        whole = 0
        while True:
            event = self._oracle.next_event()  # raises what is a finding
            if isinstance(event, h11.EndOfMessage):
                whole += 1
                if repr(self._oracle.their_state) == "MIGHT_SWITCH_PROTOCOL":
                    self._lost = True
                    return whole
                self._next()
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return whole

    def _next(self) -> None:
        if self._oracle.our_state is h11.SEND_RESPONSE or self._oracle.our_state is h11.IDLE:
            self._oracle.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            self._oracle.send(h11.EndOfMessage())
        if self._oracle.our_state is h11.DONE and self._oracle.their_state is h11.DONE:
            self._oracle.start_next_cycle()
        else:
            self._lost = True

    def answer(self, data: bytes) -> None:
        if self._verdict:
            self._verdict = False
            data = frame(StartProxyResp()) + data
        if not self.port.far.closed:
            self.port.write(data)


def check(mutator: Mutator, raw: bytes) -> str:
    """One visitor's connection from its beginning to its end."""
    world, pick = HandEdge(TUNNELS), mutator.random
    near, visitor = memory_pair(pick.choice((64, 1 << 12, 1 << 20, 1 << 20)))
    near.attach(world.reactor)
    world.edge.crowd.enter(None, 0)
    with world.reactor.turn():
        world.edge.serve(near, ADDRESS)
    services: list[_Service] = []
    got = 0
    edges = [0, *mutator.cuts(len(raw)), len(raw)]
    for begin, end in itertools.pairwise(edges):
        if near.closed:
            break
        visitor.incoming, before = bytearray(), len(visitor.incoming)
        got += before
        near.incoming += raw[begin:end]
        near._stir()
        world.reactor.settle()
        _serve(world, services, mutator)
    if pick.random() < 0.3 and not near.closed:
        visitor.end_writing()
        world.reactor.settle()
        _serve(world, services, mutator)
    got += len(visitor.incoming)
    world.pass_time(40 * TICK, TICK)  # every deadline there is
    world.over()
    return "forwarded" if services else "answered" if got else "silent"


def _serve(world: HandEdge, services: list[_Service], mutator: Mutator) -> None:
    """Let the services answer until there is nothing to answer."""
    pick = mutator.random
    for _ in range(50):
        for far in world.opener.streams[len(services) :]:
            services.append(_Service(far, "verdict" in _caps_of(world, far)))
        asked = [(service, count) for service in services if (count := service.take())]
        if not asked:
            return
        for service, count in asked:
            for _ in range(count):
                data = pick.choice(ANSWERS) if pick.random() < 0.6 else mutator.mutated(pick.choice(ANSWERS))
                for begin, end in itertools.pairwise([0, *mutator.cuts(len(data)), len(data)]):
                    service.answer(data[begin:end])
                    world.reactor.settle()
            if pick.random() < 0.2:
                service.port.end_writing()
            elif pick.random() < 0.05:
                service.port.abort()
            world.reactor.settle()


def _caps_of(world: HandEdge, far: MemoryPort) -> frozenset[str]:
    """Of the session whose stream this is: its visitor's slot has the other end."""
    for visitor in world.edge.visitors:
        if visitor.slot.port is far.far and visitor.slot.tunnel is not None:
            return visitor.slot.tunnel.session.caps
    return frozenset()


def _steps(who: str) -> list[bytes]:
    found = [b"".join(step.data for step in case.steps if step.who == who) for case in table()]
    return [raw for raw in found if 0 < len(raw) < LONGEST]


ANSWERS = [
    *_steps("service"),
    *(raw for raw, _ in STRANGE_RESPONSES.values() if len(raw) < LONGEST),
    *(raw for raw in REFUSED_RESPONSES.values() if len(raw) < LONGEST),
    *[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"] * 200,
]


def originals() -> list[bytes]:
    """Requests alone and several on one connection, for both tunnels."""
    honest = [raw.replace(b"HOST", HOSTS[number % 2]) for number, raw in enumerate(_steps("visitor"))]
    strange = [raw for raw, _ in STRANGE_REQUESTS.values()] + [raw for _, raw in REFUSED_REQUESTS.values()]
    strange = [raw.replace(b"a.test", HOSTS[0]) for raw in strange if len(raw) < LONGEST]
    pairs = [a + b for a, b in zip(honest, honest[1:] + honest[:1], strict=True)]
    mixed = [a + b for a, b in itertools.product(honest[::7], strange[::7])]
    return honest * 3 + strange * 2 + pairs * 2 + mixed


if __name__ == "__main__":
    sys.exit(run("edge", originals(), check))

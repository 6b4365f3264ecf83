"""What is measured, one function for each group of figures. Targets take turns within a repetition, so that a noisy minute
of the machine falls on all of them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Thread

from tests.bench import agents, tools, visitors
from tests.bench.flood import flood
from tests.bench.peers import NAME, Pair, Peers, check_small
from tests.bench.report import US, Figure, Verdict

DIRECT, PROXY, TLS = "nginx, direct", "nginx, one plain hop", "nginx -> nginx over TLS"
CLASSIC, INSPECTED = f"{US}, classic", f"{US}, inspector on"
COMPILED, COMPILED_INSPECTED = f"{US}, compiled", f"{US}, compiled, inspector on"
KIB = 1024


@dataclass
class Bench:
    """How long and how often, and the programs that several figures share."""

    peers: Peers
    repeat: int
    seconds: float
    quick: bool
    _pairs: dict[str, Pair] = field(default_factory=dict)

    def pair(self, kind: str = US) -> Pair:
        """A pair that is started at its first use and stays: US, CLASSIC, INSPECTED ..."""
        if kind not in self._pairs:
            self._pairs[kind] = self.peers.pair(
                mux=kind != CLASSIC,
                inspect=kind in (INSPECTED, COMPILED_INSPECTED),
                compiled=kind in (COMPILED, COMPILED_INSPECTED),
            )
        return self._pairs[kind]

    def builds(self) -> list[str]:
        """Ours: from the sources, and compiled where `make wheel` has been."""
        return [US, COMPILED] if self.peers.compiled else [US]

    def rounds(self) -> range:
        return range(self.repeat)

    def http_targets(self, *, all_of_us: bool) -> list[tuple[str, int, str]]:
        """(name, port, host) of everything that gives the small answer."""
        ours = [US, CLASSIC, INSPECTED] if all_of_us and not self.quick else [US]
        if self.peers.compiled:
            ours += [COMPILED, COMPILED_INSPECTED] if all_of_us and not self.quick else [COMPILED]
        found = [(DIRECT, self.peers.direct, NAME), (PROXY, self.peers.proxy, NAME), (TLS, self.peers.front, NAME)]
        return found + [(kind, self.pair(kind).http_port, self.pair(kind).host) for kind in ours]


def measured(figure: Figure, sources: str = US, compiled: str = COMPILED) -> list[tuple[str, str]]:
    """(target, how a verdict names it) of both builds of ours, as far as they were measured."""
    return [(kind, note) for kind, note in ((sources, ""), (compiled, ", compiled")) if kind in figure.rows]


def keep_alive(bench: Bench) -> Iterator[Figure]:
    rate = Figure("keep-alive", "keep-alive requests, 32 visitors", "requests/s", TLS)
    p50 = Figure("keep-alive-p50", "the same: p50", "ms", TLS)
    p99 = Figure("keep-alive-p99", "the same: p99", "ms", TLS)
    targets = bench.http_targets(all_of_us=True)
    for _ in bench.rounds():
        for name, port, host in targets:
            load = tools.wrk(port, host, visitors=32, seconds=bench.seconds)
            check_small(port, host)
            rate.add(name, load.rate)
            p50.add(name, load.p50)
            p99.add(name, load.p99)
    for kind, note in measured(rate):
        rate.judge(Verdict(f"rate to nginx -> nginx over TLS{note}", rate.ratio(kind), 1.7, 2.0))
        p99.judge(Verdict(f"p99 to nginx -> nginx over TLS{note}", p99.ratio(kind), 1.0, 0.5, at_least=False))
    for kind, note in measured(rate, INSPECTED, COMPILED_INSPECTED):
        rate.judge(Verdict(f"the same, inspector on{note}", rate.ratio(kind), 1.4, 1.6))
    yield from (rate, p50, p99)


def fresh_heads(bench: Bench) -> Iterator[Figure]:
    """wrk repeats itself, and a connection of ours remembers its last head; a crowd of browsers gives it nothing to remember."""
    rate = Figure("fresh", "keep-alive requests, 32 visitors, no head like another", "requests/s", TLS)
    for _ in bench.rounds():
        for name, port, host in bench.http_targets(all_of_us=False):
            rate.add(name, tools.wrk(port, host, visitors=32, seconds=bench.seconds, fresh=True).rate)
    yield rate


def closing(bench: Bench) -> Iterator[Figure]:
    rate = Figure("close", "Connection: close requests, 32 visitors", "requests/s", DIRECT)
    for _ in bench.rounds():
        for name, port, host in bench.http_targets(all_of_us=False):
            rate.add(name, tools.wrk(port, host, visitors=32, seconds=bench.seconds, close=True).rate)
            check_small(port, host)
    for kind, note in measured(rate):
        rate.judge(Verdict(f"rate to nginx direct{note}", rate.ratio(kind), 0.19, 0.33))
    yield rate


def lone(bench: Bench) -> Iterator[Figure]:
    """The visitor has one core and the private service another: on one core they would take turns without waking anybody
    up, which no visitor on a network can."""
    p50 = Figure("lone", "one lone visitor: p50", "us", DIRECT)
    bench.peers.pin("nginx-direct", {1 % (os.cpu_count() or 1)})
    for _ in bench.rounds():
        for name, port, host in bench.http_targets(all_of_us=False):
            load = tools.wrk(port, host, visitors=1, seconds=bench.seconds * 0.6, core=0)
            p50.add(name, 1000 * load.p50)
    bench.peers.pin("nginx-direct", set(range(os.cpu_count() or 1)))
    for kind, note in measured(p50):
        p50.judge(Verdict(f"p50 to direct{note}", p50.ratio(kind), 2.5, 1.9, at_least=False))
    p50.note = "the visitor and the service are on different cores"
    yield p50


def bulk(bench: Bench) -> Iterator[Figure]:
    up, down = (
        Figure(f"bulk-{way}", f"bulk {way} through a tcp tunnel", "Gbit/s", "iperf3, direct") for way in ("up", "down")
    )
    kinds = bench.builds() if bench.quick else [*bench.builds(), CLASSIC]
    for _ in bench.rounds():
        for figure, back in ((up, False), (down, True)):
            figure.add("iperf3, direct", tools.iperf3(bench.peers.iperf, seconds=bench.seconds, down=back))
            for kind in kinds:
                port = bench.pair(kind).tcp["iperf"]
                figure.add(kind, tools.iperf3(port, seconds=bench.seconds, down=back))
                if kind != CLASSIC:
                    eight = tools.iperf3(port, seconds=bench.seconds, down=back, streams=8)
                    figure.add(f"{kind}, eight streams", eight)
                    figure.add(f"{kind}, http tunnel", flooded(bench.pair(kind), bench.seconds, down=back))
    for figure in (up, down):
        figure.note = "a tcp visitor has a link of its own, an http tunnel's is a stream of a leg"
        for kind, note in measured(figure):
            figure.judge(Verdict(f"one stream to direct{note}", figure.ratio(kind), 0.3, 0.4))
            figure.judge(Verdict(f"eight streams to one{note}", figure.ratio(f"{kind}, eight streams", kind), 1.0))
    yield from (up, down)
    yield from checked(bench)


def checked(bench: Bench) -> Iterator[Figure]:
    """The same way, with every byte checked."""
    size = (32 if bench.quick else 256) << 20
    figure = Figure("checked", f"{size >> 20} MiB with SHA-256 at both ends", "Gbit/s")
    kit, pair = bench.peers.kit, bench.pair()
    for _ in bench.rounds():
        for name, port, host in (
            ("direct", kit, "kit"),
            (f"{US}, tcp", pair.tcp["kit"], "kit"),
            (f"{US}, http", pair.http_port, pair.kit_host),
        ):
            up, down = tools.checked_transfer(port, host, size)
            figure.add(f"{name}, up", up)
            figure.add(f"{name}, down", down)
    figure.note = "all checksums were equal; the checksums are what limits the rate"
    yield figure


def beside_bulk(bench: Bench) -> Iterator[Figure]:
    """Beside bulk of an http tunnel, which is on the same leg, and of a tcp tunnel, which has a link of its own."""
    p99 = Figure("beside-bulk", "small requests beside one saturating stream: p99", "ms")
    p50 = Figure("beside-bulk-p50", "the same: p50", "ms")
    for _ in bench.rounds():
        for kind in bench.builds():
            pair = bench.pair(kind)
            for way, where in itertools.product(("up", "down"), ("leg", "link")):
                bulk = partial(
                    flooded if where == "leg" else transferred, pair, bench.seconds + 1.5, down=way == "down"
                )
                with under_way(bulk):
                    load = tools.wrk(pair.http_port, pair.host, visitors=1, seconds=bench.seconds)
                p99.add(_beside(kind, way, where), load.p99)
                p50.add(_beside(kind, way, where), load.p50)
    for way in ("up", "down"):
        for target, note in measured(p99, _beside(US, way, "leg"), _beside(COMPILED, way, "leg")):
            p99.judge(Verdict(f"p99 beside bulk {way}{note}", p99.median(target), 4, 2, at_least=False))
    yield from (p99, p50)


def _beside(kind: str, way: str, where: str) -> str:
    return f"{kind}, beside bulk {way}" + (", that on a link of its own" if where == "link" else "")


def flooded(pair: Pair, seconds: float, *, down: bool) -> float:
    return flood(pair.http_port, pair.flood_host, seconds=seconds, down=down)


def transferred(pair: Pair, seconds: float, *, down: bool) -> float:
    return tools.iperf3(pair.tcp["iperf"], seconds=seconds, down=down)


@contextmanager
def under_way(bulk: Callable[[], float]) -> Iterator[None]:
    """A bulk stream in the background, at its speed when the block begins."""
    worker = Thread(target=bulk)
    worker.start()
    time.sleep(0.7)  # it has come up to speed by then
    try:
        yield
    finally:
        worker.join()


def idle_visitors(bench: Bench) -> Iterator[Figure]:
    """A fresh pair each time: what the memory allocator kept from an earlier crowd must not hide this one."""
    count = 1000
    figure = Figure("idle-visitors", f"memory for each of {count} idle keep-alive visitors", "KiB")
    for _ in bench.rounds():
        pair = bench.peers.pair()
        before = pair.server.resident(), pair.agent.resident()
        with visitors.staying(pair.http_port, pair.host, count) as sockets:
            after = pair.server.resident(), pair.agent.resident()
            visitors.ask(sockets[0], pair.host)
        figure.add("ngrokd", (after[0] - before[0]) / count / KIB)
        figure.add("ngrokc", (after[1] - before[1]) / count / KIB)
        pair.stop()
    for program in ("ngrokd", "ngrokc"):
        figure.judge(Verdict(f"KiB in {program}", figure.median(program), 16, 10, at_least=False))
    yield figure


def burst(bench: Bench) -> Iterator[Figure]:
    figure = Figure("burst", "1 000 new visitors at once, one request each", "s", DIRECT)
    for _ in bench.rounds():
        for name, port, host in bench.http_targets(all_of_us=False):
            figure.add(name, visitors.burst(port, host, 1000))
    figure.judge(Verdict("seconds until all are answered", figure.median(US), 0.5, 0.25, at_least=False))
    yield figure


def long_line(bench: Bench) -> Iterator[Figure]:
    """80 ms between the two programs. What a plain connection does through the same line is the measure."""
    first = Figure("line-first", "80 ms line: first byte for a new visitor", "ms")
    second = Figure("line-next", "80 ms line: first byte of the next request", "ms")
    pair = bench.peers.pair(through="--rtt 0.08")
    for _ in range(5 * bench.repeat):
        for name, port, host in (("direct", bench.peers.direct, NAME), (US, pair.http_port, pair.host)):
            new, again = visitors.first_byte(port, host)
            first.add(name, 1000 * new)
            second.add(name, 1000 * again)
    pair.stop()
    # one round trip is 80 ms; 5 ms for two programs and a scheduler
    first.judge(Verdict("more than direct", first.median(US) - first.median("direct"), 85, at_least=False))
    second.judge(Verdict("more than direct", second.median(US) - second.median("direct"), 85, at_least=False))
    yield from (first, second)


def long_bulk(bench: Bench) -> Iterator[Figure]:
    """One stream over 80 ms and 1 Gbit/s, after the windows have grown."""
    plain = "plain TCP through the same line"
    up, down = (Figure(f"line-{way}", f"80 ms, 1 Gbit/s: one stream {way}", "Gbit/s", plain) for way in ("up", "down"))
    line = "--rtt 0.08 --rate 125e6"
    pair = bench.peers.pair(through=line)
    bare = bench.peers.line(bench.peers.iperf, line)
    for _ in bench.rounds():
        for figure, back in ((up, False), (down, True)):
            figure.add(plain, tools.iperf3(bare, seconds=bench.seconds, down=back, omit=2))
            figure.add(US, tools.iperf3(pair.tcp["iperf"], seconds=bench.seconds, down=back, omit=2))
    pair.stop()
    for figure in (up, down):
        figure.judge(Verdict("to plain TCP", figure.ratio(US), 0.9))
    yield from (up, down)


def idle_agents(bench: Bench) -> Iterator[Figure]:
    count = 200 if bench.quick else 2000
    memory = Figure("agents-memory", f"memory of ngrokd for each of {count} idle agents", "KiB")
    cpu = Figure("agents-cpu", f"{count} idle agents, heartbeats on: share of a core in ngrokd", "cores")
    with agents.crowd(bench.peers, count) as crowd:
        before = crowd.server.resident()
        for part in range(3):  # three samples of one growing crowd: a start of 2 000 agents takes its time
            grown = crowd.grow(count // 3 if part < 2 else count - 2 * (count // 3))
            now = crowd.server.resident()
            memory.add("ngrokd", (now - before) / grown / KIB)
            before = now
        for _ in bench.rounds():
            cpu.add("ngrokd", crowd.server_cpu(2.0 if bench.quick else 6.0))
        crowd.check()
    memory.judge(Verdict("KiB for each agent", memory.median("ngrokd"), 64, at_least=False))
    cpu.judge(Verdict("cores", cpu.median("ngrokd"), 0.3, at_least=False))
    yield from (memory, cpu)


GROUPS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "keep-alive": keep_alive,
    "fresh": fresh_heads,
    "close": closing,
    "lone": lone,
    "bulk": bulk,
    "beside-bulk": beside_bulk,
    "idle-visitors": idle_visitors,
    "burst": burst,
    "line": long_line,
    "line-bulk": long_bulk,
    "agents": idle_agents,
}

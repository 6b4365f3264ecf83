"""What Prometheus reads: one collector that is asked at each scrape and keeps nothing. Own registry, so nothing of the
process's other libraries gets in. Labels are bounded: tunnels by `meters.MAX_LABELS`, codes by their tables.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ngrokd.admin.meters import STATUS_CLASSES, Histogram, Tally
from ngrokd.admin.operator import Operator
from ngrokd.admin.show import innermost
from ngrokd.native_links import NativeLinks
from ngrokd.pool import LinkPool

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LABEL_CAP: Final = 120  # characters


class Exporter(Collector):
    """Reads an Operator; `text` is a scrape."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        return iter(())  # registering must not ask the server for numbers

    def collect(self) -> Iterator[Metric]:
        yield from self._server()
        yield from self._traffic(self._operator.meters.collect(self._operator.house.registry.tunnels()))
        yield from self._latency()
        yield from self._refusals()
        yield from self._links()
        yield from self._process()

    def _server(self) -> Iterator[Metric]:
        house, meters = self._operator.house, self._operator.meters
        info = GaugeMetricFamily("ngrokd_build_info", "Version of the server; always 1.", labels=["version"])
        info.add_metric([house.version], 1)
        yield info
        yield _gauge("ngrokd_start_time_seconds", "When the server started, since the epoch.", house.started)
        yield _gauge("ngrokd_draining", "Whether the server is on its way out.", int(self._operator.draining))
        expires = house.expires()
        if expires is not None:
            yield _gauge("ngrokd_certificate_expires_seconds", "When the certificate ends, since the epoch.", expires)
        sessions = Counter("native" if session.caps else "classic" for session in house.registry.sessions())
        yield _gauges(
            "ngrokd_sessions", "Agents that are logged in.", "dialect", {"native": 0, "classic": 0, **sessions}
        )
        tunnels = Counter(str(tunnel.protocol) for tunnel in house.registry.tunnels())
        yield _gauges(
            "ngrokd_tunnels", "Tunnels that are online.", "protocol", {"http": 0, "https": 0, "tcp": 0, **tunnels}
        )
        yield _gauges("ngrokd_visitors", "Visitors that are connected.", "protocol", house.visitors())
        yield _gauge("ngrokd_strangers", "Links that have not shown who they are.", house.agents.strangers)
        yield _counter("ngrokd_logins", "Agents that were let in.", meters.logins)
        yield _gauge("ngrokd_bans", "Bans that hold.", len(self._operator.bans))

    def _traffic(self, tallies: list[Tally]) -> Iterator[Metric]:
        labels = ["protocol", "tunnel"]
        exchanges = CounterMetricFamily(
            "ngrokd_exchanges", "HTTP exchanges that are over, by class of status.", labels=[*labels, "status"]
        )
        connections = CounterMetricFamily("ngrokd_connections", "Visitors that a tunnel had.", labels=labels)
        moved = CounterMetricFamily(
            "ngrokd_bytes", "Bytes as the visitor sees them; up is towards the agent.", labels=[*labels, "direction"]
        )
        for tally in tallies:
            names = [tally.protocol, tally.label[:LABEL_CAP]]
            connections.add_metric(names, tally.connections)
            moved.add_metric([*names, "up"], tally.up)
            moved.add_metric([*names, "down"], tally.down)
            for status, count in zip(STATUS_CLASSES, tally.statuses, strict=True):
                if count:
                    exchanges.add_metric([*names, status], count)
        return iter((exchanges, connections, moved))

    def _latency(self) -> Iterator[Metric]:
        meters = self._operator.meters
        phases = HistogramMetricFamily(
            "ngrokd_exchange_seconds",
            "From a request's head to its stream (open), to the head of the answer (answer), to the end (total).",
            labels=["phase"],
        )
        for phase, found in (("open", meters.opening), ("answer", meters.answering), ("total", meters.exchanges)):
            phases.add_metric([phase], _buckets(found), found.total)
        yield phases
        lag = HistogramMetricFamily("ngrokd_loop_lag_seconds", "How late the loop serves what is due.")
        lag.add_metric([], _buckets(meters.lag), meters.lag.total)
        yield lag
        yield _counter("ngrokd_loop_stalls", "Turns of the loop that lasted over a second.", meters.stalls)

    def _refusals(self) -> Iterator[Metric]:
        meters = self._operator.meters
        yield _counters(
            "ngrokd_refusals", "Requests that got an error page, by code.", "code", self._operator.refusals()
        )
        yield _counters("ngrokd_refused_logins", "Agents that were not let in, by code.", "code", meters.refused_logins)
        yield _counters("ngrokd_changes", "Administrative changes, by kind.", "kind", meters.changes)

    def _links(self) -> Iterator[Metric]:
        found: Counter[str] = Counter()
        for session in self._operator.house.registry.sessions():
            match innermost(session.opener):
                case NativeLinks() as native:
                    found["legs"] += native.legs.legs
                    found["streams"] += native.legs.streams
                    found["waiting"] += native.legs.waiting
                    found["parked"] += native.parked
                    found["own"] += native.used
                case LinkPool() as pool:
                    found["parked"] += pool.parked
                    found["waiting"] += pool.waiting
        yield _gauge("ngrokd_legs", "Legs of native sessions.", found["legs"])
        yield _gauge("ngrokd_streams", "Streams on those legs.", found["streams"])
        yield _gauge("ngrokd_links_parked", "Proxy links that wait for visitors.", found["parked"])
        yield _gauge("ngrokd_links_own", "Tcp visitors of native sessions that have a link of their own.", found["own"])
        yield _gauge("ngrokd_visitors_waiting", "Visitors that wait for their agent.", found["waiting"])
        shared = self._operator.house.legs.shared
        yield _gauge("ngrokd_buffered_bytes", "Bytes in legs that their readers have not taken.", shared.queues.used)
        yield _gauge("ngrokd_buffer_limit_bytes", "How many of those are allowed.", shared.queues.limit)
        yield _counter("ngrokd_buffer_resets", "Streams that were reset for others' sake.", shared.queues.resets)

    def _process(self) -> Iterator[Metric]:
        yield _gauge("ngrokd_tasks", "Tasks of the loop.", trio.lowlevel.current_statistics().tasks_living)
        reactor = self._operator.house.reactor
        yield _gauge("ngrokd_deadlines", "Deadlines in the reactor, ended ones until their time.", reactor.deadlines)
        yield _gauge("ngrokd_lingering", "Connections that are being let go.", len(reactor.lingering))
        yield _gauge("ngrokd_descriptors", "Open descriptors.", open_descriptors())
        yield _gauge("ngrokd_descriptor_limit", "How many are allowed.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        yield _gauge("ngrokd_resident_bytes", "Memory in use.", resident_bytes())
        yield _counter("ngrokd_cpu_seconds", "Processor time used.", time.process_time())
        yield _counter("ngrokd_log_lines_dropped", "Lines that the log lost.", self._operator.house.dropped())
        yield _counter(
            "ngrokd_state_write_failures", "Writes to the state that failed.", self._operator.house.unwritten()
        )


def open_descriptors() -> int:
    """Of this process; 0 where the system does not tell."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1  # the one that looks
    except OSError:
        return 0


def resident_bytes() -> int:
    """Of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    return [("+Inf" if bound == float("inf") else repr(bound), count) for bound, count in histogram.buckets()]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, label: str, values: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family

"""Many requests of every kind through the real pair, by http or https, and what both programs hold before and after: of
ngrokd also what its metrics say of tasks, visitors, streams, deadlines and lingering connections."""

from __future__ import annotations

import json
import os
import random
import re
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.kit.hostile_heads import REFUSED_REQUESTS
from tests.kit.http1 import Truncated, Wire
from tests.kit.programs import Agent, Program, Server, free_port, open_world
from tests.kit.upstream import open_upstream
from tests.kit.visitor import open_visitor, trusting

HOST = b"soak.localhost"
NAME = HOST.decode()
VISITORS = 24
WARM_UP = 3_000
SETTLE_SECONDS = 80.0  # the longest deadline of a visitor that has left is 75 s: that of a connection kept alive
GAUGES = ("tasks", "visitors", "streams", "deadlines", "lingering", "strangers", "visitors_waiting", "buffered_bytes")
MEMORY_SLACK = 10 << 20  # what an allocator keeps; C22's floor
FAULTS = (
    "close-before-head",
    "reset",
    "short",
    "garbage",
    "two-answers",
    "bad-chunk",
    "two-lengths",
    "unasked-101",
    "long",
)
LEFT = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, Truncated)


@dataclass(frozen=True)
class Held:
    """What a program holds."""

    descriptors: int
    threads: int
    memory: int


def held(program: Program) -> Held:
    base = Path(f"/proc/{program.pid}")
    status = dict(line.split(":", 1) for line in (base / "status").read_text().splitlines() if ":" in line)
    return Held(len(os.listdir(base / "fd")), int(status["Threads"]), int(status["VmRSS"].split()[0]) * 1024)


SLACK = {"tasks": 2, "deadlines": 2}  # asking is a visit to ngrokd's own page, whose tasks come and go; legs are pinged


async def gauges(server: Server, admin_port: int) -> Counter[str]:
    """What the metrics of `server` say of GAUGES, each summed over its labels."""
    token = (server.state / "admin-token").read_text().strip()
    async with open_visitor(admin_port, f"127.0.0.1:{admin_port}") as visitor:
        answer = await visitor.ask("/metrics", f"Authorization: Bearer {token}", "Connection: close")
    assert answer.status == 200, answer.body[:200]
    found: Counter[str] = Counter()
    for name, value in re.findall(r"^ngrokd_(\w+)(?:\{[^}]*\})? (\S+)$", answer.body.decode(), re.MULTILINE):
        if name in GAUGES:
            found[name] += int(float(value))
    return found


def more_than(before: Counter[str], after: Counter[str]) -> list[str]:
    """The gauges that have grown."""
    return [name for name in GAUGES if after[name] > before[name] + SLACK.get(name, 0)]


@dataclass
class Report:
    """How it went; `wrong` are answers that were not those of their requests."""

    requests: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    idle: dict[str, Held] = field(default_factory=dict)
    held: dict[str, tuple[Held, Held]] = field(default_factory=dict)
    gauges: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))

    def faults(self) -> list[str]:
        found = list(self.wrong[:10])
        for name, (before, after) in self.held.items():
            if after.descriptors > before.descriptors:
                found.append(f"{name}: {after.descriptors - before.descriptors} descriptors are left")
            if after.memory > before.memory + MEMORY_SLACK:
                found.append(f"{name}: {(after.memory - before.memory) >> 20} MiB are left")
        began, ended = self.gauges
        found += [f"ngrokd: {name} {began[name]} -> {ended[name]}" for name in more_than(began, ended)]
        return found

    def text(self) -> str:
        lines = [f"soak: {self.requests} requests in {self.seconds:.0f} s: {dict(self.kinds)}"]
        for name, (before, after) in self.held.items():
            lines.append(
                f"{name}: descriptors {before.descriptors} -> {after.descriptors}, "
                f"memory {before.memory / (1 << 20):.1f} -> {after.memory / (1 << 20):.1f} MiB"
                f" ({self.idle[name].memory / (1 << 20):.1f} before anybody came)"
            )
        lines.append(
            "ngrokd: " + ", ".join(f"{name} {self.gauges[0][name]} -> {self.gauges[1][name]}" for name in GAUGES)
        )
        return "\n".join([*lines, *self.faults()] or ["nothing is left behind"])


class _Visitors:
    """A crowd that sends `left` requests of all kinds."""

    def __init__(self, port: int, report: Report, seed: int, tls: ssl.SSLContext | None) -> None:
        self._port = port
        self._tls = tls
        self._report = report
        self._seed = seed
        self.left = 0

    async def send(self, requests: int) -> None:
        self.left = requests
        async with trio.open_nursery() as nursery:
            for number in range(VISITORS):
                nursery.start_soon(self._visit, random.Random(self._seed * 1000 + number), number)

    async def _visit(self, pick: random.Random, number: int) -> None:
        kinds = [self._good] * 6 + [
            self._hostile,
            self._half,
            self._abandon,
            self._fault,
            self._upload,
            self._upgrade,
            self._stray,
        ]
        while self.left > 0:
            kind = pick.choice(kinds)
            self._report.kinds[kind.__name__.strip("_")] += 1
            try:
                with trio.fail_after(30):
                    async with open_visitor(self._port, NAME, tls=self._tls) as visitor:
                        await kind(visitor.stream, pick, number)
            except LEFT as error:
                if kind == self._good:
                    self._report.wrong.append(f"a good visitor: {error!r}")

    def _count(self) -> None:
        self.left -= 1
        self._report.requests += 1

    async def _good(self, stream: trio.abc.Stream, pick: random.Random, number: int) -> None:
        wire = Wire(stream)
        for at in range(pick.randrange(5, 25)):
            target = b"/mine/%d/%d/%d" % (number, at, pick.randrange(1 << 30))
            await stream.send_all(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, HOST))
            answer = await wire.answer()
            self._count()
            if answer.status != 200 or json.loads(answer.body)["target"].encode() != target:
                self._report.wrong.append(f"{target!r} got {answer.status} {answer.body[:100]!r}")
                return

    async def _hostile(self, stream: trio.abc.Stream, pick: random.Random, _: int) -> None:
        raw = pick.choice(list(REFUSED_REQUESTS.values()))[1][:70_000]
        self._count()
        await stream.send_all(raw.replace(b"a.test", HOST))
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        with trio.move_on_after(
            0.2 if self._tls is not None else 30
        ):  # TLS can't say that it has ended: a head may be waited for
            while await stream.receive_some():
                pass

    async def _half(self, stream: trio.abc.Stream, pick: random.Random, _: int) -> None:
        self._count()
        await stream.send_all((b"GET / HTTP/1.1\r\nHost: " + HOST)[: pick.randrange(1, 35)])

    async def _abandon(self, stream: trio.abc.Stream, pick: random.Random, _: int) -> None:
        self._count()
        await stream.send_all(b"GET /bytes/300000 HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST)
        for _number in range(pick.randrange(3)):
            await stream.receive_some(1000)

    async def _fault(self, stream: trio.abc.Stream, pick: random.Random, _: int) -> None:
        self._count()
        await stream.send_all(b"GET /fault/%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (pick.choice(FAULTS).encode(), HOST))
        with trio.move_on_after(2):
            while await stream.receive_some():
                pass

    async def _upload(self, stream: trio.abc.Stream, pick: random.Random, _: int) -> None:
        self._count()
        size = pick.randrange(1, 50_000)
        head = b"POST /upload HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % HOST
        whole = head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size))
        cut = pick.random() < 0.3
        await stream.send_all(whole[: pick.randrange(len(whole))] if cut else whole)
        if not cut:
            answer = await Wire(stream).answer()
            if answer.status != 200 or json.loads(answer.body)["length"] != size:
                self._report.wrong.append(f"an upload got {answer.status} {answer.body[:100]!r}")

    async def _upgrade(self, stream: trio.abc.Stream, pick: random.Random, _: int) -> None:
        self._count()
        lines = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
        lines += b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        await stream.send_all(b"GET /ws HTTP/1.1\r\nHost: %b\r\n%b\r\n\r\n" % (HOST, lines))
        await Wire(stream).head()
        await stream.send_all(bytes([0x82, 0x80 | 5, 0, 0, 0, 0]) + b"hello"[: pick.randrange(6)])

    async def _stray(self, stream: trio.abc.Stream, _pick: random.Random, _: int) -> None:
        """Two hosts, pipelined: the second is nobody's."""
        for _number in range(2):
            self._count()
        first = b"GET /first HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST
        await stream.send_all(first + b"GET /second HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
        wire = Wire(stream)
        one, two = await wire.answer(), await wire.answer()
        stray = 404 if self._tls is None else 421
        if (one.status, json.loads(one.body)["target"], two.status) != (200, "/first", stray):
            self._report.wrong.append(f"two hosts got {one.status} {one.body[:60]!r} and {two.status}")


async def soak(path: Path, requests: int, *, warm_up: int = WARM_UP, seed: int = 1, https: bool = False) -> Report:
    """The whole of it, in the native dialect."""
    report = Report()
    path.mkdir(parents=True, exist_ok=True)
    async with open_upstream() as upstream, open_world(path, seconds=3600) as world:
        admin = free_port()
        server = await world.ngrokd(f"-adminAddr=127.0.0.1:{admin}", https=https)
        agent = await world.ngrokc({"soak": {"proto": {"https" if https else "http": upstream.http_port}}}, server)
        port, tls = (server.https_port, trusting()) if https else (server.http_port, None)
        programs = Programs(server, agent, admin)
        visitors = _Visitors(port, report, seed, tls)
        idle = await programs.look()
        await visitors.send(warm_up)
        before = await programs.settled(None)
        before.gauges["deadlines"] = idle.gauges["deadlines"]  # the others' would be waited for twice
        report.requests = 0
        report.kinds.clear()
        began = time.monotonic()
        await visitors.send(requests)
        report.seconds = time.monotonic() - began
        after = await programs.settled(before)
        report.idle = idle.held
        report.held = {name: (before.held[name], after.held[name]) for name in before.held}
        report.gauges = (before.gauges, after.gauges)
    return report


@dataclass(frozen=True)
class Rest:
    """What is held once nothing changes any more."""

    held: dict[str, Held]
    gauges: Counter[str]

    @property
    def steady(self) -> list[int]:
        """What stays as it is when nobody comes. Deadlines of those who have left still pass by, see SLACK too."""
        kept = [self.gauges[name] for name in GAUGES if name not in ("deadlines", "tasks")]
        return kept + [one.descriptors for one in self.held.values()]


@dataclass(frozen=True)
class Programs:
    """The two that are looked at."""

    server: Server
    agent: Agent
    admin_port: int

    async def look(self) -> Rest:
        found = {program.name: held(program) for program in (self.server, self.agent)}
        return Rest(found, await gauges(self.server, self.admin_port))

    async def settled(self, wanted: Rest | None) -> Rest:
        """Connections that linger are given their seconds, and so are deadlines of those who have left."""
        found = await self.look()
        with trio.move_on_after(SETTLE_SECONDS):
            calm = 0
            while calm < 5:
                await trio.sleep(0.3)
                last, found = found, await self.look()
                calm = calm + 1 if found.steady == last.steady and (wanted is None or _no_more(found, wanted)) else 0
        return found


def _no_more(found: Rest, wanted: Rest) -> bool:
    return not more_than(wanted.gauges, found.gauges) and all(
        found.held[name].descriptors <= wanted.held[name].descriptors for name in found.held
    )

"""What happens when more visitors come than the machine can serve (C27), and when its configuration changes (C29).

    python -m tests.figures.overload [--only C27,C29]

Real ngrokd and ngrokc on free ports; visitors come from a process of their own (`arrivals`). Prints a line for each figure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from tests.bench.peers import raise_descriptor_limit
from tests.figures.faults import serve
from tests.figures.stage import Stage, Table, attempt, load
from tests.kit.programs import ROOT, Server

LONGEST = 200.0  # seconds for one figure; a guard, nothing waits for it

SECONDS = 6.0
ROOM = 256  # -maxVisitors of the second run
TRIED = (500, 1000, 1500, 2000, 3000, 4000)  # visitors a second, until they are not all served quickly
QUICK = 0.25  # seconds
RELOADS = 20

Found = list[tuple[int, str, float]]


async def arrive(server: Server, rate: float, seconds: float) -> Found:
    words = [
        sys.executable,
        "-m",
        "tests.figures.arrivals",
        str(server.http_port),
        "test.localhost",
        str(rate),
        str(seconds),
    ]
    done = await trio.run_process(words, cwd=str(ROOT), capture_stdout=True, stdin=subprocess.DEVNULL)
    found: Found = json.loads(done.stdout)
    return found


def share(found: Found, what: str, part: float) -> str:
    times = sorted(took for _, outcome, took in found if outcome == what)
    return f"{times[min(len(times) - 1, int(len(times) * part))] * 1000:.0f} ms" if times else "-"


def told(found: Found, seconds: float) -> str:
    counts = Counter(outcome for _, outcome, _ in found)
    rates = ", ".join(f"{outcome} {count / seconds:.0f}/s" for outcome, count in counts.most_common())
    return (
        f"{rates}; 200 after {share(found, '200', 0.5)} / {share(found, '200', 0.99)}, "
        f"503 after {share(found, '503', 0.5)} / {share(found, '503', 0.99)} (median / 99 %)"
    )


def memory(pid: int, key: str = "VmRSS") -> float:
    """MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":")) / 1024


async def capacity(server: Server) -> float:
    """Visitors a second that are all served, 99 of 100 of them quickly."""
    best = 0.0
    for rate in TRIED:
        found = await arrive(server, rate, 2.0)
        times = sorted(took for _, outcome, took in found if outcome == "200")
        if len(times) < len(found) or times[int(len(times) * 0.99)] > QUICK:
            break
        best = rate
    assert best, "the machine is too busy for a figure"
    return best


async def overloaded(stage: Stage, table: Table, *flags: str) -> None:
    """C27: three times the load."""
    server = await stage.world.ngrokd("-grace=1", *flags, https=False)
    await stage.world.ngrokc({"test": {"proto": {"http": await serve(stage, b"here")}}}, server)
    most = await capacity(server)
    how = " ".join(flags) or "no limit"
    table.add("C27", f"{how}: visitors a second, each on its own connection, all served", f"{most:.0f}")
    before = memory(server.pid)
    normal = await arrive(server, most / 2, SECONDS / 2)
    table.add("C27", f"{how}: half of that", told(normal, SECONDS / 2))
    flood = await arrive(server, 3 * most, SECONDS)
    table.add("C27", f"{how}: three times that, {SECONDS:g} s", told(flood, SECONDS))
    after = await arrive(server, most / 2, SECONDS / 2)
    usual = sorted(took for _, _, took in normal)[int(len(normal) * 0.99)]
    slow = [second for second, outcome, took in after if outcome != "200" or took > max(2 * usual, QUICK)]
    table.add("C27", f"{how}: half of it again, at once", told(after, SECONDS / 2))
    table.add(
        "C27", f"{how}: last arrival that was slow or refused", f"{max(slow) + 1 if slow else 0} s after the flood"
    )
    left = sum("agent left" in line for line in server.lines)
    table.add("C27", f"{how}: agents that were lost", str(left))
    peak, now = memory(server.pid, "VmHWM"), memory(server.pid)
    table.add("C27", f"{how}: ngrokd's memory before, at most, after", f"{before:.0f}, {peak:.0f}, {now:.0f} MiB")


async def reloaded(stage: Stage, table: Table) -> None:
    """C29: good and broken configurations under 200 visitors a second."""
    path = stage.world.path / "ngrokd.yml"
    path.write_text("grace: 5\n")
    server = await stage.world.ngrokd(f"-config={path}", https=False)
    agent = await stage.world.ngrokc({"test": {"proto": {"http": await serve(stage, b"here")}}}, server)
    failures: list[float] = []
    took: list[float] = []
    async with trio.open_nursery() as visitors:
        visitors.start_soon(load, [agent.urls["http"]], 200.0, failures)
        await trio.sleep(1)
        for number in range(RELOADS):
            broken = number % 4 == 3
            path.write_text(
                "nonsense: 1\n" if broken else f"grace: {5 + number}\nmaxVisitors: {500 + number}\nmaxBody: 9999999\n"
            )
            began = trio.current_time()
            await server.line("is not used" if broken else "read again", within=5)
            took.append(trio.current_time() - began)
        visitors.cancel_scope.cancel()
    table.add("C29", f"{RELOADS} changed files, each fourth broken: visitors not served", str(len(failures)))
    table.add("C29", "from the change to its use, or its line in the log (median, most)", (
        f"{statistics.median(took):.2f} s, {max(took):.2f} s"
    ))  # fmt: skip


async def main(only: set[str]) -> int:
    table, failed = Table(), 0
    runs: list[tuple[str, Callable[[Stage, Table], Awaitable[None]]]] = [
        ("C27", overloaded),
        ("C27", lambda stage, found: overloaded(stage, found, f"-maxVisitors={ROOM}")),
        ("C29", reloaded),
    ]
    for name, run in runs:
        if not only or name in only:
            failed += not await attempt(name, run, table, within=LONGEST)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    raise_descriptor_limit()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}", flush=True)
    sys.exit(trio.run(main, set(filter(None, asked.only.split(",")))))

"""Names and liveness in figures: what happens to tunnels when something dies, and how soon it is over.

    python -m tests.figures.liveness [--agents 1000] [--only C5,C8]

Real ngrokd and ngrokc processes on free ports below a temporary directory; crowds of agents live in a process of their own
(`tests.figures.crowd`), so they do not share a loop with what asks. The names C5 ... are the faults of the project's
reliability list. Prints a line for each figure as it comes; everything is stopped at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from tests.bench.peers import raise_descriptor_limit
from tests.figures import faults, storms
from tests.figures.stage import Stage, Table, attempt

LONGEST = 300.0  # seconds for one fault; a guard, nothing waits for it
Figure = Callable[[Stage, Table], Awaitable[None]]


def figures(agents: int) -> dict[str, list[Figure]]:
    sizes = sorted({min(100, agents), agents})
    return {
        "C5": [partial(storms.server_killed, count=size) for size in sizes],
        "C6": [faults.agent_killed],
        "C8": [faults.takeover],
        "C14": [faults.absurd_lengths],
        "C18": [partial(storms.clock_jumps, monotonic=moved) for moved in (False, True)] + [storms.slept],
        "C24": [partial(storms.all_cut, count=agents)],
        "C30": [partial(faults.saturated, narrow=narrow) for narrow in (True, False)],
    }


async def main(agents: int, only: set[str]) -> int:
    table, failed = Table(), 0
    for name, runs in figures(agents).items():
        for run in runs if not only or name in only else []:
            failed += not await attempt(name, run, table, within=LONGEST)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    raise_descriptor_limit()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}", flush=True)
    sys.exit(trio.run(main, asked.agents, set(filter(None, asked.only.split(",")))))

"""The soak: `python -m tests.soak [--requests 100000] [--stalled 8000]`, or `make soak`. Starts the real programs.

First a mixture of good and bad requests, after which tasks, descriptors and memory of both programs must be where they
began; then stalled connections and floods of half heads, under which a normal visitor must be served quickly.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import trio

from tests.soak.hostile import HOSTILE, stall
from tests.soak.mixture import soak


async def _main(requests: int, stalled: int, kind: str) -> int:
    with tempfile.TemporaryDirectory() as path:
        failed = False
        if requests:
            for https in (False, True):  # by https a quarter: a handshake for each connection costs this process most
                report = await soak(Path(path) / f"mixture-{https}", requests // 4 if https else requests, https=https)
                print("https:" if https else "http:", report.text())
                failed |= bool(report.faults())
        if stalled:
            for one in HOSTILE if kind == "all" else (kind,):
                found = await stall(Path(path) / one, stalled, one)
                print(found.text())
                failed |= bool(found.faults())
    return int(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--stalled", type=int, default=8_000)
    parser.add_argument("--kind", choices=["all", *HOSTILE], default="all")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.exit(trio.run(_main, options.requests, options.stalled, options.kind))

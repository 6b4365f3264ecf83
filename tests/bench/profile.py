"""`make profile`: where ngrokd and ngrokc spend their time under keep-alive load of 32 visitors.

cProfile makes Python's share look larger than it is (it counts calls, the kernel's time is one line), so read the order, not
the seconds. The whole profiles stay in bench-out/*.prof for `python -m pstats`.
"""

from __future__ import annotations

import argparse
import os
import pstats
import sys
import tempfile
from pathlib import Path

from tests.bench.peers import ROOT, Peers, raise_descriptor_limit
from tests.bench.tools import iperf3, wrk

LINES = 25


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--bulk", action="store_true", help="one bulk stream through a tcp tunnel instead")
    parser.add_argument("--close", action="store_true", help="a new connection for each request")
    parser.add_argument("--classic", action="store_true", help="a link for each visitor instead of legs")
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    raise_descriptor_limit()
    out = ROOT / "bench-out"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ngrok-profile-") as directory, Peers(Path(directory)) as peers:
        Path(directory).chmod(0o755)
        peers.start_nginx()
        peers.start_services()
        peers.profile_into = out
        pair = peers.pair(mux=not options.classic)
        if options.bulk:
            print(f"one stream: {iperf3(pair.tcp['iperf'], seconds=options.seconds):.2f} Gbit/s under the profiler")
        else:
            load = wrk(pair.http_port, pair.host, visitors=32, seconds=options.seconds, close=options.close)
            print(f"{load.rate:.0f} requests/s under the profiler")
        pair.stop()
    for program in ("ngrokd", "ngrokc"):
        print(f"\n==== {program}: by time spent in the function itself")
        pstats.Stats(str(out / f"{program}.prof"), stream=sys.stdout).strip_dirs().sort_stats("tottime").print_stats(
            LINES
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

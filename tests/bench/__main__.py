"""`make bench`, `make bench-quick`: see the package's docstring. Exit 0 when every figure could be taken and every answer was
right; the verdicts are for people and do not change it (`--strict` makes them)."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figures import GROUPS, Bench
from tests.bench.peers import ROOT, BenchFailed, Peers, raise_descriptor_limit
from tests.bench.report import Figure, as_json, goals, into_readme, markdown, svg, table

PICTURED = ("keep-alive", "close", "lone", "bulk-up", "bulk-down")
TOOLS = ("nginx", "wrk", "iperf3", "openssl")


def main() -> int:
    options = arguments()
    if missing := [tool for tool in TOOLS if not (shutil.which(tool) or Path("/usr/sbin", tool).exists())]:
        print(f"bench: missing {', '.join(missing)}; on Debian: apt install nginx-light wrk iperf3 openssl")
        return 2
    os.environ["PATH"] += ":/usr/sbin"
    raise_descriptor_limit()
    began, busy = time.monotonic(), os.getloadavg()[0]
    if busy > 0.5:
        print(f"bench: this machine is busy with something else (load {busy:.1f}); figures will be too low and uneven")
    figures, failures = measure(options.quick, options.only or list(GROUPS), options.repeat)
    seconds = time.monotonic() - began
    print(table(figures))
    print(f"\n{seconds:.0f} s on {os.cpu_count()} cores, Python {platform.python_version()}, {platform.platform()}")
    whole = not options.quick and not options.only and not failures
    write(figures, {"failures": failures, "seconds": round(seconds), "load_before": busy}, where(whole))
    for name, reason in failures.items():
        print(f"FAILED {name}: {reason}")
    missed = [verdict for figure in figures for verdict in figure.verdicts if not verdict.met]
    return 1 if failures or (options.strict and missed) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="once and short, without the figures that take long")
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--repeat", type=int, default=0, help="samples for each figure (3; quick: 1)")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    return parser.parse_args()


QUICK = ("keep-alive", "close", "lone", "bulk", "beside-bulk", "idle-visitors", "burst", "line")


def measure(quick: bool, names: list[str], repeat: int) -> tuple[list[Figure], dict[str, str]]:
    """Run the groups; one that fails does not end the others."""
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    if quick and names == list(GROUPS):
        names = list(QUICK)
    with tempfile.TemporaryDirectory(prefix="ngrok-bench-") as directory, Peers(Path(directory)) as peers:
        Path(directory).chmod(0o755)  # nginx's workers are somebody else
        peers.start_nginx()
        peers.start_services()
        bench = Bench(peers, repeat or (1 if quick else 3), 1.0 if quick else 3.0, quick)
        for name in names:
            began = time.monotonic()
            try:
                found = list(GROUPS[name](bench))
            except (BenchFailed, OSError) as error:
                failures[name] = str(error)
            else:
                figures += found
            print(f"[{name}: {time.monotonic() - began:.0f} s]", file=sys.stderr, flush=True)
    return figures, failures


def where(whole: bool) -> Path:
    """Beside the README for a whole run, else in bench-out/, so that a quick look replaces no published figure."""
    return ROOT if whole else ROOT / "bench-out"


def write(figures: list[Figure], facts: dict[str, object], directory: Path) -> None:
    """bench-results.json, docs/bench.md and docs/bench.svg below `directory`."""
    (directory / "docs").mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    results = {
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "machine": machine,
        **facts,
        "figures": as_json(figures),
    }
    (directory / "bench-results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "docs" / "bench.md").write_text(markdown(figures))
    readme = directory / "README.md"
    if readme.exists():
        remark = (
            f"{results['when']} UTC, {machine['cores']} cores, Python {machine['python']}, load {facts['load_before']:.1f} "
            "before the run; the median of three. A ratio is to the peer that the line names, in the same run."
        )
        readme.write_text(into_readme(readme.read_text(), goals(figures, remark)))
    if pictured := [figure for figure in figures if figure.key in PICTURED]:
        (directory / "docs" / "bench.svg").write_text(svg(pictured))


if __name__ == "__main__":
    raise SystemExit(main())

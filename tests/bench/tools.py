"""wrk, iperf3 and a checked transfer: each call gives one sample, or raises BenchFailed when an answer was wrong."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import time
from dataclasses import dataclass

from tests.bench.peers import HERE, SMALL, BenchFailed
from tests.kit.patterns import blocks, digest

# How an iperf3 server that is still saying goodbye to its last client turns the next one away; it has one at a time. For a moment
# it does not even listen: what is refused to us is reset to the visitor, who was about to send his cookie.
BUSY = ("busy", "closed unexpectedly", "unable to receive control message", "unable to send cookie")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured: requests per second, and times in milliseconds."""

    rate: float
    p50: float
    p99: float
    worst: float


def wrk(
    port: int,
    host: str,
    *,
    visitors: int,
    seconds: float,
    close: bool = False,
    fresh: bool = False,
    core: int | None = None,
) -> Load:
    """`visitors` connections for `seconds`, one request at a time on each. Every answer must be a 200 of the right size;
    the bytes of one are compared before and after by `check_small`. `fresh`: no request is like another; `core`: where
    wrk runs."""
    words = [] if core is None else ["taskset", "-c", str(core)]
    words += ["wrk", "-t", "1", "-c", str(visitors), "-d", f"{max(1, round(seconds))}s", "--timeout", "10s"]
    words += ["-s", str(HERE / "wrk.lua"), "-H", f"Host: {host}", *(["-H", "Connection: close"] if close else [])]
    words.append(f"http://127.0.0.1:{port}/")
    env = {**os.environ, **({"FRESH": "1"} if fresh else {})}
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60, env=env)
    line = next((line for line in done.stdout.splitlines() if line.startswith("JSON ")), None)
    if line is None:
        raise BenchFailed(f"wrk: {done.stdout}{done.stderr}")
    found = json.loads(line.removeprefix("JSON "))
    failed = {key: found[key] for key in ("status", "connect", "write", "timeout") if found[key]}
    if not close and found["read"]:  # with Connection: close an end of file is no error
        failed["read"] = found["read"]
    if failed or not found["requests"] or found["bytes"] < found["requests"] * len(SMALL):
        raise BenchFailed(f"wrong answers from port {port}: {failed or found}")
    return Load(found["requests"] / found["duration"] * 1e6, found["p50"] / 1e3, found["p99"] / 1e3, found["max"] / 1e3)


def iperf3(port: int, *, seconds: float, down: bool = False, streams: int = 1, omit: float = 0) -> float:
    """Gbit/s as the receiver counted them."""
    words = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", f"{seconds:g}", "-P", str(streams), "-J"]
    words += (["-R"] if down else []) + (["-O", f"{omit:g}"] if omit else [])
    for _ in range(20):
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + omit + 60)
        found = json.loads(done.stdout)
        if not any(word in str(found.get("error", "")) for word in BUSY):
            break
        time.sleep(0.1)
    if "error" in found:
        raise BenchFailed(f"iperf3 on port {port}: {found['error']}")
    rate: float = found["end"]["sum_received"]["bits_per_second"]
    return rate / 1e9


def checked_transfer(port: int, host: str, size: int) -> tuple[float, float]:
    """`size` bytes up and down through the kit's service, compared by checksum. Gbit/s (up, down), which SHA-256 on both
    sides holds down: the rate is `iperf3`'s business, the truth is this one's."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.perf_counter()
    connection.putrequest("POST", "/upload", skip_host=True)
    connection.putheader("Host", host)
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    for block in blocks(size):
        connection.send(block)
    seen = json.loads(connection.getresponse().read())
    up = size * 8 / (time.perf_counter() - began) / 1e9
    if seen != {"length": size, "sha256": digest(size)}:
        raise BenchFailed(f"the upload arrived as {seen}")
    began = time.perf_counter()
    connection.request("GET", f"/bytes/{size}", headers={"Host": host})
    answer, sha = connection.getresponse(), hashlib.sha256()
    while data := answer.read(1 << 18):
        sha.update(data)
    down = size * 8 / (time.perf_counter() - began) / 1e9
    connection.close()
    if sha.hexdigest() != digest(size):
        raise BenchFailed("the download arrived with another checksum")
    return up, down

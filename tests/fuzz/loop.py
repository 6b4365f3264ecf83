"""What the fuzz programs share: a seeded source of mutated bytes, a clock, and a report.

    python -m tests.fuzz.heads --seconds 60 --seed 7

A program ends with 1 at the first input on which its check fails, and prints that input and the seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

SLOW = 0.25  # seconds for one input: a hang, where the longest should take a millisecond

NOISE = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"_", b"-", b"0", b"\xff", b"\x7f", b"\x0b"),
    *(b"#", b"%", b"/", b"@", b'"', b"\\", b"=", b"[", b"]", b".", b"chunked", b"\xc3\xa4"),
    *(b"Host: b\r\n", b"Content-Length: 3\r\n"),
)  # fmt: skip


class Mutator:
    """Makes inputs out of good and bad ones: pieces inserted, taken out, doubled, swapped, joined from two."""

    def __init__(self, seed: int, originals: Sequence[bytes]) -> None:
        self.random = random.Random(seed)
        self.originals = list(originals)

    def next(self) -> bytes:
        pick = self.random
        raw = pick.choice(self.originals)
        if pick.random() < 0.3:
            other = pick.choice(self.originals)
            raw = raw[: pick.randrange(len(raw) + 1)] + other[pick.randrange(len(other) + 1) :]
        for _ in range(pick.choice((0, 1, 1, 1, 2, 3, 5))):
            raw = self.mutated(raw)
        return raw

    def mutated(self, raw: bytes) -> bytes:
        pick = self.random
        begin = pick.randrange(len(raw) + 1)
        end = min(len(raw), begin + pick.choice((0, 0, 1, 1, 2, 8)))
        kind = pick.randrange(5)
        if kind == 0:
            return raw[:begin] + raw[end:]
        if kind == 1:
            return raw[:end] + raw[begin:end] * pick.choice((1, 2, 3)) + raw[end:]
        if kind == 2:
            return raw[:begin] + bytes([pick.randrange(256)]) + raw[end:]
        if kind == 3 and end > begin:
            return raw[:begin] + raw[begin:end].swapcase() + raw[end:]
        return raw[:begin] + pick.choice(NOISE) + raw[end:]

    def cuts(self, length: int) -> list[int]:
        return sorted(self.random.randrange(length + 1) for _ in range(self.random.choice((0, 1, 2, 5))))


def run(name: str, originals: Sequence[bytes], check: Callable[[Mutator, bytes], str]) -> int:
    """Call `check` with inputs for as long as the command line says; it gives a word for what happened (counted in the
    report) or raises AssertionError. The exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.fuzz.{name}")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    chosen = parser.parse_args()
    mutator = Mutator(chosen.seed, originals)
    outcomes: Counter[str] = Counter()
    begin = now = time.perf_counter()
    used = time.thread_time()  # a busy machine is no hang of ours
    worst = 0.0
    while now - begin < chosen.seconds:
        raw = mutator.next()
        try:
            outcomes[check(mutator, raw)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            print(f"{name}: {type(error).__name__}: {error}\ninput: {raw!r}\nseed: {chosen.seed}", file=sys.stderr)
            return 1
        before, used, now = used, time.thread_time(), time.perf_counter()
        worst = max(worst, used - before)
        if used - before > SLOW:
            print(f"{name}: {used - before:.3f} s for one input\ninput: {raw!r}\nseed: {chosen.seed}", file=sys.stderr)
            return 1
    total = sum(outcomes.values())
    shares = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
    print(
        f"{name}: {total} executions in {now - begin:.1f} s ({shares}), slowest {worst * 1000:.1f} ms, no disagreement"
    )
    return 0

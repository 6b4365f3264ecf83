"""Chunked bodies: the same verdict however they are cut, and h11's verdict. `python -m tests.fuzz.bodies --seconds 60`."""

from __future__ import annotations

import sys

from tests.fuzz.loop import Mutator, run
from tests.kit.agreement import chunked_agrees
from tests.kit.http_strategies import CHUNK_LINES, TRAILERS


def check(mutator: Mutator, raw: bytes) -> str:
    found = chunked_agrees(raw, mutator.cuts(len(raw)))
    return "refused" if found is None else "unfinished" if found < 0 else "whole"


def originals() -> list[bytes]:
    ends = [b"0\r\n" + trailers + b"\r\n" for trailers in TRAILERS]
    table = [line + end for line in CHUNK_LINES for end in ends]
    table += [a + b + c + ends[0] for a, b, c in zip(CHUNK_LINES, CHUNK_LINES[1:], CHUNK_LINES[2:], strict=False)]
    return table + [raw + b"GET / HTTP/1.1\r\n" for raw in table]


if __name__ == "__main__":
    sys.exit(run("bodies", originals(), check))

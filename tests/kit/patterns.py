"""Bodies of any size that need no memory and whose every 64 KiB block is different, with their checksums."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterator

BLOCK = 64 * 1024


@functools.cache
def _base() -> bytes:
    return random.Random(1).randbytes(BLOCK)


def blocks(size: int) -> Iterator[bytes]:
    """`size` bytes in blocks: noise, with the block's number in front, so that a lost or swapped block shows."""
    base = _base()
    for number in range(size // BLOCK):
        yield number.to_bytes(8, "big") + base[8:]
    if rest := size % BLOCK:
        yield ((size // BLOCK).to_bytes(8, "big") + base[8:])[:rest]


@functools.cache
def digest(size: int) -> str:
    """The SHA-256 of `blocks(size)`."""
    sha = hashlib.sha256()
    for block in blocks(size):
        sha.update(block)
    return sha.hexdigest()

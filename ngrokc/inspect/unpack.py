"""Undoing content codings piece by piece, for streams that are shown while they run: gzip, deflate, br, zstd, also stacked.

Pure. What comes out is at most a hundred times what went in, a little start aside: a bomb ends the view of its stream. May
take long for a large piece: runs in a worker thread (`backroom`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import brotli
import zstandard

from ngrokc.inspect.heads import Unreadable
from ngrokc.inspect.inflate import LAYERS, RATIO, SMALL

BITE: Final = (
    64  # bytes for zstd at a time: it has no limit of its own for what comes out, 128 KiB of each 3 bytes at worst
)
WINDOW: Final = 8 << 20  # the largest zstd window (RFC 8878, 3.1.1.1.2 recommends to support 8 MiB)

Step = Callable[[bytes, int], bytes]
"""Takes input and how much may come out; returns at least that much when there is more."""


class Unpacker:
    """`feed` returns what can be read so far. Raises Unreadable, here for unknown codings, there for damage and bombs."""

    def __init__(self, codings: list[bytes]) -> None:
        names = [name for name in codings if name not in (b"identity", b"")]
        if len(names) > LAYERS:
            raise Unreadable(f"more than {LAYERS} content codings")
        self._steps = [_step(name) for name in reversed(names)]
        self._room = SMALL

    def feed(self, data: bytes) -> bytes:
        """Decode the next bytes of the body."""
        for step in self._steps:
            self._room += RATIO * len(data)
            try:
                data = step(data, self._room)
            except (zlib.error, brotli.error, zstandard.ZstdError):
                raise Unreadable("damaged compressed data") from None
            if len(data) >= self._room:
                raise Unreadable("more came out of it than is read for show")
            self._room -= len(data)
        return data


def _step(name: bytes) -> Step:
    if name in (b"gzip", b"x-gzip"):
        return _zlib(31)
    if name == b"deflate":
        return _deflate()
    if name == b"br":
        return _brotli()
    if name == b"zstd":
        return _zstd()
    raise Unreadable("an unknown content coding")


def _zlib(bits: int) -> Step:
    machine = zlib.decompressobj(bits)
    return machine.decompress


def _deflate() -> Step:
    """With the zlib wrapper that the standard asks for, or raw, as some send it: the first byte tells."""
    chosen: list[Step] = []

    def step(data: bytes, room: int) -> bytes:
        if not chosen and data:
            chosen.append(_zlib(15 if data[:1] == b"\x78" else -15))
        return chosen[0](data, room) if chosen else b""

    return step


def _brotli() -> Step:
    machine = brotli.Decompressor()

    def step(data: bytes, room: int) -> bytes:
        if machine.is_finished():
            return b""
        out = bytearray(machine.process(data, output_buffer_limit=room))
        while len(out) < room and not machine.is_finished() and not machine.can_accept_more_data():
            out += machine.process(b"", output_buffer_limit=room - len(out))
        return bytes(out)

    return step


def _zstd() -> Step:
    machine = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj(read_across_frames=True)

    def step(data: bytes, room: int) -> bytes:
        out = bytearray()
        for start in range(0, len(data), BITE):
            out += machine.decompress(data[start : start + BITE])
            if len(out) >= room:
                break
        return bytes(out)

    return step

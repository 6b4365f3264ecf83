"""Undoing content codings within caps: gzip, deflate, br, zstd, also one upon the other. Pure; runs in a worker thread.

At most 1 MiB comes out, and at most a hundred times what went in; beyond that the text is cut and says so. A bomb costs what
the cap costs.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import brotli
import zstandard

OUT_CAP: Final = 1024 * 1024
IN_CAP: Final = 1024 * 1024
RATIO: Final = 100
SMALL: Final = 64 * 1024  # short texts may be as regular as they like
LAYERS: Final = 3


@dataclass(frozen=True, slots=True)
class Inflated:
    """`note` says what went wrong or was cut, "" for nothing; then `data` is as far as it went."""

    data: bytes
    note: str = ""


def inflate(data: bytes, codings: list[bytes]) -> Inflated:
    """`codings` in the order of the header: the last was applied last."""
    names = [name for name in codings if name not in (b"identity", b"")]
    if len(names) > LAYERS:
        return Inflated(data, f"more than {LAYERS} content codings")
    note = ""
    for name in reversed(names):
        if len(data) > IN_CAP:
            data, note = data[:IN_CAP], f"only the first {IN_CAP >> 20} MiB were inflated"
        step = _step(data, name)
        data, note = step.data, step.note or note
        if step.note:
            break
    return Inflated(data, note)


def _step(data: bytes, name: bytes) -> Inflated:
    cap = min(OUT_CAP, max(len(data) * RATIO, SMALL))
    try:
        if name in (b"gzip", b"x-gzip"):
            return _zlib(data, 31, cap)
        if name == b"deflate":
            return _zlib(data, 15 if data[:1] == b"\x78" else -15, cap)
        if name == b"br":
            return _brotli(data, cap)
        if name == b"zstd":
            return _zstd(data, cap)
    except (zlib.error, brotli.error, zstandard.ZstdError):
        return Inflated(data, f"damaged {name.decode()} data, shown as received")
    return Inflated(data, "an unknown content coding, shown as received")


def _zlib(data: bytes, bits: int, cap: int) -> Inflated:
    machine = zlib.decompressobj(bits)
    out = machine.decompress(data, cap)
    if machine.unconsumed_tail:
        return Inflated(out, f"only the first {len(out)} bytes were inflated")
    return Inflated(out, "" if machine.eof else "the compressed data is incomplete")


def _brotli(data: bytes, cap: int) -> Inflated:
    machine = brotli.Decompressor()
    out = bytearray(machine.process(data, output_buffer_limit=cap))
    while not machine.is_finished() and not machine.can_accept_more_data() and len(out) < cap:
        out += machine.process(b"", output_buffer_limit=cap - len(out))
    if len(out) >= cap and not machine.is_finished():
        return Inflated(bytes(out[:cap]), f"only the first {cap} bytes were inflated")
    return Inflated(bytes(out[:cap]), "" if machine.is_finished() else "the compressed data is incomplete")


def _zstd(data: bytes, cap: int) -> Inflated:
    reader = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(data, read_across_frames=True)
    out = reader.read(cap)
    more = len(out) == cap and bool(reader.read(1))
    return Inflated(out, f"only the first {cap} bytes were inflated" if more else "")

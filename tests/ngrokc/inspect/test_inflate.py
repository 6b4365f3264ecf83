from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.inflate import OUT_CAP, RATIO, SMALL, inflate

TEXT = b"hello world " * 500


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush()


CODERS = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("name", CODERS)
def test_each(name: bytes) -> None:
    assert inflate(CODERS[name](TEXT), [name]).data == TEXT
    short = inflate(CODERS[name](TEXT)[:-3], [name])
    assert TEXT.startswith(short.data) or short.note


def test_raw_deflate_and_layers() -> None:
    assert inflate(raw_deflate(TEXT), [b"deflate"]).data == TEXT
    assert inflate(gzip.compress(brotli.compress(TEXT)), [b"br", b"identity", b"gzip"]).data == TEXT
    assert "more than 3" in inflate(b"", [b"gzip"] * 4).note


@pytest.mark.parametrize("name", CODERS)
def test_bombs_cost_no_more_than_the_cap(name: bytes) -> None:
    bomb = CODERS[name](bytes(50_000_000))
    found = inflate(bomb, [name])
    assert len(found.data) <= min(OUT_CAP, max(SMALL, len(bomb) * RATIO))
    assert "only the first" in found.note
    nested = inflate(CODERS[name](bomb), [name, name])
    assert len(nested.data) <= OUT_CAP


@given(st.binary(max_size=200), st.sampled_from([*CODERS, b"unknown"]))
def test_any_bytes(data: bytes, name: bytes) -> None:
    assert len(inflate(data, [name]).data) <= OUT_CAP

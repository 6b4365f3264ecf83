from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.heads import Unreadable
from ngrokc.inspect.unpack import Unpacker

TEXT = b"".join(b"data: token %d\n\n" % number for number in range(2000))


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush()


PACK = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.ZstdCompressor().compress,
    b"identity": bytes,
}


@pytest.mark.parametrize("coding", list(PACK))
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_in_any_pieces(coding: bytes, size: int) -> None:
    packed = PACK[coding](TEXT)
    unpacker = Unpacker([coding])
    assert b"".join(unpacker.feed(packed[at : at + size]) for at in range(0, len(packed), size)) == TEXT


def test_raw_deflate_and_layers() -> None:
    assert Unpacker([b"deflate"]).feed(raw_deflate(TEXT)) == TEXT
    assert Unpacker([b"gzip", b"br"]).feed(brotli.compress(gzip.compress(TEXT))) == TEXT


def test_what_was_flushed_is_there_at_once() -> None:
    packer, unpacker = zlib.compressobj(wbits=31), Unpacker([b"gzip"])
    for word in (b"data: one\n\n", b"data: two\n\n"):
        assert unpacker.feed(packer.compress(word) + packer.flush(zlib.Z_SYNC_FLUSH)) == word


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_bombs(coding: bytes) -> None:
    with pytest.raises(Unreadable, match="more came out"):
        Unpacker([coding]).feed(PACK[coding](bytes(50_000_000)))


def test_what_nobody_knows() -> None:
    for codings in ([b"dcb"], [b"gzip"] * 4):
        with pytest.raises(Unreadable):
            Unpacker(codings)


@given(st.sampled_from([b"gzip", b"deflate", b"br", b"zstd"]), st.binary(max_size=300))
def test_anything_is_read_or_unreadable(coding: bytes, data: bytes) -> None:
    unpacker = Unpacker([coding])
    try:
        for at in range(len(data)):
            unpacker.feed(data[at : at + 1])
    except Unreadable:
        pass

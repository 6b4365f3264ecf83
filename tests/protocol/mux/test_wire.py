"""The header as the published specification has it."""

from __future__ import annotations

from protocol.mux.wire import ACK, DATA, FIN, GO_AWAY, HEADER, HEADER_BYTES, PING, RST, SYN, WINDOW_UPDATE, Leaving


def test_the_header_is_twelve_big_endian_bytes() -> None:
    assert HEADER.size == HEADER_BYTES == 12
    assert HEADER.pack(WINDOW_UPDATE, SYN | FIN, 0x01020304, 0x0A0B0C0D) == bytes.fromhex("0001 0005 01020304 0a0b0c0d")


def test_the_numbers_are_those_of_the_specification() -> None:
    assert (DATA, WINDOW_UPDATE, PING, GO_AWAY) == (0, 1, 2, 3)
    assert (SYN, ACK, FIN, RST) == (1, 2, 4, 8)
    assert [code.value for code in Leaving] == [0, 1, 2]

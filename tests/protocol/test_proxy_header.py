"""PROXY protocol headers: examples, every cut, hostile ones, and back and forth."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.proxy_header import V1_CAP, V2_CAP, Endpoint, ProxyHeader, decode, encode

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


FOUR = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack("!HH", 5, 80)
GOOD: dict[str, tuple[bytes, ProxyHeader]] = {
    "v1 tcp4": (
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n",
        ProxyHeader(("192.0.2.1", 5), ("192.0.2.2", 80)),
    ),
    "v1 tcp6": (b"PROXY TCP6 2001:DB8::1 ::1 65535 0\r\n", ProxyHeader(("2001:db8::1", 65535), ("::1", 0))),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 5 6\r\n", ProxyHeader(("192.0.2.1", 5), ("::1", 6))),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ProxyHeader(None, None)),
    "v1 unknown with more": (b"PROXY UNKNOWN ffff:: ::1 1 2\r\n", ProxyHeader(None, None)),
    "v2 tcp4": (v2(0x21, 0x11, FOUR), ProxyHeader(("192.0.2.1", 5), ("192.0.2.2", 80))),
    "v2 tcp4 with extensions": (
        v2(0x21, 0x11, FOUR + b"\x02\x00\x03abc\x04\x00\x00"),
        ProxyHeader(("192.0.2.1", 5), ("192.0.2.2", 80)),
    ),
    "v2 tcp6": (
        v2(0x21, 0x21, bytes(15) + b"\x01" + bytes(15) + b"\x02" + struct.pack("!HH", 1, 2)),
        ProxyHeader(("::1", 1), ("::2", 2)),
    ),
    "v2 local": (v2(0x20, 0x00, b""), ProxyHeader(None, None)),
    "v2 local with more": (v2(0x20, 0x11, b"abc"), ProxyHeader(None, None)),
    "v2 unspecified": (v2(0x21, 0x00, b""), ProxyHeader(None, None)),
    "v2 unix": (v2(0x21, 0x31, bytes(216)), ProxyHeader(None, None)),
}
BAD = {
    "http": b"GET / HTTP/1.1\r\n",
    "tls": b"\x16\x03\x01",
    "lower case": b"proxy TCP4 192.0.2.1 192.0.2.2 5 80\r\n",
    "two spaces": b"PROXY  TCP4 192.0.2.1 192.0.2.2 5 80\r\n",
    "tab": b"PROXY\tTCP4 192.0.2.1 192.0.2.2 5 80\r\n",
    "udp": b"PROXY UDP4 192.0.2.1 192.0.2.2 5 80\r\n",
    "trailing space": b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80 \r\n",
    "no port": b"PROXY TCP4 192.0.2.1 192.0.2.2 5\r\n",
    "port too big": b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n",
    "port padded": b"PROXY TCP4 192.0.2.1 192.0.2.2 05 80\r\n",
    "port signed": b"PROXY TCP4 192.0.2.1 192.0.2.2 +5 80\r\n",
    "address padded": b"PROXY TCP4 192.0.02.1 192.0.2.2 5 80\r\n",
    "address too big": b"PROXY TCP4 192.0.2.256 192.0.2.2 5 80\r\n",
    "other family": b"PROXY TCP4 ::1 ::1 5 80\r\n",
    "family six with four": b"PROXY TCP6 192.0.2.1 192.0.2.2 5 80\r\n",
    "zone": b"PROXY TCP6 fe80::1%eth0 ::1 5 80\r\n",
    "name": b"PROXY TCP4 localhost 192.0.2.2 5 80\r\n",
    "LF": b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\n",
    "LF within": b"PROXY TCP4 192.0.2.1\n 192.0.2.2 5 80\r\n",
    "unknown with NUL": b"PROXY UNKNOWN \x00\r\n",
    "too long": b"PROXY UNKNOWN " + b"a" * 100,
    "v2 signature": b"\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x00",
    "v2 only CRLF": b"\r\n\r\nGET",
    "v2 version 1": v2(0x11, 0x11, FOUR),
    "v2 command": v2(0x22, 0x11, FOUR),
    "v2 udp": v2(0x21, 0x12, FOUR),
    "v2 family": v2(0x21, 0x41, FOUR),
    "v2 short": v2(0x21, 0x11, FOUR[:-1]),
    "v2 no addresses": v2(0x21, 0x21, b""),
    "v2 huge": v2(0x21, 0x11, b"", V2_CAP + 1),
    "v2 cut extension": v2(0x21, 0x11, FOUR + b"\x02\x00"),
    "v2 long extension": v2(0x21, 0x11, FOUR + b"\x02\x00\x04abc"),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n", b"\x00"])
def test_good(name: str, behind: bytes) -> None:
    raw, expected = GOOD[name]
    assert decode(raw + behind) == (expected, len(raw))
    for cut in range(len(raw)):
        assert decode(raw[:cut]) is None


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    with pytest.raises(WireError) as caught:
        decode(BAD[name])
    assert caught.value.code == "bad_proxy_header"


def test_caps() -> None:
    line = b"PROXY UNKNOWN "
    line += b"a" * (V1_CAP - len(line) - 2) + b"\r\n"
    assert decode(line) == (ProxyHeader(None, None), V1_CAP)
    with pytest.raises(WireError):
        decode(line[:-2] + b"a\r\n")
    room = V2_CAP - len(FOUR)
    extension = b"\x04" + (room - 3).to_bytes(2, "big") + bytes(room - 3)
    assert decode(v2(0x21, 0x11, FOUR + extension)) is not None


@pytest.mark.parametrize("version", [1, 2])
def test_encode(version: int) -> None:
    four, six = ("192.0.2.1", 5), ("2001:db8::1", 6)
    assert decode(encode(version, four, ("192.0.2.2", 80)))[0] == ProxyHeader(four, ("192.0.2.2", 80))  # type: ignore[index]
    assert decode(encode(version, four))[0] == ProxyHeader(four, ("0.0.0.0", 0))  # type: ignore[index]
    assert decode(encode(version, six, four))[0] == ProxyHeader(six, ("::", 0))  # type: ignore[index]
    assert decode(encode(version, ("[::ffff:192.0.2.1]", 5)))[0].source == four  # type: ignore[index]
    for nobody in (None, ("a unix socket", 0), ("", 0)):
        assert decode(encode(version, nobody, four))[0] == ProxyHeader(None, None)  # type: ignore[index]
    with pytest.raises(ValueError, match="port"):
        encode(version, ("192.0.2.1", 65536))
    with pytest.raises(ValueError, match="version"):
        encode(3, four)


@pytest.mark.parametrize("version", [1, 2])
@given(host=st.ip_addresses().map(str), ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)))
def test_back_and_forth(version: int, host: str, ports: tuple[int, int]) -> None:
    near: Endpoint = (host, ports[0])
    raw = encode(version, near, (host, ports[1]))
    found = decode(raw + b"x")
    assert found is not None
    assert found[1] == len(raw)
    assert encode(version, found[0].source, found[0].destination) == raw


@given(st.binary(max_size=120))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"):
        try:
            found = decode(start + data)
        except WireError:
            continue
        assert found is None or found[1] <= len(start + data)

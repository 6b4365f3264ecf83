"""The PROXY protocol header, versions 1 and 2, after HAProxy's specification: written for private services that ask for it,
read from proxies that are trusted to send it.

A connection that should begin with a header and does not is refused: guessing would let anybody choose an address.
Pure: knows nothing of sockets or of who is trusted.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Final

from protocol.errors import Blame, WireError

V1_CAP: Final = 107  # bytes of a version 1 line, CRLF included: the specification's own figure
V2_CAP: Final = (
    4096  # bytes of addresses and extensions of version 2; senders stay below 536 unless they pass certificates
)

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [\x20-\x7e]*+)?|(TCP[46]) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39})"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
)
_FIXED: Final = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
# family and transport -> bytes of one address; streams only, as nothing else is carried here
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}
_NO_ADDRESS: Final = frozenset({0x00, 0x31})  # unspecified; a unix socket

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Who is at both ends of the proxied connection. Both None: the proxy speaks for itself (a health check) or does not
    know. IPv4-mapped addresses are shown as IPv4."""

    source: Endpoint | None
    destination: Endpoint | None


def encode(version: int, source: Endpoint | None, destination: Endpoint | None = None) -> bytes:
    """The header that tells a service who connected. `version` is 1 or 2.

    Without a source (or with one that is no address) it says "unknown". Without a destination of the same family that
    family's unspecified address stands for it. Ports are 0..65535: ValueError.
    """
    if version not in (1, 2):
        raise ValueError("version must be 1 or 2")
    near = _address(source)
    if near is None or source is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _FIXED.pack(_SIGNATURE, _PROXY, 0, 0)
    far = _address(destination)
    if far is None or destination is None or far.version != near.version:
        far, port = type(near)(0), 0
    else:
        port = destination[1]
    for number in (source[1], port):
        if not 0 <= number <= 65535:
            raise ValueError("a port must be 0..65535")
    if version == 1:
        return f"PROXY TCP{near.version} {near} {far} {source[1]} {port}\r\n".encode("ascii")
    block = near.packed + far.packed + struct.pack("!HH", source[1], port)
    family = 0x11 if near.version == 4 else 0x21
    return _FIXED.pack(_SIGNATURE, _PROXY, family, len(block)) + block


def decode(buf: bytes) -> tuple[ProxyHeader, int] | None:
    """The header at the start of `buf` and the index just behind it; None: not all there yet.

    Raises WireError("bad_proxy_header") as soon as more bytes cannot make one.
    """
    if buf[:1] == b"\r":
        return _decode_v2(buf)
    return _decode_v1(buf)


def _decode_v1(buf: bytes) -> tuple[ProxyHeader, int] | None:
    start = b"PROXY "
    if not start.startswith(buf[: len(start)]):
        raise _bad("no PROXY protocol header")
    end = buf.find(b"\n", 0, V1_CAP)
    if end < 0:
        if len(buf) >= V1_CAP:
            raise _bad("the header is too long")
        return None
    match = _V1.fullmatch(buf, 0, end + 1)
    if match is None:
        raise _bad("malformed version 1 header")
    family, near, far, near_port, far_port = match.groups()
    if family is None:
        return ProxyHeader(None, None), end + 1
    kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
    return ProxyHeader(_v1_endpoint(kind, near, near_port), _v1_endpoint(kind, far, far_port)), end + 1


def _v1_endpoint(
    kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: bytes, digits: bytes
) -> Endpoint:  # fmt: skip
    port = int(digits)
    try:
        address = kind(text.decode("ascii"))
    except ValueError:
        raise _bad("malformed address") from None
    if port > 65535:
        raise _bad("malformed port")
    return _plain(address), port


def _decode_v2(buf: bytes) -> tuple[ProxyHeader, int] | None:
    if not _SIGNATURE.startswith(buf[:12]):
        raise _bad("no PROXY protocol header")
    if len(buf) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(buf)
    size = _ADDRESS_BYTES.get(family)
    if command not in (_LOCAL, _PROXY) or (command == _PROXY and size is None and family not in _NO_ADDRESS):
        raise _bad("unknown command or family")
    if length > V2_CAP:
        raise _bad("the header is too long")
    end = _FIXED.size + length
    if len(buf) < end:
        return None
    if command == _LOCAL or size is None:
        return ProxyHeader(None, None), end
    block = buf[_FIXED.size : end]
    if length < 2 * size + 4:
        raise _bad("the addresses are cut short")
    near_port, far_port = struct.unpack_from("!HH", block, 2 * size)
    _check_extensions(block[2 * size + 4 :])
    near, far = ipaddress.ip_address(block[:size]), ipaddress.ip_address(block[size : 2 * size])
    return ProxyHeader((_plain(near), near_port), (_plain(far), far_port)), end


def _check_extensions(rest: bytes) -> None:
    """Types and values are nobody's business here; that they fill their room exactly is."""
    at = 0
    while at < len(rest):
        if at + 3 > len(rest):
            raise _bad("malformed extension")
        at += 3 + int.from_bytes(rest[at + 1 : at + 3], "big")
    if at != len(rest):
        raise _bad("malformed extension")


def _address(endpoint: Endpoint | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if endpoint is None:
        return None
    try:
        address = ipaddress.ip_address(endpoint[0].strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address if mapped is None else mapped)


def _bad(message: str) -> WireError:
    return WireError("bad_proxy_header", message, blame=Blame.OPERATOR)

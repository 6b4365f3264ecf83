"""The PROXY protocol header (HAProxy's specification, versions 1 and 2) that tells a private service who its visitor is.

Pure. Written by the agent itself, so it works against any server; the visitor's address comes from StartProxy.
"""

from __future__ import annotations

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY_V2, _TCP4, _TCP6, _UNKNOWN = 0x21, 0x11, 0x21, 0x00


def proxy_header(version: int, client_addr: str) -> bytes:
    """The header for a visitor at `client_addr` (`ip:port`, IPv6 in brackets). The destination is not known to an agent:
    the unspecified address of the same family stands for it. An unreadable address gives the header for "unknown"."""
    host, _, port = client_addr.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        number = int(port) if port.isascii() and port.isdigit() and int(port) <= 65535 else 0
    except ValueError:
        return b"PROXY UNKNOWN\r\n" if version == 1 else SIGNATURE + struct.pack("!BBH", _PROXY_V2, _UNKNOWN, 0)
    nowhere = ipaddress.ip_address("::" if address.version == 6 else "0.0.0.0")  # noqa: S104 - a value, not a listener
    if version == 1:
        return f"PROXY TCP{address.version} {address} {nowhere} {number} 0\r\n".encode()
    block = address.packed + nowhere.packed + struct.pack("!HH", number, 0)
    return SIGNATURE + struct.pack("!BBH", _PROXY_V2, _TCP6 if address.version == 6 else _TCP4, len(block)) + block

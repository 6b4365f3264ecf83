"""The visitor's Host: its strict grammar, and the one spelling of it that routing and authorisation see.

RFC 9110, 7.2 and RFC 3986, 3.2.2, narrowed: no percent-encoding, no userinfo, no raw Unicode (browsers send `xn--`), no
empty port. Knows nothing of which hosts exist; rules for names that agents ask for are in `protocol.names`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

NAME_CAP: Final = 253  # RFC 1035; a longer name can never be a tunnel's
LABEL_CAP: Final = 63
PORT_MAX: Final = 65535

_NAME_AND_PORT: Final = re.compile(rb"([0-9A-Za-z._\-]++)(?::([0-9]{1,5}))?")
_LITERAL_AND_PORT: Final = re.compile(rb"\[([0-9A-Fa-f:.]{2,45})\](?::([0-9]{1,5}))?")


def host_of(value: bytes) -> str | None:
    """The host in a Host field or authority: lower case, without port and trailing dot, IPv6 in brackets.

    None: not a host. `value` has no surrounding white space. Never raises.
    """
    match = _NAME_AND_PORT.fullmatch(value)
    if match is not None:
        return name_of(match[1]) if port_fits(match[2]) else None
    match = _LITERAL_AND_PORT.fullmatch(value)
    if match is None or not port_fits(match[2]):
        return None
    try:
        return f"[{ipaddress.IPv6Address(match[1].decode())}]"
    except ValueError:
        return None


def name_of(name: bytes) -> str | None:
    """The same for a name without port that is made of letters, digits, "-", "_" and "." only."""
    host = name.decode("ascii").lower()
    host = host.removesuffix(".")
    if not host or len(host) > NAME_CAP or host[0] == "." or ".." in host or host[-1] == ".":
        return None
    if len(host) > LABEL_CAP and max(map(len, host.split("."))) > LABEL_CAP:
        return None
    return host


def port_of(authority: bytes, default: int) -> int:
    """The port in an authority that `host_of` has accepted."""
    digits = authority.rpartition(b":")[2]
    return int(digits) if digits.isdigit() and digits != authority else default


def port_fits(digits: bytes | None) -> bool:
    """Whether these one to five digits (or no port at all) are a port number."""
    return digits is None or 0 < int(digits) <= PORT_MAX

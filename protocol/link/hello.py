"""A look at a TLS ClientHello before anybody answers it: does the agent say that this link will be a leg?

Legs want the faster TLS port (`tls_socket`), all other links the one that can half-close (`tls`), and the server has to
choose before the first byte of the handshake, while a link's kind is known only after it. So ngrokc names its legs in ALPN
(RFC 7301), and the server peeks. It is a hint, not a proof: a link is still registered by its first frame, and a hint that
is wrong, missing or cut in two costs speed alone.
"""

from __future__ import annotations

import socket
from typing import Final

import trio

LEG_PROTOCOL: Final = "ngrokd-leg"
PEEK_BYTES: Final = 4096  # a ClientHello has 300 to 2000 bytes
_MARK: Final = bytes([len(LEG_PROTOCOL)]) + LEG_PROTOCOL.encode()  # as it stands in the extension


async def announces_leg(sock: socket.socket) -> bool:
    """Wait for the first bytes on `sock` (non-blocking; nothing is consumed) and say whether they announce a leg. A
    cancel point; the caller sets the deadline. False also for a socket that failed: the handshake will say how."""
    while True:
        try:
            return _MARK in sock.recv(PEEK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        except OSError:
            return False

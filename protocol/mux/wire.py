"""The yamux frame on the wire, after the published specification: a 12-byte header, all fields big endian.

    version 8 | type 8 | flags 16 | stream id 32 | length 32

`length` counts payload bytes (data), adds to the window (window update), is echoed (ping) or says why (go away).
"""

from __future__ import annotations

import enum
import struct
from typing import Final

HEADER: Final = struct.Struct(
    ">HHII"
)  # version (0) and type are read as one number: another version is an unknown type
HEADER_BYTES: Final = 12

DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8
ALL_FLAGS: Final = SYN | ACK | FIN | RST

FIRST_WINDOW: Final = 256 * 1024  # both sides assume it for every stream
MAX_WINDOW: Final = 2**32 - 1  # what a sum of updates may reach: the field's range
MAX_ID: Final = 2**31 - 1  # we never open a stream above it: some implementations read ids as signed numbers
WORN_ID: Final = 2**30  # from here on a leg should be replaced: at 10 000 streams a second half a day before MAX_ID


class Leaving(enum.IntEnum):
    """The codes of go away."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2

"""What an agent says first on a stream, where it has the `verdict` capability: whether it reached its upstream.

Pure. What becomes of a bad one is its reader's business: a page on http, a reset on tcp.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import WireError
from protocol.frames import frame, take
from protocol.messages import StartProxyResp

_GOOD: Final = StartProxyResp()
GOOD_VERDICT: Final = frame(_GOOD)  # what nearly every stream begins with: compared, not decoded


def take_verdict(data: bytes) -> tuple[StartProxyResp, bytes] | None:
    """The verdict that `data` begins with, and the bytes behind it; None: it is not whole yet. Raises WireError for
    anything else."""
    if data.startswith(GOOD_VERDICT):
        return _GOOD, data[len(GOOD_VERDICT) :]
    found = take(data)
    if found is None:
        return None
    message, end = found
    if not isinstance(message, StartProxyResp):
        raise WireError("out_of_order", f"a stream began with {type(message).__name__}")
    return message, data[end:]

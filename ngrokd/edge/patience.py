"""How long an exchange waits, and for whom: looked at now and then, never per chunk. Pure: given bytes and times.

- For the agent's verdict: VERDICT_SECONDS. The agent itself gives its dial 5 s, so a later one will not come.
- For the visitor, while it alone is waited for: STALL_FLOOR bytes in STALL_SECONDS.
- For a service that does not read an upload: UPLOAD_SECONDS without one byte in either direction. Services may read late (a
  login to be checked first, a debugger); an answer that has begun has no limit here, it may be an event stream.
- For an answer after the verdict: for ever. Long polls are honest, and heartbeats find dead agents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ngrokd.edge.downward import Phase

if TYPE_CHECKING:
    from ngrokd.edge.downward import Downward
    from ngrokd.edge.upward import Upward

VERDICT_SECONDS: Final = 10.0  # as on tcp tunnels
STALL_SECONDS: Final = 20.0  # how often progress is looked at
STALL_FLOOR: Final = 1024  # bytes that a visitor must send or take in that time while we wait for it alone
UPLOAD_SECONDS: Final = 300.0  # of silence on both sides: longer than the 60 s of common proxies, shorter than for ever


class Enough(NamedTuple):
    """Patience is over. `code` "": the exchange is over as far as anybody can tell; "gone": most likely the visitor left."""

    code: str
    detail: str = ""


class Patience:
    """Of one visitor connection, used again for each exchange."""

    __slots__ = ("_still_since", "moved")

    def __init__(self) -> None:
        self.moved = 0
        """Bytes of the exchange that are old news; 0 when another one begins."""
        self._still_since = 0.0

    def look(self, up: Upward, down: Downward, now: float, opened: float) -> Enough | float:
        """What is to be done at `now`, for an exchange whose stream came at `opened`: give up, or look again in so many
        seconds."""
        waited = now - opened
        if down.phase is Phase.VERDICT:
            if waited >= VERDICT_SECONDS:
                return Enough("agent_silent", f"no verdict within {VERDICT_SECONDS:g} s")
            return VERDICT_SECONDS - waited
        if waited < STALL_SECONDS and not up.holds_end:
            return STALL_SECONDS - waited  # a look for the verdict, or of an earlier timer: too early to judge others
        moved = up.count + down.count
        gained, self.moved = moved - self.moved, moved
        if gained:
            self._still_since = now
        elif up.holds_end:
            return Enough("gone", "it ended; a 1.7 agent can't be told without losing the answer")
        if (down.blocked or not (up.done or up.blocked)) and gained < STALL_FLOOR:
            return Enough("request_timeout", "the visitor is too slow")
        return self._stalled_upload(up, down, now - max(self._still_since, opened)) or STALL_SECONDS

    def _stalled_upload(self, up: Upward, down: Downward, still: float) -> Enough | None:
        if not up.blocked or up.finished or still < UPLOAD_SECONDS:
            return None
        if down.phase is Phase.DONE:
            return Enough("", "the service answered and does not read the rest")
        if down.begun:
            return None
        return Enough("upstream_timeout", f"the service took nothing of the upload for {UPLOAD_SECONDS:g} s")

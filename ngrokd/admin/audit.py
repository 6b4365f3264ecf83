"""The audit log: one line for each administrative change and each refused login, in the server's log and, if asked for,
in a file of its own.

Lines name who did it (how they came in, from where), what, and on what; never a secret. Refused logins are damped: one line
per address and second, with the count of those left out, so that a flood costs the disk nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ngrokd.json_lines import JsonLines
from protocol.link.logs import Log, clean

FLAG: Final = "auditLog"
EVERY: Final = 1.0  # seconds between two lines about one address
MAX_ADDRESSES: Final = 1_000  # remembered for that; over it all are forgotten, which costs lines and nothing else


class Audit:
    """Writes to `log` at WARNING, which must not be filtered away, and to `file`. `now`: monotonic seconds."""

    def __init__(self, log: Log, now: Callable[[], float], file: JsonLines | None = None) -> None:
        self._log = log.bind(audit=True)
        self._now = now
        self.file = file
        """The owner may put another in its place, and closes it."""
        self._last: dict[str, tuple[float, int]] = {}

    def change(self, what: str, *, by: str, **details: object) -> None:
        """An administrative change that was made. `by`: "local" or the address of who asked."""
        self._write(what, by=by, **details)

    def denied(self, *, address: str, reason: str) -> None:
        """Somebody asked the operator's API without the right to."""
        if (left_out := self._due(f"admin {address}")) is not None:
            self._write("admin refused", address=address, reason=reason, **_more(left_out))

    def login_refused(self, address: str, code: str, client_id: str) -> None:
        """An agent was not let in."""
        if (left_out := self._due(address)) is not None:
            self._write("login refused", address=address, code=code, client=client_id[:8], **_more(left_out))

    def _write(self, event: str, **facts: Any) -> None:
        self._log.warning(event, **facts)
        if self.file is not None:
            self.file.write({"event": event} | {key: _short(value) for key, value in facts.items()})

    def _due(self, key: str) -> int | None:
        """None: too soon for another line; else how many were left out since the last one."""
        now = self._now()
        then, count = self._last.get(key, (float("-inf"), 0))
        if now - then < EVERY:
            self._last[key] = (then, count + 1)
            return None
        if len(self._last) >= MAX_ADDRESSES:
            self._last.clear()
        self._last[key] = (now, 0)
        return count


def _more(count: int) -> dict[str, int]:
    return {"left_out": count} if count else {}


def _short(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value

"""The access log: one line of JSON for each exchange, written by a thread from a bounded queue (`json_lines`). Off by
default.

A slow or full disk costs lines, which are counted, and nothing else. The target of a request stands in it, its query does
not: queries carry secrets. Visitors' bytes are escaped by JSON and cut at a cap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ngrokd.json_lines import JsonLines

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngrokd.edge.visitor import VisitorConnection
    from ngrokd.tunnel import Tunnel

FLAG: Final = "accessLog"
TARGET_CAP: Final = 500  # characters of a path


class AccessLog:
    """Appends to `path` (0600), or to stdout for the word `stdout`. `now` is the reactor's clock. The owner closes `lines`."""

    def __init__(self, path: str, now: Callable[[], float]) -> None:
        """Raises ConfigError when the file can't be opened."""
        self.lines = JsonLines(path, FLAG)
        self._now = now

    def exchange(self, visitor: VisitorConnection, tunnel: Tunnel | None, status: int) -> None:
        """An exchange is over."""
        up, down = visitor.moved
        began = visitor.began
        answered = visitor.answered
        self._write(
            visitor,
            status=status,
            tunnel=tunnel.id if tunnel is not None else None,
            up=up,
            down=down,
            ms=round((self._now() - began) * 1000, 3),
            answer_ms=round((answered - began) * 1000, 3) if answered >= began else None,
        )

    def refused(self, visitor: VisitorConnection, code: str, _detail: str) -> None:
        """A request got an error page."""
        self._write(visitor, error=code)

    def _write(self, visitor: VisitorConnection, **more: Any) -> None:
        request = visitor.request
        line: dict[str, Any] = {"request": visitor.request_id, "visitor": visitor.address[0]}
        if request is not None:
            path = request.target.partition(b"?")[0].decode("utf-8", "backslashreplace")
            line |= {
                "host": request.host,
                "method": request.method.decode("ascii", "replace"),
                "path": path[:TARGET_CAP],
            }
        self.lines.write(line | more)

"""The access log: one line of JSON for each exchange, written by a thread from a bounded queue. Off by default.

A slow or full disk costs lines, which are counted, and nothing else. The target of a request stands in it, its query does
not: queries carry secrets. Visitors' bytes are escaped by JSON and cut at a cap.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import ConfigError
from protocol.link.logs import LineWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngrokd.edge.visitor import VisitorConnection
    from ngrokd.tunnel import Tunnel

TARGET_CAP: Final = 500  # characters of a path
QUEUE: Final = 20_000  # lines; about 8 MB


class AccessLog:
    """Appends to `path` (0600), or to stdout for the word `stdout`. `now` is the reactor's clock. The owner closes it."""

    def __init__(self, path: str, now: Callable[[], float]) -> None:
        """Raises ConfigError when the file can't be opened."""
        self._now = now
        if path == "stdout":
            self._writer = LineWriter(sys.stdout, owns=False, complain=_complain, limit=QUEUE)
            return
        try:
            Path(path).touch(mode=0o600)
            file = Path(path).open("a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - the writer closes it
        except OSError as error:
            raise ConfigError(
                f"-accessLog: {path}: {error.strerror or error}", hint="name a file that can be written"
            ) from error
        self._writer = LineWriter(file, owns=True, complain=_complain, limit=QUEUE)

    @property
    def dropped(self) -> int:
        return self._writer.dropped

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
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "request": visitor.request_id,
            "visitor": visitor.address[0],
        }
        if request is not None:
            path = request.target.partition(b"?")[0].decode("utf-8", "backslashreplace")
            line |= {
                "host": request.host,
                "method": request.method.decode("ascii", "replace"),
                "path": path[:TARGET_CAP],
            }
        self._writer.write(json.dumps(line | more))

    def close(self) -> None:
        """Write what is queued, two seconds at most."""
        self._writer.close()


def _complain(text: str) -> None:
    print(f"ngrokd: access log: {text}", file=sys.stderr)  # noqa: T201 - where the program's complaints go

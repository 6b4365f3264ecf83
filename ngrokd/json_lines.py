"""A file of JSON lines beside the log: appended to by a thread from a bounded queue, for its owner alone (0600).

The access log and the audit log are such files. A slow or full disk costs lines, which are counted, and nothing else.
Knows no events.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from protocol.errors import ConfigError
from protocol.link.logs import LineWriter, open_file

QUEUE: Final = 20_000  # lines; about 8 MB
STDOUT: Final = "stdout"


class JsonLines:
    """Appends to the file `target`, or to stdout for that word. `flag` is whose target it is. The owner closes it."""

    def __init__(self, target: str, flag: str) -> None:
        """Raises ConfigError when the file can't be opened."""
        self.target = target
        path = None if target == STDOUT else Path(target)
        try:
            file = sys.stdout if path is None else open_file(path)
        except OSError as error:
            raise unusable(target, flag, error) from error

        def complain(text: str) -> None:
            print(f"ngrokd: -{flag}: {text}", file=sys.stderr)  # noqa: T201 - where the program's complaints go

        self._writer = LineWriter(file, owns=False, complain=complain, limit=QUEUE, gap=_gap, path=path)

    @property
    def dropped(self) -> int:
        """Lines that were lost because they came too fast or could not be written."""
        return self._writer.dropped

    def write(self, facts: Mapping[str, Any]) -> None:
        """Queue a line with the time in front. Never waits or raises; everything is escaped by JSON."""
        self._writer.write(json.dumps({"time": now()} | dict(facts), default=str))

    def reopen(self) -> None:
        """The file may have been moved away: use the one that has its name now. Returns at once."""
        self._writer.reopen()

    def end(self) -> None:
        """No more lines; what is queued is still written. Returns at once."""
        self._writer.end()

    def close(self) -> None:
        """Write what is queued, two seconds at most (blocks)."""
        self._writer.close()


def now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")


def check_target(target: str, flag: str) -> None:
    """Whether `target` can be opened; a file is made if need be (blocks). "" is none. Raises ConfigError."""
    if target in ("", STDOUT):
        return
    try:
        open_file(Path(target)).close()
    except OSError as error:
        raise unusable(target, flag, error) from error


def unusable(target: str, flag: str, error: OSError) -> ConfigError:
    return ConfigError(f"-{flag}: {target}: {error.strerror or error}", hint="name a file that can be written")


def _gap(count: int) -> str:
    return json.dumps({"time": now(), "lost": count})

"""One server per state directory: a lock file that the kernel frees when its holder ends, however it ends.

The file stays and holds the process id of who had it last, for the message to whoever comes second.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from protocol.errors import Blame, Fault


class StateLock:
    """Holds the lock from the constructor to `release`. Raises Fault `state_in_use` when another process has it, OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0)
            self.release()
            raise _in_use(path, holder) from None
        except BaseException:
            self.release()
            raise
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:
            pass  # a full disk: the number is for a message only

    def release(self) -> None:
        """Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _in_use(path: Path, holder: bytes) -> Fault:
    number = holder.strip().decode("ascii", "replace")
    who = f" (process {number})" if number.isdigit() else ""
    return Fault(
        "state_in_use",
        f"another ngrokd{who} uses the state directory {path.parent}",
        blame=Blame.OPERATOR,
        hint="stop that one, or give this one a directory of its own with -stateDir",
    )

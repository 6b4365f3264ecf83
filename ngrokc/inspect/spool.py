"""Large bodies on disk: one private directory, one writer thread, a cap on bytes, nothing left behind.

Appending never waits: the bytes go into a bounded queue that the thread empties. When the queue or the disk is full, or
writing fails, `append` says no and the body is cut there. Knows nothing of exchanges.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Final

WARN_ONCE: Final = "bodies can't be written to disk"


class SpoolFile:
    """One body's file. `size` counts the bytes accepted so far; made by `Spool.open`, given back by `Spool.remove`."""

    __slots__ = ("failed", "path", "removed", "size", "written")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.written = 0
        self.removed = False
        self.failed = False


Job = tuple[SpoolFile, bytes | None]  # None: remove the file


class Spool:
    """The directory and its thread. The owner calls `close`, which removes everything; a normal exit does so too.

    All methods but `read` are called from one thread and never block; `read` blocks and belongs in a worker thread.
    """

    def __init__(self, parent: Path | None, *, disk: int, queue: int) -> None:
        self._parent = parent
        self._disk = disk
        self._cap = queue
        self.directory: Path | None = None
        self.used = 0
        self.failure = ""
        self._count = 0
        self._queued = 0
        self._jobs: deque[Job] = deque()
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    def __repr__(self) -> str:
        return f"<Spool {self.used} bytes in {self.directory}>"

    def open(self) -> SpoolFile | None:
        """A new file, or None when there is no place for one."""
        if self._closing or self.used >= self._disk or not self._begin():
            return None
        assert self.directory is not None
        self._count += 1
        return SpoolFile(self.directory / f"{self._count:08x}")

    def append(self, file: SpoolFile, data: bytes) -> bool:
        """Queue `data` for the file; False when it will not be kept (then neither will what follows)."""
        if file.failed or file.removed or self.used + len(data) > self._disk:
            return False
        with self._lock:
            if self._queued + len(data) > self._cap:
                return False
            self._queued += len(data)
            self._jobs.append((file, data))
            self._lock.notify()
        file.size += len(data)
        self.used += len(data)
        return True

    def remove(self, file: SpoolFile) -> None:
        """Forget the file; its bytes no longer count."""
        if file.removed:
            return
        file.removed = True
        self.used -= file.size
        with self._lock:
            self._jobs.append((file, None))
            self._lock.notify()

    def read(self, file: SpoolFile, start: int, count: int) -> bytes:
        """Blocks until what was queued for the file is written, then reads. b"" when it is gone."""
        with self._lock:
            while file.written < min(file.size, start + count) and not (file.failed or file.removed or self._closing):
                self._lock.wait(1)
        try:
            with file.path.open("rb") as handle:
                handle.seek(start)
                return handle.read(count)
        except OSError:
            return b""

    def close(self) -> None:
        """Stop the thread and remove the directory. Blocks for the write in progress at most. Idempotent."""
        with self._lock:
            self._closing = True
            self._jobs.clear()
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join(5)
            self._thread = None
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None
            atexit.unregister(self.close)

    def _begin(self) -> bool:
        """Make the directory and the thread when the first large body comes."""
        if self.directory is not None:
            return True
        try:
            self.directory = Path(tempfile.mkdtemp(prefix="ngrokc-", dir=self._parent))  # 0700, whatever the umask
        except OSError as error:
            self.failure = f"{WARN_ONCE}: {error.strerror}"
            return False
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._run, name="inspector spool", daemon=True)
        self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._jobs and not self._closing:
                    self._lock.wait()
                if self._closing:
                    return
                file, data = self._jobs.popleft()
            self._perform(file, data)
            with self._lock:
                self._queued -= len(data or b"")
                file.written += len(data or b"")
                self._lock.notify_all()

    def _perform(self, file: SpoolFile, data: bytes | None) -> None:
        try:
            if data is None:
                file.path.unlink(missing_ok=True)
            elif not file.failed and not file.removed:
                with open(file.path, "ab", opener=_private) as handle:
                    handle.write(data)
        except OSError as error:
            file.failed = True
            self.failure = f"{WARN_ONCE}: {error.strerror}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

"""Small files that must survive a power cut: read with a cap, replaced whole. Knows no content and no directory of ours.

Both functions block for the time of a disk access: call them before the loop starts or from a worker thread.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

PRIVATE = 0o600


def read_capped(path: Path, limit: int) -> bytes | None:
    """The bytes of `path`, None when it does not exist. Raises ValueError over `limit` bytes, OSError as open does."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    if len(data) > limit:
        raise ValueError(f"{path} is larger than {limit} bytes")
    return data


def write_atomic(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Write beside `path`, sync, rename over it; a link is followed, so that it stays one. Raises OSError; then nothing
    has changed and nothing is left behind."""
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """Make the rename itself durable. File systems that can't sync a directory order it well enough on their own."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

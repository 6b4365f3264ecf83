"""The state directory: where ngrokd keeps its keys, certificates and names, and how it writes there.

Knows about files only, not about what is in them. Nobody but the owner can look inside (0700, files 0600), and a file is
either the old one or the new one, whole, whenever the power fails. Functions block for the time of a disk write: call them
before the loop starts or from a worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from protocol.errors import ConfigError
from protocol.link.files import PRIVATE, read_capped, write_atomic

DIRECTORY_MODE = 0o700


def default_directory(environ: Mapping[str, str], *, root: bool) -> Path:
    """Where state goes when no `-stateDir` is given: systemd's STATE_DIRECTORY, /var/lib/ngrokd for root, else XDG."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd joins several with a colon; the first is ours
    if given:
        return Path(given)
    if root:
        return Path("/var/lib/ngrokd")
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):  # the XDG rules say that a relative one is to be ignored
        return Path(base) / "ngrokd"
    return Path(environ.get("HOME") or "~").expanduser() / ".local" / "state" / "ngrokd"


class StateDirectory:
    """One directory that belongs to this server alone. Nothing is kept open; there is nothing to close."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        """Create `path` (and its parents) if needed and close it to others. Raises ConfigError when that can't be done."""
        self.path = path
        try:
            path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            found = path.stat()
            if found.st_mode & 0o077:  # systemd makes its own 0755, and a person may have made it by hand
                path.chmod(DIRECTORY_MODE)
        except OSError as error:
            raise _unusable(path, error) from error

    def __repr__(self) -> str:
        return f"<StateDirectory {self.path}>"

    def file(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str, *, limit: int) -> bytes | None:
        """The content of `name`, or None when there is no such file. Raises ConfigError when it is larger than `limit`
        (then it is not ours) or can't be read."""
        return read_file(self.file(name), limit=limit)

    def write(self, name: str, data: bytes, *, mode: int = PRIVATE) -> Path:
        """Replace `name` by `data`, atomically. Raises OSError (full disk, read-only): the old file stays as it was."""
        path = self.file(name)
        write_atomic(path, data, mode=mode)
        return path


def read_file(path: Path, *, limit: int) -> bytes | None:
    """The bytes of `path`, None when it does not exist. Raises ConfigError when it is unreadable or over `limit` bytes."""
    try:
        return read_capped(path, limit)
    except ValueError as error:
        raise ConfigError(
            f"{path} is larger than {limit} bytes, so it was not written by ngrokd",
            file=str(path),
            hint="move it away, or name another directory with -stateDir",
        ) from error
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the state directory can't be used: {path}: {error.strerror or error}",
        file=str(path),
        hint="name a directory that this user may write with -stateDir",
    )

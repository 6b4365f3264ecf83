"""Who this agent is across restarts: its client id and the ticket of its last session, kept in the state directory.

The same command started again gets the same identity, and with it its names back. Two that run at the same time must not
share one (they would evict each other in turns), so an identity is a numbered slot that is locked while it is used. No
state directory, or a full disk: the agent runs all the same, with an identity that ends with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from protocol.link.files import read_capped, write_atomic
from protocol.secret import Secret, new_client_id

SLOTS = 64  # agents of one user with one configuration at the same time
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\Z")
_TICKET = re.compile(r"[0-9a-f]{64}\Z")


def state_directory(environ: Mapping[str, str]) -> Path:
    """Where state goes: STATE_DIRECTORY (systemd), else the XDG state home."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "ngrokc"
    return Path(environ.get("HOME") or "~").expanduser() / ".local" / "state" / "ngrokc"


def identity_key(server: str, token: Secret, tunnels: list[str]) -> str:
    """What makes two starts "the same agent": the server, the token and what is asked for."""
    text = json.dumps([server, token.digest() if token else "", sorted(tunnels)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Identity:
    """A client id and the last ticket. `remember` writes; `close` frees the slot."""

    def __init__(
        self, client_id: str = "", ticket: Secret | None = None, path: Path | None = None, lock: int = -1
    ) -> None:
        self.client_id = client_id or new_client_id()
        self.ticket = ticket or Secret("")
        self._path = path
        self._lock = lock

    def __repr__(self) -> str:
        return f"<Identity {self.client_id[:8]}... {self._path or 'not kept'}>"

    @property
    def kept(self) -> bool:
        """Whether `remember` writes to a file."""
        return self._path is not None

    def remember(self, client_id: str, ticket: Secret) -> None:
        """Keep what the server gave us, on disk too. Blocks for the time of a small write; raises OSError."""
        if (client_id, ticket) == (self.client_id, self.ticket):
            return
        self.client_id, self.ticket = client_id, ticket
        if self._path is not None:
            write_atomic(self._path, json.dumps({"client_id": client_id, "ticket": ticket.reveal()}).encode())

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def open_identity(directory: Path, key: str) -> Identity:
    """The first free slot's identity; a fresh one where nothing readable is kept or nothing can be. Never raises OSError."""
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
        for slot in range(SLOTS):
            path = directory / f"agent-{key}-{slot}.json"
            lock = _lock(path.with_suffix(".lock"))
            if lock is not None:
                return _read(path, lock)
    return Identity()


def _lock(path: Path) -> int | None:
    """A descriptor that holds the slot, None when another process does."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(path: Path, lock: int) -> Identity:
    try:
        kept = json.loads(read_capped(path, 4096) or b"{}")
        client_id, ticket = kept.get("client_id", ""), kept.get("ticket", "")
        if _CLIENT_ID.match(client_id) and (not ticket or _TICKET.match(ticket)):
            return Identity(client_id, Secret(ticket), path, lock)
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # a file that is not ours, or half a file from a broken disk: a new identity is as good
    return Identity("", None, path, lock)

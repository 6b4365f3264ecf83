"""Random names and ports that come back: what a client was given is offered to it again when it returns.

A convenience, not a right: a remembered name that has another owner now is not given. Keyed by who the client is (its
token's account, else its client id), never by address: neighbours behind one NAT are not each other. Client ids prove
classic sessions, so only their hashes are kept and written.

`Affinity` is pure; `AffinityFile` keeps it on disk (JSON, our own format), written atomically in a worker thread.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path

import trio

from ngrokd.state import read_file
from protocol.errors import ConfigError
from protocol.link.files import write_atomic
from protocol.link.logs import Log

FORMAT = 1
MAX_ENTRIES = 20_000  # the least recently used go; about 2 MB on disk
FILE_LIMIT = 8 << 20
SAVE_DELAY = 2.0  # seconds between a change and its write, so that a storm of logins is one write
RETRY_DELAY = 60.0  # after a failed write: one warning a minute on a full disk


def owner_key(client_id: str, account: str = "") -> str:
    """Who a name is remembered for."""
    if account:
        return f"account:{account}"
    return f"client:{sha256(client_id.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


class Affinity:
    """Least-recently-used memory of (owner, kind, slot) -> name or port. `kind` is `http` (for https too) or `tcp`;
    `slot` counts an owner's random tunnels of that kind from 0."""

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, str] = OrderedDict()
        self.changes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def recall(self, owner: str, kind: str, slot: int) -> str | None:
        key = f"{owner} {kind} {slot}"
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def remember(self, owner: str, kind: str, slot: int, value: str) -> None:
        key = f"{owner} {kind} {slot}"
        if self._entries.get(key) != value:
            self.changes += 1
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def dump(self) -> bytes:
        return json.dumps({"format": FORMAT, "entries": list(self._entries.items())}, indent=0).encode()

    def load(self, data: bytes) -> None:
        """Replace everything by what `dump` gave. Raises ValueError for anything else; then nothing has changed."""
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError("not an affinity file of this format")
        entries = document.get("entries")
        if not isinstance(entries, list):
            raise ValueError("an affinity file without entries")
        loaded: OrderedDict[str, str] = OrderedDict()
        for entry in entries[-self._limit :]:
            match entry:
                case [str(key), str(value)]:
                    loaded[key] = value
                case _:
                    raise ValueError("an affinity entry is not a pair of strings")
        self._entries = loaded


class AffinityFile:
    """Keeps `affinity` in `path`. `open` loads it; `run` saves changes as they come and once more when it is cancelled."""

    def __init__(self, affinity: Affinity, path: Path, log: Log) -> None:
        self.affinity = affinity
        self.path = path
        self._log = log
        self._saved = affinity.changes
        self._changed = trio.Event()

    def open(self) -> None:
        """Load what is there (blocking). A damaged file is put aside and said so: names are a convenience, the server starts."""
        try:
            data = read_file(self.path, limit=FILE_LIMIT)
            if data is not None:
                self.affinity.load(data)
        except (ConfigError, ValueError, RecursionError) as error:
            aside = self.path.with_name(f"{self.path.name}.damaged")
            self._log.warning(
                "remembered names could not be read", file=str(self.path), reason=str(error), kept=str(aside)
            )
            try:
                self.path.replace(aside)
            except OSError as failure:
                self._log.warning("the damaged file could not be put aside", reason=str(failure))
        self._saved = self.affinity.changes

    def touch(self) -> None:
        """Something may have changed: `run` will look."""
        self._changed.set()

    async def run(self) -> None:
        """Save SAVE_DELAY seconds after a change, for ever; at the end (cancelled) save what is left."""
        try:
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                await trio.sleep(SAVE_DELAY)
                if not await self._save():
                    await trio.sleep(RETRY_DELAY - SAVE_DELAY)
                    self._changed.set()
        finally:
            with trio.CancelScope(shield=True):  # a local disk: waiting for it is bounded
                await self._save()

    async def _save(self) -> bool:
        changes = self.affinity.changes
        if changes == self._saved:
            return True
        data = self.affinity.dump()
        try:
            await trio.to_thread.run_sync(write_atomic, self.path, data)
        except OSError as error:
            self._log.warning("remembered names could not be written", file=str(self.path), reason=str(error))
            return False
        self._saved = changes
        return True

"""Random names and ports that come back: what a client was given is offered to it again when it returns.

A convenience, not a right: a remembered name that has another owner now is not given. Keyed by who the client is (its
token's account, else its client id), never by address: neighbours behind one NAT are not each other. Client ids prove
classic sessions, so only their hashes are kept and written.

`Affinity` is pure; `AffinityFile` keeps it on disk in our own format: a line of JSON for each name, later lines win. A new
name is appended at once in a worker thread, so a server that is killed right after loses nothing; at the start and at the
end the whole file is replaced atomically.
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
SURPLUS_LINES = 20_000  # appended ones after which the file is written anew
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
        self._new: list[tuple[str, str]] = []

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
            self._new.append((key, value))
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def take_new(self) -> bytes:
        """What was remembered since the last call, as lines to append."""
        found, self._new = self._new, []
        return b"".join(_line(entry) for entry in found)

    def dump(self) -> bytes:
        return _line({"format": FORMAT}) + b"".join(_line(entry) for entry in self._entries.items())

    def load(self, data: bytes) -> None:
        """Replace everything by what `dump` and `take_new` gave. Raises ValueError for anything else; then nothing has
        changed. A last line without its end was cut by a loss of power: it is left out."""
        lines = data.split(b"\n")[:-1]
        if not lines or json.loads(lines[0]) != {"format": FORMAT}:
            raise ValueError("not an affinity file of this format")
        loaded: OrderedDict[str, str] = OrderedDict()
        for line in lines[1:]:
            match json.loads(line):
                case [str(key), str(value)]:
                    loaded[key] = value
                    loaded.move_to_end(key)
                case _:
                    raise ValueError("an affinity entry is not a pair of strings")
        while len(loaded) > self._limit:
            loaded.popitem(last=False)
        self._entries = loaded


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


class AffinityFile:
    """Keeps `affinity` in `path`. `open` loads it; `run` saves changes as they come and once more when it is cancelled."""

    def __init__(self, affinity: Affinity, path: Path, log: Log) -> None:
        self.affinity = affinity
        self.path = path
        self._log = log
        self._whole = False  # whether the file holds all but what `take_new` would give
        self._appended = 0
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

    def touch(self) -> None:
        """Something may have changed: `run` will look."""
        self._changed.set()

    async def run(self) -> None:
        """Save soon after each change, for ever; at the end (cancelled) save what is left."""
        try:
            while True:
                if not await self._save():
                    await trio.sleep(RETRY_DELAY)
                    continue
                await self._changed.wait()
                self._changed = trio.Event()
        finally:
            self._whole = False
            with trio.CancelScope(shield=True):  # a local disk: waiting for it is bounded
                await self._save()

    async def _save(self) -> bool:
        new = self.affinity.take_new()
        try:
            if self._whole and self._appended < SURPLUS_LINES:
                await trio.to_thread.run_sync(_append, self.path, new)
                self._appended += new.count(b"\n")
            else:
                await trio.to_thread.run_sync(write_atomic, self.path, self.affinity.dump())
                self._whole, self._appended = True, 0
        except OSError as error:
            self._whole = False
            self._log.warning("remembered names could not be written", file=str(self.path), reason=str(error))
            return False
        return True


def _append(path: Path, data: bytes) -> None:
    """Append without waiting for the disk: the kernel has it, which is what a killed process needs."""
    with path.open("ab", buffering=0) as file:
        file.write(data)

"""A captured body: the first part in memory, the rest in a file, and how much there was in all.

Knows budgets and the spool; knows nothing of HTTP. Bytes are those of the message without its transfer framing, still
content-encoded as they came.
"""

from __future__ import annotations

from typing import Final

from ngrokc.inspect.settings import Limits
from ngrokc.inspect.spool import Spool, SpoolFile

TOO_LARGE: Final = "larger than what is kept of one body"
NO_MEMORY: Final = "the inspector's memory is used up"
NO_DISK: Final = "the inspector's disk space is used up, or the disk is too slow"
TOO_FAST: Final = "traffic was too dense to keep up"


class Vault:
    """The common budget of all bodies: `memory` counts what exchanges hold in memory. Owns the spool."""

    def __init__(self, limits: Limits, spool: Spool) -> None:
        self.limits = limits
        self.spool = spool
        self.memory = 0

    def close(self) -> None:
        self.spool.close()


class Body:
    """Grows by `add`; `size` counts every byte that passed, `kept` what can be read, `cut` says why that is less ("" when
    it is all there)."""

    __slots__ = ("_data", "_file", "_vault", "cut", "kept", "released", "size")

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._data = b""
        self._file: SpoolFile | None = None
        self.size = 0
        self.kept = 0
        self.cut = ""
        self.released = False

    def __repr__(self) -> str:
        return f"<Body {self.kept} of {self.size}{' ' + self.cut if self.cut else ''}>"

    @property
    def memory(self) -> int:
        """Bytes held in memory."""
        return len(self._data)

    @property
    def head(self) -> bytes:
        """The part in memory, at most `Limits.body_memory`."""
        return self._data

    @property
    def closed(self) -> bool:
        """Nothing more will be kept: the bytes may as well be skipped."""
        return bool(self.cut) or self.released

    def add(self, data: bytes) -> None:
        """Count `data` and keep it as far as the budgets go."""
        self.size += len(data)
        if self.closed:
            return
        limits = self._vault.limits
        room = limits.body_total - self.kept
        if len(data) > room:
            data = data[:room]
            self._keep(data)
            self.cut = self.cut or TOO_LARGE
            return
        self._keep(data)

    def skip(self, count: int, why: str) -> None:
        """Count bytes that nobody copied."""
        self.size += count
        if count:
            self.cut = self.cut or why

    def release(self) -> None:
        """Give memory and file back; what is read afterwards is empty."""
        if self.released:
            return
        self.released = True
        self._vault.memory -= len(self._data)
        self._data = b""
        self.kept = 0
        if self._file is not None:
            self._vault.spool.remove(self._file)
            self._file = None

    def read(self, start: int = 0, count: int | None = None) -> bytes:
        """Bytes that were kept. Blocks on the disk for a spooled body: call it in a thread."""
        end = self.kept if count is None else min(self.kept, start + count)
        if end <= len(self._data):
            return self._data[start:end]
        file = self._file
        return b"" if file is None else self._vault.spool.read(file, start, max(0, end - start))

    def _keep(self, data: bytes) -> None:
        limits = self._vault.limits
        if self._file is None:
            if len(self._data) + len(data) <= limits.body_memory:
                self._in_memory(data)
                return
            self._file = self._vault.spool.open()
            if self._file is None or not self._vault.spool.append(self._file, self._data):
                self._in_memory(data[: limits.body_memory - len(self._data)])
                self.cut = self.cut or NO_DISK
                self._drop_file()
                return
        if not self._vault.spool.append(self._file, data):
            self.cut = NO_DISK
            return
        self._in_memory(data[: limits.body_memory - len(self._data)], count=False)
        self.kept += len(data)

    def _in_memory(self, data: bytes, *, count: bool = True) -> None:
        if self._vault.memory + len(data) > self._vault.limits.memory:
            if count:
                self.cut = self.cut or NO_MEMORY
            return
        self._data += data
        self._vault.memory += len(data)
        if count:
            self.kept += len(data)

    def _drop_file(self) -> None:
        if self._file is not None:
            self._vault.spool.remove(self._file)
            self._file = None

"""What goes out: one batch buffer that frames are built in, and the few frames that can't wait for it.

    | room for urgent frames, filled from its end | frames in order: header, payload, header, payload ... |

Payload is read straight into the buffer behind the room of its header, so nothing is joined and nothing copied; the whole
batch is one write. Urgent frames (pings, window updates) stand in front of it: they commute with everything else. All other
frames keep their order. Knows no sockets: `take` gives the bytes to write, `sent` learns how many were taken.

Buffers come from a pool that all legs of a reactor share, so an idle leg holds none.
"""

from __future__ import annotations

from typing import Final

from protocol.mux.wire import HEADER, HEADER_BYTES

FRONT_BYTES: Final = 4 * 1024 // HEADER_BYTES * HEADER_BYTES  # 341 urgent frames a batch; more wait for the next
BATCH_BYTES: Final = 128 * 1024
"""Payload with its headers: whole TLS records. 64-256 KiB carry the same; small requests wait behind at most one batch."""
TAIL_BYTES: Final = 4 * 1024  # for the endings of streams when the payload's room is used up
LEAST_ROOM: Final = 1024  # lending less than this is not worth a frame: the batch counts as full
POOL_KEEPS: Final = 8  # buffers kept for later; more are given back to the allocator

_pack: Final = HEADER.pack_into


class BatchPool:
    """Batch buffers for all legs of one reactor. `lend` gives one (a new one when none is left), `give_back` takes it."""

    __slots__ = ("_free", "lent")

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self.lent = 0

    def lend(self) -> memoryview:
        self.lent += 1
        if self._free:
            return self._free.pop()
        return memoryview(bytearray(FRONT_BYTES + BATCH_BYTES + TAIL_BYTES))

    def give_back(self, buffer: memoryview) -> None:
        self.lent -= 1
        if len(self._free) < POOL_KEEPS:
            self._free.append(buffer)


class Outbox:
    """One leg's outgoing frames.

    `shut` is True while payload can't be lent: a batch is on its way, or a piece of room is lent and not yet committed.
    Frames without payload are always taken: they wait in `late` then (at most one per stream and received frame; the leg
    stops reading when `backlog` grows).
    """

    __slots__ = ("_pool", "_rest", "_urgent", "buffer", "late", "lent", "number", "position", "shut")

    def __init__(self, pool: BatchPool) -> None:
        self._pool = pool
        self._urgent = bytearray()
        self._rest: memoryview | None = None  # of a batch that was not taken whole
        self.late = bytearray()
        self.buffer: memoryview | None = None
        self.position = FRONT_BYTES
        self.number = 0
        """Counts the batches: shares of a batch are valid for one number."""
        self.lent = 0
        self.shut = False

    # -- payload
    @property
    def free(self) -> int:
        """Payload bytes that the batch still has room for."""
        return FRONT_BYTES + BATCH_BYTES - HEADER_BYTES - self.position

    def lend(self, most: int) -> memoryview | None:
        """Room for up to `most` (at least 1) payload bytes of the next frame, or None: shut or full. `commit` follows
        before anything else is lent."""
        if self.shut:
            return None
        room = FRONT_BYTES + BATCH_BYTES - HEADER_BYTES - self.position
        if most > room:
            if room < LEAST_ROOM:
                return None
            most = room
        buffer = self.buffer
        if buffer is None:
            buffer = self.buffer = self._pool.lend()
            self._place_late()
        self.lent = most
        self.shut = True
        start = self.position + HEADER_BYTES
        return buffer[start : start + most]

    def commit(self, stream_id: int, flags: int, count: int) -> None:
        """Make a data frame of the first `count` bytes of what was lent; 0 gives the room back."""
        if count > self.lent:
            raise ValueError(f"{count} bytes committed, {self.lent} were lent")
        if self.lent:
            self.lent = 0
            self.shut = False
        if count:
            position = self.position
            assert self.buffer is not None
            _pack(self.buffer, position, 0, flags, stream_id, count)
            self.position = position + HEADER_BYTES + count
        if self.late:
            self._place_late()

    # -- frames without payload
    def frame(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """A frame that keeps its place behind those before it."""
        if self.shut or self.late or self.position > FRONT_BYTES + BATCH_BYTES + TAIL_BYTES - HEADER_BYTES:
            self.late += HEADER.pack(kind, flags, stream_id, value)
            return
        if self.buffer is None:
            self.buffer = self._pool.lend()
        _pack(self.buffer, self.position, kind, flags, stream_id, value)
        self.position += HEADER_BYTES

    def urgent(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """A frame that goes in front of the batch."""
        self._urgent += HEADER.pack(kind, flags, stream_id, value)

    @property
    def writing(self) -> bool:
        """Whether a batch is on its way: `take` gives its rest."""
        return self._rest is not None

    @property
    def pending(self) -> bool:
        """Whether there is anything to write."""
        return self.position > FRONT_BYTES or bool(self.late or self._urgent)

    @property
    def backlog(self) -> int:
        """Bytes of frames that found no place in a batch yet."""
        return len(self.late) + len(self._urgent)

    def _place_late(self) -> None:
        """Bring what waited into the open batch, as far as it fits."""
        if self.shut:
            return
        if self.buffer is None:
            self.buffer = self._pool.lend()
        room = FRONT_BYTES + BATCH_BYTES + TAIL_BYTES - self.position
        count = min(len(self.late), room // HEADER_BYTES * HEADER_BYTES)
        if count:
            self.buffer[self.position : self.position + count] = self.late[:count]
            self.position += count
            del self.late[:count]

    # -- writing
    def take(self) -> memoryview | None:
        """The bytes to write now: the rest of a batch, or the batch so far, which is closed by that; None: nothing to
        send. Room that was lent and not committed is void. Call `sent` before the next `take`."""
        if self._rest is not None:
            return self._rest
        self.lent = 0
        self.shut = False
        if self.late:
            self._place_late()
        start = FRONT_BYTES
        if self._urgent:
            if self.buffer is None:
                self.buffer = self._pool.lend()
            count = min(len(self._urgent), FRONT_BYTES)
            start -= count
            self.buffer[start:FRONT_BYTES] = self._urgent[:count]
            del self._urgent[:count]
        elif self.position == FRONT_BYTES:
            return None
        assert self.buffer is not None
        self.number += 1
        self.shut = True
        self._rest = self.buffer[start : self.position]
        return self._rest

    def sent(self, count: int) -> bool:
        """`count` bytes of what `take` gave were taken; whether that was all. If not, the rest stays where it is: the
        very same bytes come first at the next `take`."""
        rest = self._rest
        assert rest is not None
        if count < len(rest):
            if count:
                self._rest = rest[count:]
            return False
        assert self.buffer is not None
        self._pool.give_back(self.buffer)
        self.buffer = self._rest = None
        self.position = FRONT_BYTES
        self.shut = False
        return True

    def drop(self) -> None:
        """The connection is gone: let go of everything, the buffer too. Nothing is lent any more."""
        if self.buffer is not None:
            self._pool.give_back(self.buffer)
        self.buffer = self._rest = None
        self.late.clear()
        self._urgent.clear()
        self.lent = 0
        self.shut = True

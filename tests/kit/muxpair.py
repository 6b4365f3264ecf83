"""Two yamux machines and the channel between them, for the state-machine tests and the fuzzer.

Each stream sends a pattern that depends on its id, side and offset, so a lost, doubled, moved or foreign byte shows at once.
"""

from __future__ import annotations

import functools

from protocol.mux import ACK, FIRST_WINDOW, GONE, HERE_ENDED, SYN, BatchPool, Machine, Outbox, Role


def pattern(seed: int, offset: int, count: int) -> bytes:
    """`count` bytes of the endless pattern of `seed`, from `offset`."""
    start = offset % 1024
    return (_period(seed) * (count // 1024 + 2))[start : start + count]


@functools.lru_cache(1024)
def _period(seed: int) -> bytes:
    return bytes((seed * 37 + number * 7 + (number >> 8)) & 255 for number in range(1024))


class FakeStream:
    """A stream whose owner is the test."""

    def __init__(self, side: Side, owes: int, stream_id: int = 0) -> None:
        self.side = side
        self.id = stream_id
        self.state = 0
        self.owes = owes
        self.send_window = self.recv_window = FIRST_WINDOW
        self.sent = 0
        self.received = 0
        self.unread = 0
        self.saw_end = False
        self.broken: str | None = None
        self.aborted = False
        self.forgettings = 0

    def deliver(self, part: memoryview) -> None:
        assert not self.saw_end, "payload after the end"
        assert not self.aborted, "payload after our reset"
        assert bytes(part) == pattern(self.id * 2 + self.side.peer_bit, self.received, len(part))
        self.received += len(part)
        self.unread += len(part)

    def window_opened(self) -> None:
        assert self.send_window > 0

    def ended(self) -> None:
        assert not self.saw_end
        self.saw_end = True

    def broke(self, reason: str) -> None:
        self.broken = reason

    def forgotten(self) -> None:
        assert self.id not in self.side.machine.streams
        self.forgettings += 1
        assert self.forgettings == 1


class Side:
    """One machine with what its owner would keep: carried bytes, accepted streams, pongs."""

    def __init__(self, role: Role) -> None:
        self.bit = 0 if role is Role.CLIENT else 1
        self.peer_bit = 1 - self.bit
        self.pool = BatchPool()
        self.out = Outbox(self.pool)
        self.machine: Machine[FakeStream] = Machine(role, self.out, self._accept)
        self.machine.on_pong = self._pong
        self.pongs: list[int] = []
        self.all: dict[int, FakeStream] = {}
        self.carry = b""
        self.wire = bytearray()  # towards the peer

    def _accept(self, stream_id: int) -> FakeStream | None:
        stream = self.all[stream_id] = FakeStream(self, ACK, stream_id)
        return stream

    def _pong(self, value: int) -> None:
        self.pongs.append(value)

    def open(self) -> FakeStream:
        stream = FakeStream(self, SYN)
        self.machine.open(stream)
        self.all[stream.id] = stream
        return stream

    def send(self, stream: FakeStream, count: int) -> int:
        """Commit up to `count` bytes; how many."""
        most = min(count, stream.send_window)
        if most <= 0 or stream.state & (HERE_ENDED | GONE):
            return 0
        room = self.out.lend(most)
        if room is None:
            return 0
        count = len(room)
        room[:] = pattern(stream.id * 2 + self.bit, stream.sent, count)
        self.out.commit(stream.id, stream.owes, count)
        stream.owes = 0
        stream.send_window -= count
        stream.sent += count
        return count

    def consume(self, stream: FakeStream, count: int) -> None:
        """The owner read `count` bytes: credit goes back."""
        count = min(count, stream.unread)
        if count:
            stream.unread -= count
            self.machine.credit(stream, count)

    def abort(self, stream: FakeStream) -> None:
        stream.aborted = True
        self.machine.reset(stream)

    def flush(self, most: int | None = None) -> int:
        """Write up to `most` bytes of the batch to the wire; how many."""
        batch = self.out.take()
        if batch is None:
            return 0
        count = len(batch) if most is None else min(most, len(batch))
        self.wire += batch[:count]
        self.out.sent(count)
        return count

    def receive(self, data: bytes) -> None:
        view = memoryview(self.carry + data)
        used = self.machine.feed(view)
        self.carry = bytes(view[used:])


class Pair:
    """Client and server with their channel."""

    def __init__(self) -> None:
        self.client = Side(Role.CLIENT)
        self.server = Side(Role.SERVER)

    def peer(self, side: Side) -> Side:
        return self.server if side is self.client else self.client

    def carry(self, side: Side, most: int | None = None) -> int:
        """Bring up to `most` bytes from `side`'s wire to its peer; how many."""
        count = len(side.wire) if most is None else min(most, len(side.wire))
        data = bytes(side.wire[:count])
        del side.wire[:count]
        self.peer(side).receive(data)
        return count

    def settle(self) -> None:
        """Until nothing moves."""
        moved = 1
        while moved:
            moved = sum(side.flush() + self.carry(side) for side in (self.client, self.server))

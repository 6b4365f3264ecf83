"""Fuzz the yamux machine: `python -m tests.fuzz.mux --seconds 60 [--seed N]`.

Valid traffic of two machines, cut into pieces, with bytes flipped, dropped or doubled. Invariant: every input is taken or
refused with a WireError of the machine's, windows hold, and memory stays bounded; nothing else is ever raised.
"""

from __future__ import annotations

import argparse
import random
import time

from protocol.errors import WireError
from protocol.mux import ACK, FIRST_WINDOW, Role
from tests.kit.muxpair import FakeStream, Side


class Sink(FakeStream):
    """Takes any payload within its window."""

    def deliver(self, part: memoryview) -> None:
        self.received += len(part)
        assert self.recv_window >= 0
        if self.received & 1:
            self.side.machine.credit(self, len(part))


def traffic(chance: random.Random) -> bytearray:
    """Some valid frames of a server."""
    side = Side(Role.SERVER)
    side.machine.next_id = chance.choice([2, 2, 2**31 - 8])
    for _ in range(chance.randrange(1, 12)):
        if side.machine.can_open and chance.random() < 0.5:
            side.open()
        streams = list(side.machine.streams.values())
        if streams:
            stream = chance.choice(streams)
            side.send(stream, chance.choice([1, 30, 1000, 60_000]))
            ending = chance.randrange(3)
            if ending == 0:
                side.machine.finish(stream)
            elif ending == 1:
                side.abort(stream)
            else:
                side.machine.ping(stream.id)
        side.flush()
    if chance.random() < 0.2:
        side.machine.go_away()
        side.flush()
    return side.wire


def spoil(chance: random.Random, data: bytearray) -> None:
    """Flip, drop, double or insert bytes; headers are where it hurts, so small offsets are preferred."""
    for _ in range(chance.randrange(4)):
        if not data:
            return
        at = min(chance.randrange(len(data)), chance.randrange(len(data)))
        kind = chance.randrange(4)
        if kind == 0:
            data[at] = chance.choice([0, 1, 2, 3, 4, 8, 255, chance.randrange(256)])
        elif kind == 1:
            del data[at : at + chance.randrange(1, 13)]
        elif kind == 2:
            data[at:at] = data[at : at + 12]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 13))


def round_trip(chance: random.Random) -> None:
    """One input."""
    data = traffic(chance)
    spoil(chance, data)
    side = Side(Role.CLIENT)
    side.machine._accept = lambda stream_id: Sink(side, ACK, stream_id)
    largest = chance.choice([1, 13, 500, 100_000] if len(data) < 5000 else [5000, 100_000])
    position = 0
    while position < len(data):
        count = chance.randrange(1, largest + 1)
        try:
            side.receive(bytes(data[position : position + count]))
        except WireError as error:
            if not error.code.startswith("mux_"):
                raise
            return
        assert len(side.carry) < 12
        assert side.out.backlog <= 12 * len(data)
        assert all(stream.recv_window <= FIRST_WINDOW for stream in side.machine.streams.values())
        position += count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    chance = random.Random(seed)
    stop = time.monotonic() + options.seconds
    rounds = 0
    while time.monotonic() < stop:
        round_trip(chance)
        rounds += 1
    print(f"mux: {rounds} inputs, seed {seed}, nothing found")


if __name__ == "__main__":
    main()

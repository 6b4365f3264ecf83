"""The sender: one write a turn, small before bulk, fair shares, a full port stops everybody."""

from __future__ import annotations

from protocol.link.leg_stream import BULK, StreamPort
from protocol.mux import HEADER
from protocol.mux.outbox import BATCH_BYTES
from tests.kit.legpair import LegPair, Reader


class Pump:
    """An owner with endless bytes."""

    def __init__(self, stream: StreamPort) -> None:
        self.stream = stream
        stream.on_writable = self.fill

    def fill(self) -> None:
        while (room := self.stream.reserve()) is not None:
            self.stream.commit(len(room))


def answers(stream: StreamPort) -> None:
    """An owner that reads it all."""
    Reader(stream)


def frames(data: bytes) -> list[tuple[int, int]]:
    """(stream id, payload bytes) of the data frames in one write."""
    found = []
    position = 0
    while position < len(data):
        kind, _, stream_id, length = HEADER.unpack_from(data, position)
        position += 12
        if kind == 0:
            found.append((stream_id, length))
            position += length
    return found


def started(pair: LegPair, count: int) -> list[StreamPort]:
    streams = [pair.open()[0] for _ in range(count)]
    pair.near.pieces.clear()
    return streams


def test_a_turn_is_one_write() -> None:
    pair = LegPair(answers)
    streams = started(pair, 20)
    with pair.reactor.turn():
        for stream in streams:
            stream.write(b"request")
    assert len(pair.near.pieces) == 1
    assert frames(pair.near.pieces[0]) == [(stream.id, 7) for stream in streams]


def test_a_lone_bulk_stream_fills_each_batch() -> None:
    pair = LegPair(answers)
    (stream,) = started(pair, 1)
    with pair.reactor.turn():
        Pump(stream).fill()
    pair.near.pieces.clear()
    pair.reactor.go()
    assert [len(piece) for piece in pair.near.pieces] == [BATCH_BYTES]


def test_a_small_stream_never_waits_for_more_than_one_batch_of_bulk() -> None:
    pair = LegPair(answers)
    bulk, small = started(pair, 2)
    bulk.send_window = pair.accepted[0].recv_window = 10_000_000
    with pair.reactor.turn():
        Pump(bulk).fill()
    for _ in range(3):
        with pair.reactor.turn():
            assert small.write(b"request") == 7
        first = frames(pair.near.pieces[-1])
        assert first[0] == (small.id, 7)
        assert first[1][0] == bulk.id
        pair.near.pieces.clear()
        with pair.reactor.turn():
            pair.far.deliver()
            pair.near.deliver()


def test_bulk_streams_take_turns_and_fill_their_batches() -> None:
    pair = LegPair(answers)
    streams = started(pair, 8)
    with pair.reactor.turn():
        for stream in streams:
            Pump(stream).fill()
    pair.near.pieces.clear()
    heard = []
    for _ in range(8):
        pair.reactor.go()
        batch = frames(pair.near.pieces.pop())
        assert sum(length for _, length in batch) > BATCH_BYTES - BULK
        heard += [stream_id for stream_id, length in batch if length >= BULK]
    assert set(heard) == {stream.id for stream in streams}


def test_many_small_ones_take_several_writes_in_one_turn() -> None:
    pair = LegPair(answers)
    streams = started(pair, 40)
    with pair.reactor.turn():
        for stream in streams:
            assert stream.write(bytes(10_000)) == 10_000
    assert sum(len(frames(piece)) for piece in pair.near.pieces) >= 40
    assert 4 <= len(pair.near.pieces) <= 5


def test_a_full_port_stops_all_and_the_small_ones_go_first_afterwards() -> None:
    pair = LegPair(answers)
    bulk, small = started(pair, 2)
    with pair.reactor.turn():
        Pump(bulk).fill()
    pair.near.make_room(50_000)
    pair.reactor.go()
    assert small.reserve() is None
    assert bulk.reserve() is None
    heard: list[str] = []
    small.on_writable = lambda: heard.append("small")
    bulk.on_writable = lambda: heard.append("bulk")
    pair.reactor.go()
    assert heard == []
    with pair.reactor.turn():
        pair.near.make_room(None)
    pair.reactor.go()
    assert heard == ["small", "bulk"]
    pair.settle()


def test_window_updates_and_pings_stand_in_front() -> None:
    pair = LegPair(answers)
    stream, there = pair.open()
    there.write(b"x")
    pair.settle()
    with pair.reactor.turn():
        stream.write(bytes(100))
        pair.server.machine.ping(99)
    kind, _, _, value = HEADER.unpack_from(pair.near.pieces[-1], 0)
    assert (kind, value) == (2, 99)

"""The stream port: in place when the owner reads, queued when it does not, credit, reset in every state, the async face."""

from __future__ import annotations

import sys

import pytest

from protocol.link.leg import CLOSE_LINGER, LegShared
from protocol.link.leg_stream import BULK, SHARE, StreamPort
from protocol.link.port import WOULD_BLOCK, PortBroken
from protocol.mux import FIRST_WINDOW, GONE, QueueBudget
from tests.kit.legpair import LegPair, Reader


def push(pair: LegPair, stream: StreamPort, data: bytes) -> int:
    """Write `data`, turning as long as it helps; how much went."""
    sent = 0
    asked = 0
    while sent < len(data) and asked < 2:  # a stream that wrote much is refused once, until the end of the turn
        taken = stream.write(memoryview(data)[sent : sent + 60_000])
        sent += taken
        asked = 0 if taken else asked + 1
        pair.settle()
    return sent


def answers(stream: StreamPort) -> None:
    """An owner that reads it all."""
    Reader(stream)


def test_the_first_bytes_open_the_stream_in_one_write() -> None:
    pair = LegPair()
    pair.near.pieces.clear()
    pair.open(b"hello")
    assert len(pair.near.pieces) == 1
    assert pair.near.pieces[0] == bytes.fromhex("0000 0001 00000002 00000005") + b"hello"


def test_payload_is_lent_in_place_while_on_readable_runs() -> None:
    pair = LegPair(answers)
    stream, there = pair.open(b"one")
    reader = there.on_readable.__self__  # type: ignore[attr-defined]
    assert reader.data == b"one"
    assert there.queued == 0
    stream.write(b"two")
    pair.settle()
    assert reader.data == b"onetwo"
    assert reader.calls == 2
    assert there.read() is None


def test_what_is_not_read_is_queued_and_read_later_in_order() -> None:
    pair = LegPair()
    stream, there = pair.open(b"a")
    for part in (b"b" * 10, b"c" * BULK, b"d"):
        assert push(pair, stream, part) == len(part)
    assert there.queued == BULK + 12
    assert pair.shared.queues.used == BULK + 12
    room = memoryview(bytearray(5))
    assert there.read_into(room) == 5
    assert bytes(room) == b"abbbb"
    reader = Reader(there)
    reader.read()
    assert reader.data == b"b" * 6 + b"c" * BULK + b"d"
    assert there.read_into(room) == WOULD_BLOCK
    assert pair.shared.queues.used == 0


def test_given_back_bytes_come_first_and_are_not_credited() -> None:
    pair = LegPair()
    stream, there = pair.open(bytes(10_000))
    view = there.read()
    assert view is not None
    there.unread(view[4000:])
    stream.write(b"tail")
    pair.settle()
    reader = Reader(there)
    reader.read()
    assert len(reader.data) == 6004
    assert reader.data.endswith(b"tail")
    assert there._consumed == 10_004


def test_a_reader_that_stops_stops_the_writer_and_frees_it_by_quarters() -> None:
    pair = LegPair()
    stream, there = pair.open()
    woken: list[int] = []
    stream.on_writable = lambda: woken.append(stream.send_window)
    push(pair, stream, bytes(10 * FIRST_WINDOW))
    assert stream.send_window == 0
    assert there.queued == FIRST_WINDOW
    assert stream.reserve() is None
    pair.settle()
    woken.clear()
    assert pair.agent.growth.used == 0
    while there.queued > FIRST_WINDOW * 3 // 4 + 40_000:
        there.read()
    pair.settle()
    assert woken == []  # not yet a quarter
    there.read()
    pair.settle()
    assert len(woken) == 1
    assert woken[0] >= FIRST_WINDOW // 4
    Reader(there).read()
    push(pair, stream, bytes(10 * FIRST_WINDOW))


def test_many_tiny_frames_do_not_cost_many_objects() -> None:
    pair = LegPair()
    stream, there = pair.open()
    for _ in range(3000):
        stream.write(b"x")
    pair.settle()
    assert there.queued == 3001
    assert there._queue is not None
    assert len(there._queue) == 1


def test_half_close_passes_and_the_answer_still_flows() -> None:
    pair = LegPair()
    stream, there = pair.open(b"question")
    stream.end_writing()
    stream.end_writing()
    with pytest.raises(PortBroken):
        stream.write(b"more")
    pair.settle()
    reader = Reader(there)
    reader.read()
    assert (bytes(reader.data), reader.ended) == (b"question", True)
    empty = there.read()
    assert empty is not None
    assert not empty
    back = Reader(stream)
    there.write(b"answer")
    there.end_writing()
    pair.settle()
    assert (bytes(back.data), back.ended) == (b"answer", True)
    assert pair.server.streams == pair.agent.streams == 0
    stream.close()
    there.close()


@pytest.mark.parametrize("state", ["fresh", "open", "here ended", "there ended", "queued", "blocked"])
@pytest.mark.parametrize("by_server", [True, False])
def test_a_reset_in_any_state_reaches_the_other_side_as_one(state: str, by_server: bool) -> None:
    pair = LegPair()
    if state == "fresh":
        stream = pair.server.open()
        stream.abort()
        pair.settle()
        assert not pair.accepted
        assert pair.server.streams == 0
        return
    stream, there = pair.open()
    one, other = (stream, there) if by_server else (there, stream)
    reader = Reader(other)
    reader.read()
    if state == "here ended":
        one.end_writing()
    elif state == "there ended":
        other.end_writing()
    elif state == "queued":
        other.on_readable = lambda: None
        one.write(b"unread")
        pair.settle()
        other.on_readable = reader.read
    elif state == "blocked":
        pair.near.make_room(0) if by_server else pair.far.make_room(0)
        one.write(b"on its way")
    one.abort()
    one.abort()
    pair.near.make_room(None)
    pair.far.make_room(None)
    pair.settle()
    assert one.state & GONE
    assert other.state & GONE
    if state == "here ended":
        assert reader.ended  # it had seen the end already: no error follows an end of file
    else:
        assert reader.broken == "reset by the other side"
    with pytest.raises(PortBroken):
        other.write(b"x")
    with pytest.raises(PortBroken):
        one.read()
    assert pair.server.streams == pair.agent.streams == 0
    assert pair.shared.queues.used == 0
    assert not pair.ends


def test_a_stream_that_ends_is_told_from_a_leg_that_ends() -> None:
    pair = LegPair()
    stream, there = pair.open(b"hello")
    other, _ = pair.open(b"hello")
    there.abort()
    pair.settle()
    with pytest.raises(PortBroken):
        stream.read()
    assert not stream.carrier_gone
    stream.leg.abort()
    pair.settle()
    with pytest.raises(PortBroken):
        other.read()
    assert other.carrier_gone


def test_close_delivers_what_was_taken_and_answers_later_bytes_by_a_reset() -> None:
    pair = LegPair(answers)
    stream, there = pair.open(b"taken")
    reader = there.on_readable.__self__  # type: ignore[attr-defined]
    stream.write(b" too")
    stream.close()
    stream.close()
    pair.settle()
    assert (bytes(reader.data), reader.ended) == (b"taken too", True)
    there.write(b"into the void")
    pair.settle()
    with pytest.raises(PortBroken):
        there.write(b"x")
    assert pair.server.streams == pair.agent.streams == 0


def test_a_closed_stream_that_the_peer_forgets_is_swept() -> None:
    pair = LegPair()
    stream, there = pair.open()
    stream.close()
    pair.settle()
    for _ in range(int(CLOSE_LINGER // 4) + 2):
        pair.reactor.go(4.0)
        pair.settle()
    assert pair.server.streams == 0
    assert there.state & GONE


def test_over_the_budget_the_stuck_stream_goes_and_the_others_live() -> None:
    pair = LegPair(shared=LegShared(queues=QueueBudget(FIRST_WINDOW + 50_000)))
    stuck, stuck_there = pair.open()
    small, small_there = pair.open()
    stuck_reader = Reader(stuck)
    push(pair, stuck, bytes(FIRST_WINDOW))
    pair.reactor.go(1.0)
    push(pair, small, bytes(60_000))
    assert stuck_there.state & GONE
    assert "budget" in str(stuck_there._error)
    assert stuck_reader.broken is not None
    assert small_there.queued == 60_001
    assert pair.shared.queues.used == 60_001
    assert pair.shared.queues.resets == 1


def test_windows_grow_with_a_fast_reader_and_are_given_back() -> None:
    pair = LegPair(answers)
    pair.agent.rtt = 0.08
    stream, there = pair.open()
    for _ in range(60):
        push(pair, stream, bytes(stream.send_window))
        pair.reactor.go(0.08)
    assert there.window == pair.shared.window_cap
    assert pair.agent.growth.used == there.window - FIRST_WINDOW
    assert stream.send_window > FIRST_WINDOW * 8
    stream.abort()
    pair.settle()
    assert pair.agent.growth.used == 0


def test_a_small_commit_keeps_a_stream_small_and_a_large_one_makes_it_bulk() -> None:
    pair = LegPair(answers)
    stream, _ = pair.open()
    room = stream.reserve()
    assert room is not None
    assert len(room) == SHARE
    stream.commit(10)
    assert not stream.bulk
    stream.reserve()
    stream.commit(BULK)
    assert stream.bulk


def test_an_idle_stream_is_small() -> None:
    pair = LegPair()
    stream, _ = pair.open()
    assert sys.getsizeof(stream) < 400
    assert not hasattr(stream, "__dict__")


def test_a_defect_of_one_owner_ends_its_stream_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = LegPair(answers)
    crashes: list[str] = []
    monkeypatch.setattr(pair.reactor, "crashed", lambda _callback, error: crashes.append(repr(error)))
    stream, there = pair.open(b"one")
    other, other_there = pair.open(b"one")

    def defect() -> None:
        raise ZeroDivisionError("a defect")

    there.read()
    there.on_readable = defect
    stream.write(b"two")
    other.write(b"two")
    pair.settle()
    assert crashes == ["ZeroDivisionError('a defect')"]
    assert there.state & GONE
    reader = other_there.on_readable.__self__  # type: ignore[attr-defined]
    assert reader.data == b"onetwo"

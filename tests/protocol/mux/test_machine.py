"""The machine: each rule by itself, then two machines through an arbitrary channel (hypothesis)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol.errors import WireError
from protocol.mux import (
    ACK,
    DATA,
    FIN,
    FIRST_WINDOW,
    GO_AWAY,
    GONE,
    HEADER,
    HERE_ENDED,
    PING,
    RST,
    SYN,
    THERE_ENDED,
    WINDOW_UPDATE,
    Leaving,
    Role,
)
from protocol.mux.wire import MAX_ID, WORN_ID
from tests.kit.muxpair import FakeStream, Pair, Side, pattern


def frame(kind: int, flags: int, stream_id: int, value: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, flags, stream_id, value) + payload


def written(side: Side) -> list[tuple[int, int, int, int]]:
    """The headers of what `side` sends now."""
    side.flush()
    found = []
    data, side.wire = bytes(side.wire), bytearray()
    position = 0
    while position < len(data):
        header = HEADER.unpack_from(data, position)
        found.append(header)
        position += 12 + (header[3] if header[0] == DATA else 0)
    return found


def test_a_stream_opens_with_its_first_payload_and_is_acknowledged_by_the_first_answer() -> None:
    pair = Pair()
    stream = pair.server.open()
    assert stream.id == 2
    assert pair.server.send(stream, 10) == 10
    pair.server.flush()
    assert bytes(pair.server.wire) == frame(DATA, SYN, 2, 10, pattern(5, 0, 10))
    pair.carry(pair.server)
    there = pair.client.all[2]
    assert there.received == 10
    pair.client.send(there, 3)
    assert written(pair.client) == [(DATA, ACK, 2, 3)]


def test_ids_are_odd_for_the_client_and_even_for_the_server() -> None:
    pair = Pair()
    assert [pair.client.open().id for _ in range(3)] == [1, 3, 5]
    assert [pair.server.open().id for _ in range(3)] == [2, 4, 6]


def test_acknowledge_speaks_for_streams_with_nothing_to_say() -> None:
    side = Side(Role.CLIENT)
    side.receive(frame(WINDOW_UPDATE, SYN, 2, 0))
    assert written(side) == []
    side.machine.acknowledge(side.all[2])
    side.machine.acknowledge(side.all[2])
    assert written(side) == [(WINDOW_UPDATE, ACK, 2, 0)]


def test_both_ends_make_a_stream_go() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.send(stream, 5)
    pair.client.machine.finish(stream)
    pair.client.machine.finish(stream)
    pair.settle()
    there = pair.server.all[1]
    assert there.saw_end
    assert there.state == THERE_ENDED
    assert pair.server.send(there, 7) == 7  # half-closed: the answer still flows
    pair.server.machine.finish(there)
    pair.settle()
    assert stream.received == 7
    assert stream.saw_end
    assert not pair.client.machine.streams
    assert not pair.server.machine.streams


def test_an_end_is_a_frame_of_its_own_behind_the_payload() -> None:
    side = Side(Role.CLIENT)
    stream = side.open()
    side.send(stream, 5)
    side.machine.finish(stream)
    assert written(side) == [(DATA, SYN, 1, 5), (WINDOW_UPDATE, FIN, 1, 0)]


def test_payload_and_end_in_one_frame_are_understood() -> None:
    side = Side(Role.CLIENT)
    payload = pattern(5, 0, 100)
    data = frame(DATA, SYN | FIN, 2, 100, payload)
    side.receive(data[:50])  # the end comes with the rest of the payload, not before
    assert not side.all[2].saw_end
    side.receive(data[50:])
    assert side.all[2].received == 100
    assert side.all[2].saw_end


def test_a_reset_before_anything_was_sent_sends_nothing() -> None:
    side = Side(Role.SERVER)
    side.machine.reset(side.open())
    assert written(side) == []
    assert not side.machine.streams


def test_a_reset_tells_the_peer_once_and_what_is_under_way_is_skipped() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.send(stream, 5)
    pair.settle()
    there = pair.server.all[1]
    pair.client.send(stream, 1000)
    pair.client.machine.finish(stream)
    pair.server.abort(there)
    pair.server.abort(there)
    assert there.state & GONE
    pair.settle()
    assert there.received == 5
    assert stream.broken
    assert not pair.client.machine.streams


def test_a_reset_within_a_cut_payload_skips_the_rest() -> None:
    side = Side(Role.CLIENT)
    data = frame(DATA, SYN | FIN, 2, 100, pattern(5, 0, 100))
    side.receive(data[:50])
    side.abort(side.all[2])
    side.receive(data[50:] + frame(PING, SYN, 0, 9))
    assert not side.all[2].saw_end
    assert written(side) == [(PING, ACK, 0, 9), (WINDOW_UPDATE, RST, 2, 0)]


def test_a_window_is_spent_by_payload_and_refilled_by_credit() -> None:
    pair = Pair()
    stream = pair.client.open()
    while pair.client.send(stream, FIRST_WINDOW):
        pair.client.flush()
    pair.settle()
    there = pair.server.all[1]
    assert stream.sent == there.received == FIRST_WINDOW
    assert stream.send_window == there.recv_window == 0
    pair.server.consume(there, 70_000)
    pair.settle()
    assert stream.send_window == there.recv_window == 70_000


def test_credit_after_the_end_is_not_sent() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.send(stream, 500)
    pair.client.machine.finish(stream)
    pair.settle()
    pair.server.consume(pair.server.all[1], 500)
    assert written(pair.server) == []


def test_pings_are_answered_and_heard() -> None:
    pair = Pair()
    pair.client.machine.ping(77)
    pair.settle()
    assert pair.client.pongs == [77]


def test_after_go_away_new_streams_are_refused_and_old_ones_drain() -> None:
    pair = Pair()
    stream = pair.server.open()
    pair.server.send(stream, 5)
    pair.settle()
    drained: list[str] = []
    pair.client.machine.on_drained = lambda: drained.append("client")
    pair.server.machine.on_drained = lambda: drained.append("server")
    pair.client.machine.go_away()
    pair.client.machine.go_away()
    late = pair.server.open()  # the go away is still under way
    pair.server.send(late, 5)
    pair.settle()
    assert pair.server.machine.peer_going == Leaving.NORMAL
    assert late.broken
    assert not pair.server.machine.can_open
    with pytest.raises(WireError):
        pair.server.open()
    with pytest.raises(WireError):
        pair.client.open()
    assert not drained
    there = pair.client.all[2]
    pair.client.send(there, 1000)
    pair.client.machine.finish(there)
    pair.server.machine.finish(stream)
    pair.settle()
    assert stream.received == 1000
    assert not pair.client.machine.streams
    assert sorted(drained) == ["client", "server"]


def test_too_many_streams_are_refused() -> None:
    side = Side(Role.CLIENT)
    side.machine.max_streams = 2
    for stream_id in (2, 4, 6):
        side.receive(frame(WINDOW_UPDATE, SYN, stream_id, 0))
    assert written(side) == [(WINDOW_UPDATE, RST, 6, 0)]
    with pytest.raises(WireError, match="no more streams"):
        side.open()


def test_ids_end_before_they_could_be_read_as_negative() -> None:
    side = Side(Role.SERVER)
    side.machine.next_id = WORN_ID + 2
    assert side.machine.worn
    side.machine.next_id = MAX_ID - 1
    assert side.open().id == MAX_ID - 1
    assert not side.machine.can_open
    with pytest.raises(WireError):
        side.open()


def test_an_opening_may_arrive_behind_a_later_one() -> None:
    """Go's side numbers streams before it queues them."""
    side = Side(Role.CLIENT)
    side.receive(frame(WINDOW_UPDATE, SYN, 4, 0) + frame(WINDOW_UPDATE, SYN, 2, 0))
    assert set(side.machine.streams) == {2, 4}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x0100, 0, 1, 0), "mux_type"),
        (frame(4, 0, 1, 0), "mux_type"),
        (frame(DATA, 16, 1, 0), "mux_flags"),
        (frame(DATA, 0, 0, 0), "mux_id"),
        (frame(DATA, 0, 1, 0), "mux_id"),
        (frame(DATA, 0, 2, 0), "mux_id"),
        (frame(DATA, SYN, 0, 0), "mux_id"),
        (frame(DATA, SYN, 1, 0), "mux_id"),
        (frame(WINDOW_UPDATE, 0, 4, 1), "mux_id"),
        (frame(DATA, SYN, 2, 0) + frame(DATA, SYN, 2, 0), "mux_twice"),
        (frame(DATA, SYN, 2, FIRST_WINDOW + 1), "mux_window"),
        (frame(DATA, SYN, 2, 2**32 - 1), "mux_window"),
        (frame(WINDOW_UPDATE, SYN, 2, 2**32 - 1), "mux_window"),
        (frame(DATA, SYN | FIN, 2, 0) + frame(DATA, FIN, 2, 0), "mux_ended"),
        (frame(DATA, SYN | FIN, 2, 0) + frame(DATA, 0, 2, 1, b"x"), "mux_window"),
        (frame(PING, 0, 0, 1), "mux_flags"),
        (frame(GO_AWAY, 0, 0, 1), "mux_left"),
        (frame(GO_AWAY, 0, 0, 77), "mux_left"),
    ],
)
def test_broken_rules_are_named(data: bytes, code: str) -> None:
    side = Side(Role.CLIENT)
    with pytest.raises(WireError) as caught:
        side.receive(data)
    assert caught.value.code == code


@given(st.lists(st.integers(1, 400), max_size=40), st.binary(max_size=11))
def test_the_same_bytes_in_any_pieces_mean_the_same(cuts: list[int], trailer: bytes) -> None:
    sender, whole, pieces = Side(Role.SERVER), Side(Role.CLIENT), Side(Role.CLIENT)
    for count in (1, 700, 30):
        stream = sender.open()
        sender.send(stream, count)
        sender.machine.finish(stream)
    sender.machine.ping(5)
    sender.flush()
    data = bytes(sender.wire) + trailer.replace(b"\0", b"")[:11]
    try:
        whole.receive(data)
    except WireError:
        raise AssertionError("valid frames were refused") from None
    position = 0
    for cut in [*cuts, len(data)]:
        pieces.receive(data[position : position + cut])
        position += cut
    if position < len(data):
        pieces.receive(data[position:])
    for stream_id, stream in whole.all.items():
        assert vars(pieces.all[stream_id]) | {"side": None} == vars(stream) | {"side": None}
    assert pieces.carry == whole.carry
    assert written(pieces) == written(whole)


@given(st.binary(max_size=300), st.integers(0, 3))
def test_noise_is_taken_or_refused_by_name(noise: bytes, bias: int) -> None:
    side = Side(Role.CLIENT)
    side.all.clear()
    data = frame(WINDOW_UPDATE, SYN, 2, 0) + (bytes([0, bias, 0]) + noise if bias else noise)
    fed = Side(Role.CLIENT)
    fed.machine._accept = lambda stream_id: Sink(fed, ACK, stream_id)
    try:
        fed.receive(data)
    except WireError as error:
        if not error.code.startswith("mux_"):
            raise


class Sink(FakeStream):
    """Takes any payload."""

    def deliver(self, part: memoryview) -> None:
        self.received += len(part)


SIDES = st.booleans()
PICK = st.integers(0, 2**16)


class TwoMachines(RuleBasedStateMachine):
    """Any sequence of calls on both sides, with a channel that cuts and delays as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.pings = [0, 0]

    def side(self, which: bool) -> Side:
        return self.pair.server if which else self.pair.client

    def pick(self, which: bool, number: int) -> FakeStream | None:
        streams = list(self.side(which).machine.streams.values())
        return streams[number % len(streams)] if streams else None

    @rule(which=SIDES)
    def open(self, which: bool) -> None:
        side = self.side(which)
        if side.machine.can_open and len(side.machine.streams) < 12:
            side.open()

    @rule(which=SIDES, number=PICK, count=st.integers(1, 100_000))
    def send(self, which: bool, number: int, count: int) -> None:
        stream = self.pick(which, number)
        if stream is not None:
            self.side(which).send(stream, count)

    @rule(which=SIDES, number=PICK, count=st.integers(1, 300_000))
    def consume(self, which: bool, number: int, count: int) -> None:
        stream = self.pick(which, number)
        if stream is not None:
            self.side(which).consume(stream, count)

    @rule(which=SIDES, number=PICK)
    def finish(self, which: bool, number: int) -> None:
        stream = self.pick(which, number)
        if stream is not None:
            self.side(which).machine.finish(stream)

    @rule(which=SIDES, number=PICK)
    def reset(self, which: bool, number: int) -> None:
        stream = self.pick(which, number)
        if stream is not None:
            self.side(which).abort(stream)

    @rule(which=SIDES)
    def ping(self, which: bool) -> None:
        self.pings[which] += 1
        self.side(which).machine.ping(self.pings[which])

    @rule(which=SIDES)
    def acknowledge(self, which: bool) -> None:
        for stream in self.side(which).machine.streams.values():
            self.side(which).machine.acknowledge(stream)

    @rule(which=SIDES)
    @precondition(lambda self: self.pings[0] + self.pings[1] > 3)
    def go_away(self, which: bool) -> None:
        self.side(which).machine.go_away()

    @rule(which=SIDES, most=st.integers(0, 200_000))
    def write(self, which: bool, most: int) -> None:
        self.side(which).flush(most)

    @rule(which=SIDES, most=st.one_of(st.integers(0, 40), st.integers(0, 200_000)))
    def carry(self, which: bool, most: int) -> None:
        self.pair.carry(self.side(which), most)

    @invariant()
    def windows_hold(self) -> None:
        for side in (self.pair.client, self.pair.server):
            for stream in side.machine.streams.values():
                assert stream.send_window >= 0
                assert 0 <= stream.recv_window <= FIRST_WINDOW
                assert not stream.state & GONE

    def teardown(self) -> None:
        self.pair.settle()
        for side in (self.pair.client, self.pair.server):
            peer = self.pair.peer(side)
            assert side.pongs == sorted(set(side.pongs))
            assert not side.wire
            assert not side.out.backlog
            assert side.pool.lent == 0
            for stream in side.all.values():
                self.judge(stream, peer.all.get(stream.id))
            assert {i for i, s in side.machine.streams.items() if s.sent or not s.owes & SYN} <= set(
                peer.machine.streams
            )

    def judge(self, stream: FakeStream, there: FakeStream | None) -> None:
        """What was sent has arrived, unless somebody reset the stream or refused it."""
        if there is None:
            assert stream.owes & SYN or stream.broken or stream.aborted
        elif not (stream.aborted or there.aborted or stream.broken or there.broken):
            assert there.received == stream.sent
            assert there.saw_end == bool(stream.state & HERE_ENDED)
            assert stream.send_window == there.recv_window or there.saw_end


TestTwoMachines = TwoMachines.TestCase
TestTwoMachines.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

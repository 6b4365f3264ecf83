"""The outbox: payload in place, frames in order, urgent ones in front, a rest that stays where it is."""

from __future__ import annotations

import pytest

from protocol.mux import DATA, FIN, HEADER, HEADER_BYTES, PING, RST, SYN, WINDOW_UPDATE, BatchPool, Outbox
from protocol.mux.outbox import BATCH_BYTES, FRONT_BYTES, LEAST_ROOM, POOL_KEEPS, TAIL_BYTES


def lent(out: Outbox, most: int) -> memoryview:
    room = out.lend(most)
    assert room is not None
    return room


def taken(out: Outbox) -> bytes:
    batch = out.take()
    assert batch is not None
    data = bytes(batch)
    assert out.sent(len(batch))
    return data


def test_payload_is_framed_where_it_was_read() -> None:
    out = Outbox(BatchPool())
    room = lent(out, 100)
    assert len(room) == 100
    room[:5] = b"hello"
    out.commit(2, SYN, 5)
    lent(out, 100)[:1] = b"x"
    out.commit(4, 0, 1)
    assert taken(out) == HEADER.pack(DATA, SYN, 2, 5) + b"hello" + HEADER.pack(DATA, 0, 4, 1) + b"x"
    assert out.take() is None


def test_room_given_back_leaves_no_trace() -> None:
    out = Outbox(BatchPool())
    lent(out, 100)
    out.commit(2, 0, 0)
    assert out.take() is None
    assert not out.shut


def test_more_than_was_lent_is_refused() -> None:
    out = Outbox(BatchPool())
    lent(out, 10)
    with pytest.raises(ValueError, match="11 bytes committed"):
        out.commit(2, 0, 11)


def test_urgent_frames_stand_in_front() -> None:
    out = Outbox(BatchPool())
    lent(out, 1)[:1] = b"x"
    out.commit(2, 0, 1)
    out.urgent(PING, SYN, 0, 7)
    out.urgent(WINDOW_UPDATE, 0, 2, 9)
    urgent = HEADER.pack(PING, SYN, 0, 7) + HEADER.pack(WINDOW_UPDATE, 0, 2, 9)
    assert taken(out) == urgent + HEADER.pack(DATA, 0, 2, 1) + b"x"


def test_many_urgent_frames_take_several_batches() -> None:
    out = Outbox(BatchPool())
    count = FRONT_BYTES // 12 * 2 + 1
    for number in range(count):
        out.urgent(PING, SYN, 0, number)
    sent = taken(out) + taken(out) + taken(out)
    assert sent == b"".join(HEADER.pack(PING, SYN, 0, number) for number in range(count))
    assert out.backlog == 0


def test_a_rest_stays_and_shuts_the_box() -> None:
    out = Outbox(BatchPool())
    lent(out, 10)[:] = b"0123456789"
    out.commit(2, 0, 10)
    first = out.take()
    assert first is not None
    assert not out.sent(15)
    assert out.lend(10) is None
    out.frame(WINDOW_UPDATE, FIN, 2, 0)  # waits for the next batch
    rest = out.take()
    assert rest is not None
    assert rest.obj is first.obj
    assert bytes(rest) == b"3456789"
    assert not out.sent(0)
    assert out.sent(7)
    assert taken(out) == HEADER.pack(WINDOW_UPDATE, FIN, 2, 0)


def test_frames_wait_while_room_is_lent_and_come_behind_it() -> None:
    out = Outbox(BatchPool())
    room = lent(out, 4)
    out.frame(WINDOW_UPDATE, RST, 6, 0)
    room[:] = b"data"
    out.commit(2, 0, 4)
    assert taken(out) == HEADER.pack(DATA, 0, 2, 4) + b"data" + HEADER.pack(WINDOW_UPDATE, RST, 6, 0)


def test_room_never_committed_is_void_when_the_batch_goes() -> None:
    out = Outbox(BatchPool())
    lent(out, 4)
    out.urgent(PING, SYN, 0, 1)
    assert taken(out) == HEADER.pack(PING, SYN, 0, 1)
    with pytest.raises(ValueError, match="0 were lent"):
        out.commit(2, 0, 4)


def test_a_full_batch_lends_nothing_but_takes_endings() -> None:
    out = Outbox(BatchPool())
    assert len(lent(out, 10**9)) == out.free == BATCH_BYTES - HEADER_BYTES  # with its header: whole TLS records
    out.commit(2, 0, out.free - HEADER_BYTES - LEAST_ROOM + 1)
    assert out.lend(LEAST_ROOM) is None
    assert out.lend(100) is not None  # fits
    out.commit(2, 0, 0)
    endings = TAIL_BYTES // 12 + 200
    for number in range(endings):
        out.frame(WINDOW_UPDATE, FIN, number, 0)
    assert out.backlog
    sent = taken(out)
    assert len(sent) <= BATCH_BYTES + TAIL_BYTES
    sent += taken(out)
    assert sent[-12:] == HEADER.pack(WINDOW_UPDATE, FIN, endings - 1, 0)
    assert not out.backlog


def test_an_idle_box_holds_no_buffer_and_the_pool_keeps_few() -> None:
    pool = BatchPool()
    boxes = [Outbox(pool) for _ in range(POOL_KEEPS + 3)]
    for out in boxes:
        lent(out, 1)
        out.commit(2, 0, 1)
    assert pool.lent == len(boxes)
    for out in boxes:
        taken(out)
        assert out.buffer is None
    assert pool.lent == 0
    assert len(pool._free) == POOL_KEEPS


def test_drop_lets_go_of_all() -> None:
    pool = BatchPool()
    out = Outbox(pool)
    lent(out, 1)
    out.commit(2, 0, 1)
    out.urgent(PING, SYN, 0, 1)
    out.drop()
    assert pool.lent == 0
    assert out.lend(1) is None
    assert out.backlog == 0

"""The table itself: shape, and that nothing leads out of it."""

from __future__ import annotations

from protocol import chunk_table
from protocol.chunk_table import CHUNK, DONE, QUOTED, REFUSED, START, TABLE, TRAILER_VALUE


def test_shape() -> None:
    assert all(len(row) == 256 for row in TABLE)
    assert max(max(row) for row in TABLE) < len(TABLE)
    for end in (REFUSED, CHUNK, DONE):
        assert set(TABLE[end]) == {REFUSED}


def test_every_state_can_be_reached() -> None:
    reached, todo = (
        {START, chunk_table.DATA_CR, chunk_table.TRAILER_START},
        [START, chunk_table.DATA_CR, chunk_table.TRAILER_START],
    )
    while todo:
        for following in set(TABLE[todo.pop()]) - reached - {REFUSED}:
            reached.add(following)
            todo.append(following)
    named = {value for name, value in vars(chunk_table).items() if name.isupper() and isinstance(value, int)}
    assert named - reached == {REFUSED}


def test_no_line_end_or_control_byte_is_text() -> None:
    for state in (QUOTED, TRAILER_VALUE):
        for byte in (*range(0x20), 0x7F):
            if byte not in (0x09, 0x0D):
                assert TABLE[state][byte] == REFUSED
    assert TABLE[QUOTED][0x0D] == REFUSED

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.sse import EventReader, ServerEvent

WIRE = b"\xef\xbb\xbf: hello\n\nevent: add\r\ndata: 73857293\r\ndata\rid: 5\n\ndata:  two\n\nretry: 5\n\nunknown\n"
WIRE += b"data: last\n\nopen"
EVENTS = [
    ServerEvent("add", b"73857293\n", 9, "5"),
    ServerEvent("message", b" two", 4, ""),
    ServerEvent("message", b"last", 4, ""),
]


@given(st.integers(1, len(WIRE)))
def test_cut_anywhere(step: int) -> None:
    reader = EventReader(100)
    assert [e for start in range(0, len(WIRE), step) for e in reader.feed(WIRE[start : start + step])] == EVENTS


def test_a_long_event_is_cut() -> None:
    reader = EventReader(10)
    (event,) = reader.feed(b"data: 0123456789abc\n\n")
    assert (event.data, event.size) == (b"0123456789", 13)


@given(st.lists(st.binary(max_size=50)))
def test_any_bytes(parts: list[bytes]) -> None:
    reader = EventReader(64)
    for part in parts:
        assert all(len(event.data) <= 64 for event in reader.feed(part))

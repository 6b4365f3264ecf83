from __future__ import annotations

import zlib

import pytest

from ngrokc.inspect.backroom import Work
from ngrokc.inspect.coded_events import WAITING, CodedEvents, Found
from ngrokc.inspect.heads import Unreadable


class Teller:
    """What was told, and the work that a thread would do."""

    def __init__(self) -> None:
        self.found: Found = []
        self.whys: list[str] = []
        self.jobs: list[tuple[Work, Work]] = []

    def offload(self, work: Work, then: Work) -> None:
        self.jobs.append((work, then))

    def tell(self, found: Found, why: str) -> None:
        self.found += found
        self.whys += [why] if why else []

    def work(self) -> None:
        while self.jobs:
            work, then = self.jobs.pop(0)
            work()
            then()


def packed(*words: bytes) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    return [packer.compress(b"data: " + word + b"\n\n") + packer.flush(zlib.Z_SYNC_FLUSH) for word in words]


def test_one_piece_of_work_at_a_time_and_times_stay() -> None:
    it = Teller()
    events = CodedEvents([b"gzip"], 1000, it.offload, it.tell)
    for at, data in enumerate(packed(b"one", b"two", b"three")):
        events.feed(float(at), data)
    assert len(it.jobs) == 1
    it.work()
    assert [(at, event.data) for at, event in it.found] == [(0.0, b"one"), (1.0, b"two"), (2.0, b"three")]
    assert it.whys == []


def test_damage_is_told_once() -> None:
    it = Teller()
    events = CodedEvents([b"gzip"], 1000, it.offload, it.tell)
    first, second = packed(b"one", b"two")
    events.feed(0.0, first + b"nonsense" * 9)
    events.feed(0.0, second)
    it.work()
    assert [event.data for _, event in it.found] == []
    assert it.whys == ["damaged compressed data"]


def test_what_waits_is_bounded() -> None:
    it = Teller()
    events = CodedEvents([b"gzip"], 1000, it.offload, it.tell)
    events.feed(0.0, b"")
    with pytest.raises(Unreadable, match="faster"):
        for _ in range(1000):
            events.feed(0.0, bytes(WAITING // 100))

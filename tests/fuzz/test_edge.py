"""The fuzz programs' checks, shortly, in the suite; and that the one for the edge can find something."""

from __future__ import annotations

import random

import h11
import pytest

from tests.fuzz import edge
from tests.fuzz.loop import Mutator
from tests.kit.memory_port import memory_pair


def test_a_thousand_connections_of_any_kind() -> None:
    mutator = Mutator(20260101, edge.originals())
    seen = {edge.check(mutator, mutator.next()) for _ in range(1000)}
    assert seen == {"forwarded", "answered", "silent"}


def test_what_h11_refuses_is_a_finding() -> None:
    near, far = memory_pair()
    service = edge._Service(far, verdict=False)
    near.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert service.take() == 1
    near.write(b"GET / HTTP/1.1\r\nBad Name: a\r\n\r\n")
    with pytest.raises(h11.RemoteProtocolError):
        service.take()


def test_a_visitor_that_is_left_behind_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngrokd.edge.http.HttpEdge.forget", lambda *_: None)
    mutator = Mutator(1, [b"nonsense\r\n\r\n"])
    mutator.random = random.Random(1)
    with pytest.raises(AssertionError, match="a visitor is left"):
        edge.check(mutator, b"nonsense\r\n\r\n")

"""Whom an exchange waits for, and until when; with halves of an exchange that only hold numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ngrokd.edge.downward import Phase
from ngrokd.edge.patience import STALL_FLOOR, STALL_SECONDS, UPLOAD_SECONDS, VERDICT_SECONDS, Enough, Patience


def halves(**changes: Any) -> tuple[Any, Any]:
    up = SimpleNamespace(count=100, done=True, blocked=False, finished=True, holds_end=False)
    down = SimpleNamespace(count=0, phase=Phase.HEAD, blocked=False, begun=False)
    for name, value in changes.items():
        which, _, field = name.partition("_")
        setattr(up if which == "up" else down, field, value)
    return up, down


def test_a_verdict_has_its_time_and_no_more() -> None:
    up, down = halves(down_phase=Phase.VERDICT)
    assert Patience().look(up, down, 3.0, 0.0) == VERDICT_SECONDS - 3
    found = Patience().look(up, down, VERDICT_SECONDS, 0.0)
    assert isinstance(found, Enough)
    assert found.code == "agent_silent"


def test_a_look_for_the_verdict_judges_nobody_else() -> None:
    up, down = halves(up_done=False)
    assert Patience().look(up, down, VERDICT_SECONDS, 0.0) == STALL_SECONDS - VERDICT_SECONDS


def test_an_answer_is_waited_for_for_ever() -> None:
    patience = Patience()
    for now in range(20, 100_000, 20):
        assert patience.look(*halves(), float(now), 0.0) == STALL_SECONDS


def test_a_visitor_must_move() -> None:
    up, down = halves(up_done=False, up_finished=False)
    patience = Patience()
    up.count = STALL_FLOOR
    assert patience.look(up, down, 20.0, 0.0) == STALL_SECONDS
    up.count += STALL_FLOOR - 1
    assert patience.look(up, down, 40.0, 0.0) == Enough("request_timeout", "the visitor is too slow")
    up, down = halves(down_blocked=True)
    assert isinstance(Patience().look(up, down, 20.0, 0.0), Enough)


def test_a_service_that_reads_nothing_of_an_upload_has_long() -> None:
    up, down = halves(up_done=False, up_finished=False, up_blocked=True)
    patience = Patience()
    assert patience.look(up, down, 20.0, 0.0) == STALL_SECONDS
    assert patience.look(up, down, 19.0 + UPLOAD_SECONDS, 0.0) == STALL_SECONDS
    found = patience.look(up, down, 20.0 + UPLOAD_SECONDS, 0.0)
    assert isinstance(found, Enough)
    assert found.code == "upstream_timeout"
    up.count += 1
    assert patience.look(up, down, 40.0 + UPLOAD_SECONDS, 0.0) == STALL_SECONDS
    assert patience.look(up, down, 60.0 + UPLOAD_SECONDS, 0.0) == STALL_SECONDS


def test_silence_begins_with_the_stream_not_with_an_exchange_before_it() -> None:
    up, down = halves(up_done=False, up_finished=False, up_blocked=True, up_count=0)
    assert Patience().look(up, down, 10_020.0, 10_000.0) == STALL_SECONDS


def test_a_stalled_upload_beside_an_answer() -> None:
    for phase, begun, code in ((Phase.BODY, True, None), (Phase.DONE, True, "")):
        up, down = halves(up_done=False, up_finished=False, up_blocked=True, down_phase=phase, down_begun=begun)
        patience = Patience()
        patience.look(up, down, 20.0, 0.0)
        found = patience.look(up, down, 20.0 + UPLOAD_SECONDS, 0.0)
        assert (found.code if isinstance(found, Enough) else None) == code


def test_a_visitor_whose_end_is_held_back_and_who_moves_nothing_has_left() -> None:
    up, down = halves(up_holds_end=True)
    patience = Patience()
    patience.moved = 100
    found = patience.look(up, down, 5.0, 0.0)
    assert isinstance(found, Enough)
    assert found.code == "gone"
    up.count += 1
    assert patience.look(up, down, 6.0, 0.0) == STALL_SECONDS

"""Every event has a line, at the level that fits."""

import pytest
import structlog
from structlog.testing import LogCapture

from ngrokc.event_log import log_events, write_event
from ngrokc.events import (
    ConnectionClosed,
    ConnectionOpened,
    Event,
    EventBus,
    Latency,
    Notice,
    SessionStarted,
    StateChanged,
    TunnelClosed,
    TunnelOnline,
    TunnelRefused,
)
from protocol.link.logs import Log


def logger(capture: LogCapture) -> Log:
    log: Log = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    return log


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (StateChanged("online"), "info"),
        (StateChanged("reconnecting", "x", 1.0), "warning"),
        (SessionStarted("1.7", "s", "c", (), "h"), "info"),
        (Latency(0.1), "debug"),
        (TunnelOnline("t", "u", "http", "x"), "info"),
        (TunnelRefused("t", "http", "c", "m", True), "warning"),
        (TunnelClosed("t", "u", "asked", ""), "info"),
        (TunnelClosed("t", "u", "taken_over", ""), "warning"),
        (ConnectionOpened("t", "u", "1", "a"), "debug"),
        (ConnectionClosed("t", "1", 1, 2, 0.1, None), "debug"),
        (ConnectionClosed("t", "1", 1, 2, 0.1, "reset"), "warning"),
        (Notice("error", "m"), "error"),
    ],
)
def test_levels(event: Event, level: str) -> None:
    capture = LogCapture()
    write_event(logger(capture), event)
    assert [entry["log_level"] for entry in capture.entries] == [level]


def test_a_state_says_what_it_has_to_say() -> None:
    capture = LogCapture()
    write_event(logger(capture), StateChanged("online"))
    write_event(logger(capture), StateChanged("reconnecting", "gone", 1.4842197740671867))
    online, waiting = capture.entries
    assert online == {"event": "state", "log_level": "info", "state": "online"}
    assert (waiting["reason"], waiting["retry_in"]) == ("gone", 1.5)


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (None, "visitor left"),
        ("visitor: reset by the other side", "visitor left"),
        ("upstream: write: Broken pipe", "visitor cut off"),
    ],
)
def test_who_ended_it(failure: str | None, line: str) -> None:
    capture = LogCapture()
    write_event(logger(capture), ConnectionClosed("t", "1", 1, 2, 0.1, failure))
    assert [entry["event"] for entry in capture.entries] == [line]


async def test_lost_events_are_counted() -> None:
    capture, bus = LogCapture(), EventBus()
    with bus.subscribe(cap=2) as events:
        for _ in range(5):
            bus.publish(Latency(1))
        bus.close()
        await log_events(logger(capture), events)
    assert [entry["log_level"] for entry in capture.entries] == ["debug", "debug", "warning"]
    assert capture.entries[-1]["dropped"] == 3


def test_a_client_id_is_not_shown_whole() -> None:
    capture = LogCapture()
    write_event(logger(capture), SessionStarted("1.7", "s", "0123456789abcdef0123456789abcdef", (), "h"))
    assert capture.entries[0]["client_id"] == "01234567..."


def test_a_visitor_that_leaves_is_no_warning() -> None:
    left = ConnectionClosed("web", "c1", 1, 2, 0.1, "visitor: reset by the other side")
    broke = ConnectionClosed("web", "c1", 1, 2, 0.1, "upstream: connection refused")
    fine = ConnectionClosed("web", "c1", 1, 2, 0.1, None)
    assert (left.ours, broke.ours, fine.ours) == (False, True, False)

"""One line for each thing a person should read, safe to print."""

import pytest

from ngrokc.events import (
    ConnectionOpened,
    Event,
    Latency,
    Notice,
    SessionStarted,
    StateChanged,
    TunnelClosed,
    TunnelOnline,
    TunnelRefused,
)
from ngrokc.term import describe


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (StateChanged("connecting"), "connecting"),
        (StateChanged("reconnecting", "the link is gone", 1.25), "reconnecting in 1.2 s: the link is gone"),
        (StateChanged("reconnecting", "the link is gone", 0.04), "reconnecting now: the link is gone"),
        (StateChanged("reconnecting", "", 0.06), "reconnecting in 0.1 s"),
        (StateChanged("reconnecting"), "reconnecting"),
        (StateChanged("online"), None),
        (StateChanged("closed"), "closed"),
        (SessionStarted("1.7", "s", "c", (), "h:1"), "online at h:1 (server 1.7, an ngrok 1.7)"),
        (SessionStarted("ngrokd 0.1.0", "s", "c", ("mux",), "h:1"), "online at h:1 (server ngrokd 0.1.0)"),
        (TunnelOnline("t", "http://a", "http", "127.0.0.1:80"), "http://a -> 127.0.0.1:80"),
        (TunnelRefused("t", "http", "x", "taken", True), "tunnel t (http) refused: taken; it will be asked for again"),
        (
            TunnelRefused("t", "http", "bad_name", "no", False),
            "tunnel t (http) refused: no; waiting does not help, so it is not asked for again",
        ),
        (TunnelClosed("t", "http://a", "taken_over", ""), "http://a closed: taken_over"),
        (Notice("warning", "hm\x1b[2J"), "warning: hm\\x1b[2J"),
        (Notice("debug", "hm"), None),
        (Latency(0.1), None),
        (ConnectionOpened("t", "u", "1", "a"), None),
    ],
)
def test_lines(event: Event, line: str | None) -> None:
    assert describe(event) == line

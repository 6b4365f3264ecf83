from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ngrokc.screen_view import Picture, RequestLine, TunnelLine, qr_lines, render, seconds_text

CONTROL = re.compile(r"\x1b\[[0-9;]*m")
DANGER = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def picture(text: str = "x", count: int = 3) -> Picture:
    line = RequestLine("10:00:00", text, text, 200, text, "5 ms")
    return Picture("online", text, text, text, 0.1, text, (TunnelLine(text, text, "online"),) * count, 1, 1,
                   (0.1, 0.2, 0.3, 0.4), (line,) * count, 5, text, text * 4)  # fmt: skip


@given(st.text(max_size=60), st.integers(20, 140), st.integers(4, 50), st.integers(0, 30), st.booleans())
def test_any_text_stays_within_its_window_and_moves_nothing(
    text: str, width: int, height: int, count: int, colour: bool
) -> None:
    lines = render(picture(text, count), width, height, colour=colour)
    assert len(lines) <= height
    for line in lines:
        plain = CONTROL.sub("", line)
        assert not DANGER.search(plain)
        assert cell_len(plain) <= width


def test_a_notice_is_shown_in_full_where_it_can_be() -> None:
    shown = render(replace(picture(), notice="add `host_header: rewrite` to the tunnel " * 2), 60, 24, colour=False)
    rows = [CONTROL.sub("", line) for line in shown]
    first = next(number for number, row in enumerate(rows) if row.startswith("Notice        add `host_header"))
    assert rows[first + 1].startswith(" " * 14)
    assert not any(row.startswith("Notice") for row in render(replace(picture(), notice=""), 60, 24, colour=False))


def test_a_small_window_shows_what_matters_most() -> None:
    tunnels = (
        TunnelLine("http://shop.localhost:9180", "127.0.0.1:8080", "online"),
        TunnelLine("tcp://x:1", "y:2", "online"),
    )
    small = replace(picture(), tunnels=tunnels, notice="words " * 40, message="")
    rows = [CONTROL.sub("", line).rstrip() for line in render(small, 40, 12, colour=False)]
    assert "Forwarding    http://shop.localhost:9180" in rows  # whole, rather than half of it and its upstream
    assert "              tcp://x:1 -> y:2" in rows
    assert "HTTP requests" in "\n".join(rows)
    assert not any(row.startswith("Version") for row in rows)


def test_a_code() -> None:
    lines = qr_lines("http://test.example.me")
    assert len({len(line) for line in lines}) == 1
    assert set("".join(lines)) <= set("█▀▄ ")
    shown = "\n".join(render(replace(picture(), qr="http://a.example.me"), 60, 10, colour=False))
    assert "too small" in shown


def test_durations() -> None:
    assert [seconds_text(value) for value in (0.0004, 0.25, 12)] == ["0 ms", "250 ms", "12 s"]

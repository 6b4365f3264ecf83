"""The screen in a real pseudo-terminal, read back with pyte."""

from __future__ import annotations

import base64
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte
import pytest

from ngrokc.events import Notice
from ngrokc.inspect.model import Connection, Exchange
from ngrokc.screen import Screen, refused_line, request_line
from ngrokc.version import VERSION
from tests.kit.inspection import ORIGIN, Bench, FakeAgent

WAIT = 20.0


class Window:
    """A terminal with a program in it."""

    def __init__(self, columns: int, rows: int, tunnels: int, **environ: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        environment = {**os.environ, "TERM": "xterm-256color", **environ}
        environment.pop("NO_COLOR", None) if "NO_COLOR" not in environ else None
        command = [sys.executable, "-m", "tests.kit.screen_demo", str(tunnels)]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        self.slave = slave
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, done: Callable[[], bool]) -> None:
        """Read what the program writes until the screen is as wanted."""
        end = time.monotonic() + WAIT
        while not done():
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, "\n".join(self.screen.display)
            data = os.read(self.master, 65536)
            self.raw += data
            self.stream.feed(data)

    def shows(self, text: str) -> None:
        self.until(lambda: any(text in line for line in self.screen.display))

    def line(self, text: str) -> str:
        return next(line.rstrip() for line in self.screen.display if text in line)

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())


@contextmanager
def window(columns: int, rows: int, tunnels: int = 2, **environ: str) -> Iterator[Window]:
    it = Window(columns, rows, tunnels, **environ)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.wait()
        os.close(it.slave)
        os.close(it.master)


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (200, 50)])
def test_what_stands_where(columns: int, rows: int) -> None:
    with window(columns, rows) as it:
        it.shows("302")
        assert it.line("Session") == "Session       online"
        assert it.line("t0.") == "Forwarding    http://t0.example.me -> 127.0.0.1:8000"
        assert it.line("t1.") == "              http://t1.example.me -> 127.0.0.1:8001"
        assert it.line("Version") == f"Version       {VERSION}, server ngrokd 0.1.0"
        assert it.line("Latency").endswith("12 ms")
        assert "http://127.0.0.1:" in it.line("Inspector")
        assert it.line("Connections").startswith("Connections   7 in all, 1 open")
        assert it.line("201 Created").split()[1:3] == ["POST", "/hook?access_token=********"]
        assert all(len(line) <= columns for line in it.screen.display)
        shown = "\n".join(it.screen.display)
        assert "sekrit" not in shown
        assert r"\x1b[2J" in shown
        assert it.raw.count(b"\x1b[2J") <= 2
        assert b"\x1b]0;" not in it.raw
        assert "\u202e".encode() not in it.raw


@pytest.mark.slow
def test_narrow_and_low_windows_many_tunnels_and_resizing() -> None:
    with window(34, 16, tunnels=30) as it:
        it.shows("more")
        assert it.line("more").split() == ["and", "27", "more"]  # the requests keep their place
        assert all(len(line) <= 34 for line in it.screen.display)
        it.screen.resize(30, 110)
        it.resize(110, 30)
        it.shows("o inspect")
        it.shows("t3.example.me")
        it.shows("302 Found")


@pytest.mark.slow
def test_keys_and_a_terminal_left_as_it_was() -> None:
    with window(80, 40) as it:
        it.shows("302")
        it.press("c")
        it.shows("copied http://t0.example.me")
        assert b"\x1b]52;c;" + base64.b64encode(b"http://t0.example.me") in it.raw
        it.press("Q")
        it.shows("▀")
        it.press("QQ")
        it.shows("Forwarding")
        it.press("q")
        it.until(lambda: b"bye" in it.raw)
        assert it.process.wait(10) == 0
        assert termios.tcgetattr(it.slave) == it.before
        assert it.raw.rstrip().endswith(b"\x1b[?1049l" + b"bye")


@pytest.mark.slow
def test_an_agent_ends_with_its_window() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tests.kit.screen_demo", "2"]
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    os.close(slave)
    try:
        os.read(master, 1)
        os.close(master)
        assert process.wait(WAIT) is not None
    finally:
        process.kill()


@pytest.mark.slow
def test_no_color() -> None:
    with window(80, 24, NO_COLOR="1") as it:
        it.shows("302")
        assert not re.search(rb"\x1b\[(?:[0-9]+;)*[349][0-7]m", it.raw)


async def test_what_a_person_should_read_stays_on_the_screen() -> None:
    agent = FakeAgent()
    screen = Screen(agent, None, lambda: None)
    with agent.events.subscribe() as events:
        agent.events.publish(Notice("warning", "read this"))
        agent.events.publish(Notice("info", "not this"))
        agent.events.close()
        await screen.follow(events)
    assert screen.picture().notice == "read this"


def test_a_line_for_each_state() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET /a HTTP/1.1\r\n\r\n")
    (exchange,) = bench.exchanges()
    assert isinstance(exchange, Exchange)
    assert (request_line(exchange).text, request_line(exchange).duration) == ("...", "")
    talk.closed(3, "upstream: reset")
    line = request_line(exchange)
    assert (line.text, line.duration, line.failed) == ("failed: upstream: reset", "2000 ms", True)


def test_a_line_for_who_got_no_answer() -> None:
    connection = Connection("1", ORIGIN, 1)
    connection.failure = "upstream_refused: nothing listens there"
    line = refused_line(connection)
    assert (line.path, line.text, line.failed) == ("(nothing listens there)", "no answer", True)

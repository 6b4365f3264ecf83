"""The live terminal screen: session, tunnels, connections, the last requests. trio owns the loop, rich only paints.

It reads the agent and the inspector and changes neither. Whoever runs it decides what `q` means (`stop`).
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import trio

from ngrokc.events import Notice, Subscription
from ngrokc.inspect.inspector import Inspector
from ngrokc.inspect.mask import mask_text_target
from ngrokc.inspect.model import Connection, Exchange
from ngrokc.screen_view import Picture, RequestLine, TunnelLine, render, seconds_text
from ngrokc.status import AgentStatus
from ngrokc.terminal import Terminal, open_terminal, resizes
from ngrokc.version import VERSION

FRAME: Final = 0.2  # seconds between frames: live to the eye, a percent of a processor
REQUESTS: Final = 50
MESSAGE_STAYS: Final = 3.0
NOTICE_STAYS: Final = 120.0  # time to read it, open the editor and copy a word


class HasStatus(Protocol):
    def status(self) -> AgentStatus: ...


class Screen:
    """`inspector` None: there are no requests to show and nothing to open."""

    def __init__(self, agent: HasStatus, inspector: Inspector | None, stop: Callable[[], None]) -> None:
        self._agent = agent
        self._inspector = inspector
        self._stop = stop
        self._colour = not os.environ.get("NO_COLOR")
        self._message = ""
        self._message_until = 0.0
        self._notice = ""
        self._notice_until = 0.0
        self._qr = -1
        self._copied = -1
        self._page: Path | None = None
        self._server_version = ""

    async def run(self) -> None:
        """Until cancelled; leaves the terminal as it was."""
        with open_terminal() as terminal:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(resizes, terminal)
                    nursery.start_soon(self._keys, terminal)
                    while True:
                        self.draw(terminal)
                        await trio.sleep(FRAME)
            finally:
                self._forget_page()

    def draw(self, terminal: Terminal) -> None:
        width, height = terminal.size()
        terminal.show(render(self.picture(), width, height, colour=self._colour))

    def say(self, text: str) -> None:
        """A line for a moment."""
        self._message, self._message_until = text, time.monotonic() + MESSAGE_STAYS

    async def follow(self, events: Subscription) -> None:
        """Show what a person should read, until the events end."""
        async for event in events:
            if isinstance(event, Notice) and event.level in ("warning", "error"):
                self._notice, self._notice_until = event.message, time.monotonic() + NOTICE_STAYS

    # -- what there is to see
    def picture(self) -> Picture:
        status = self._agent.status()
        self._server_version = status.server_version or self._server_version
        inspector = self._inspector
        urls = self._urls(status)
        return Picture(
            state=status.state,
            reason=status.reason,
            version=f"{VERSION}, server {self._server_version}" if self._server_version else VERSION,
            server=status.server,
            latency=status.latency,
            inspector="" if inspector is None else inspector.base_url,
            tunnels=tuple(TunnelLine(t.url or t.name, t.upstream, t.state, t.message) for t in status.tunnels),
            connections=status.connections,
            active=status.active,
            percentiles=self._percentiles(status),
            requests=self._requests(),
            missed=0 if inspector is None else inspector.store.counts.missed,
            message=self._message if time.monotonic() < self._message_until else "",
            notice=self._notice if time.monotonic() < self._notice_until else "",
            qr=urls[self._qr % len(urls)] if self._qr >= 0 and urls else "",
        )

    def _urls(self, status: AgentStatus) -> list[str]:
        return [tunnel.url for tunnel in status.tunnels if tunnel.state == "online" and tunnel.url]

    def _percentiles(self, status: AgentStatus) -> tuple[float, float, float, float] | None:
        """Those of the busiest tunnel: one line has no room for all."""
        if self._inspector is None or not status.tunnels:
            return None
        names = {tunnel.name for tunnel in status.tunnels}
        busiest = max(
            (self._inspector.journal.meters(name).connections for name in names), key=lambda meter: meter.count
        )
        return busiest.percentiles() if busiest.count else None

    def _requests(self) -> tuple[RequestLine, ...]:
        if self._inspector is None:
            return ()
        lines: list[RequestLine] = []
        for entry in self._inspector.store.newest():
            if isinstance(entry, Exchange):
                lines.append(request_line(entry))
            elif entry.failure and entry.origin.protocol != "tcp":
                lines.append(refused_line(entry))
            if len(lines) >= REQUESTS:
                break
        return tuple(lines)

    # -- keys
    async def _keys(self, terminal: Terminal) -> None:
        async for key in await terminal.keys():
            await self.press(key, terminal)
            self.draw(terminal)
        self._stop()  # the window was closed: nobody could end this agent any more, and it would keep its names

    async def press(self, key: str, terminal: Terminal) -> None:
        """What a key does."""
        if key == "q":
            self._stop()
        elif key == "o":
            await self._open()
        elif key == "c":
            self._copy(terminal)
        elif key == "Q":
            self._toggle_qr(terminal)

    async def _open(self) -> None:
        if self._inspector is None or not self._inspector.login_url:
            self.say("the inspector is disabled")
            return
        try:
            self._page = self._page or _login_page(self._inspector.login_url)
            opened = await trio.to_thread.run_sync(webbrowser.open, self._page.as_uri(), abandon_on_cancel=True)
        except (OSError, webbrowser.Error):
            opened = False
        self.say("opened in your browser" if opened else f"no browser was found; open {self._inspector.base_url}")

    def _copy(self, terminal: Terminal) -> None:
        """The next URL into the clipboard, by OSC 52, which works through ssh too."""
        urls = self._urls(self._agent.status())
        if not urls:
            self.say("there is no URL yet")
            return
        self._copied = (self._copied + 1) % len(urls)
        url = urls[self._copied]
        terminal.send(f"\x1b]52;c;{base64.b64encode(url.encode()).decode()}\x07")
        self.say(f"copied {url}")

    def _toggle_qr(self, terminal: Terminal) -> None:
        """One code after the other, then the screen again."""
        count = len(self._urls(self._agent.status()))
        if not count:
            self.say("there is no URL yet")
        self._qr = self._qr + 1 if self._qr + 1 < count else -1
        terminal.redraw()

    def _forget_page(self) -> None:
        if self._page is not None:
            with contextlib.suppress(OSError):
                self._page.unlink()
            self._page = None


def request_line(exchange: Exchange) -> RequestLine:
    answer = exchange.answer
    words = answer.start[2].decode("latin-1") if answer is not None else ""
    if exchange.state == "failed":
        words = "failed: " + exchange.failure if not exchange.status else words
    elif answer is None:
        words = "..."
    seconds = None if exchange.ended_at is None else exchange.ended_at - exchange.started_at
    return RequestLine(
        time=time.strftime("%H:%M:%S", time.localtime(exchange.started_at)),
        method=exchange.method,
        path=mask_text_target(exchange.target),
        status=exchange.status,
        text=words,
        duration="" if seconds is None else seconds_text(seconds),
        failed=exchange.state == "failed",
    )


def refused_line(connection: Connection) -> RequestLine:
    """A visitor whom no upstream took: nobody read what he asked for."""
    code, _, words = connection.failure.partition(": ")
    return RequestLine(
        time=time.strftime("%H:%M:%S", time.localtime(connection.started_at)),
        method="-",
        path=f"({words or code})",
        status=0,
        text="no answer",
        duration="",
        failed=True,
    )


def _login_page(url: str) -> Path:
    """A private file that leads to the page: an argument of a program is seen by everybody on the machine."""
    descriptor, name = tempfile.mkstemp(prefix="ngrokc-", suffix=".html")  # 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={url}"><title>ngrokc</title>')
    return Path(name)

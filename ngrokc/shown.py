"""What ngrokc shows on stdout: the live screen, plain lines, or events as JSON lines; and the file with the URL.

Rules: a terminal gets the screen; where there is none, or -log=stdout, plain lines. When stdout is no terminal its first
line is the bare URL, for `URL=$(ngrokc ... | head -1)`; what has to be said before goes to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from ngrokc.events import Event, Notice, StateChanged, Subscription, TunnelOnline
from ngrokc.screen_view import qr_lines
from ngrokc.term import describe
from protocol.link.logs import clean

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Looks:
    """`write` takes lines for stdout and `complain` for stderr; neither waits. `screen`: take the terminal over. `bare`:
    stdout is no terminal, so the URL comes first."""

    write: Write
    complain: Write
    screen: bool = False
    bare: bool = False
    qr: bool = False
    as_json: bool = False
    url_file: Path | None = None


def json_line(event: Event) -> str:
    """An event as one line: `event` in snake case, `at` in seconds since the epoch, and its fields."""
    name = "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in type(event).__name__).lstrip("_")
    return json.dumps({"event": name, "at": round(time.time(), 3), **dataclasses.asdict(event)})


async def show_lines(events: Subscription, looks: Looks) -> None:
    """Plain lines until the events end."""
    waiting = looks.bare
    async for event in events:
        if waiting and isinstance(event, TunnelOnline):
            waiting = False
            looks.write(clean(event.url))
        line = describe(event)
        if line is not None:
            (looks.complain if waiting else looks.write)(line)
        if looks.qr and isinstance(event, TunnelOnline):
            for row in qr_lines(event.url):
                looks.write(row)


async def show_json(events: Subscription, looks: Looks) -> None:
    """One JSON object for each event."""
    async for event in events:
        looks.write(json_line(event))


async def show_last(events: Subscription, looks: Looks, over: trio.Event) -> None:
    """Beside the screen: nothing, until it is `over`; then why, since the screen took its words with it."""
    last: Event | None = None
    async for event in events:
        if isinstance(event, StateChanged) or (isinstance(event, Notice) and event.level in ("warning", "error")):
            last = event
    await over.wait()
    line = None if last is None else describe(last)
    if line is not None:
        looks.write(line)


async def keep_url_file(events: Subscription, path: Path, complain: Write) -> None:
    """The first URL, alone, in a file that appears at once as a whole; removed when the agent ends."""
    written = False
    async for event in events:
        if isinstance(event, TunnelOnline) and not written:
            written = True
            try:
                await trio.to_thread.run_sync(_replace, path, event.url + "\n")
            except OSError as error:
                complain(f"the URL could not be written to {path}: {error.strerror}")
                return
    if written:
        await trio.to_thread.run_sync(partial(path.unlink, missing_ok=True))


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise

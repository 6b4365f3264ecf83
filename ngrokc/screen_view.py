"""What the terminal screen looks like: a value in, lines with colours out. Pure but for rich; knows no terminal.

Text from servers and visitors is escaped before it is measured, so nothing in it moves the cursor or turns the direction.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from typing import Final

import segno
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from protocol.link.logs import clean

LABEL: Final = 14
MIN_PATH: Final = 8
NOTICE_ROWS: Final = 3
SHORT: Final = 16  # rows; below this the URLs and the last requests come before the server's facts
STATE_STYLE: Final = {"online": "bold green", "connecting": "cyan", "reconnecting": "bold red", "closed": "red"}


@dataclass(frozen=True, slots=True)
class TunnelLine:
    url: str
    upstream: str
    state: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class RequestLine:
    time: str
    method: str
    path: str
    status: int
    text: str
    duration: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything on the screen. `percentiles`: p50, p90, p95, p99 in seconds, None before there are any. `message` is for a
    moment, `notice` something to read and act upon."""

    state: str
    reason: str
    version: str
    server: str
    latency: float | None
    inspector: str
    tunnels: tuple[TunnelLine, ...]
    connections: int
    active: int
    percentiles: tuple[float, float, float, float] | None
    requests: tuple[RequestLine, ...]
    missed: int = 0
    message: str = ""
    notice: str = ""
    qr: str = ""


def render(picture: Picture, width: int, height: int, *, colour: bool) -> list[str]:
    """At most `height` lines of at most `width` cells."""
    if picture.qr:
        lines = _qr(picture, width, height)
    else:
        short = height < SHORT
        lines = _head(picture, width, short)
        most = max(1, height - len(lines) - 1 - (4 if picture.requests else 0))
        lines += _tunnels(picture, most, width)
        lines += _connections(picture, width)
        lines += _notice(picture, width, 1 if short else NOTICE_ROWS)
        lines += _requests(picture, width, height - len(lines))
    return [_ansi(line, width, colour) for line in lines[:height]]


def _ansi(line: Text, width: int, colour: bool) -> str:
    line.truncate(width, overflow="ellipsis")
    out = io.StringIO()
    console = Console(
        file=out, width=width + 1, force_terminal=True, color_system="standard" if colour else None, no_color=not colour,
        highlight=False, markup=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    console.print(line, end="", no_wrap=True, soft_wrap=True)
    return out.getvalue()


def _head(picture: Picture, width: int, short: bool) -> list[Text]:
    """`short`: what every second window has no room for stays out, so that the URLs can be seen."""
    name = Text("ngrokc", "bold blue")
    keys = Text("q quit  o inspect  c copy URL  Q code" if width >= 60 else "q quit", "dim")
    gap = width - name.cell_len - keys.cell_len
    top = Text.assemble(name, " " * max(1, gap), keys)
    session = Text(picture.state, STATE_STYLE.get(picture.state, ""))
    if picture.reason:
        session.append(f" {clean(picture.reason)}", "")
    latency = "" if picture.latency is None else f"{picture.latency * 1000:.0f} ms"
    lines = [top] if short and not picture.message else [top, Text(clean(picture.message), "yellow")]
    lines.append(_labelled("Session", session))
    if not short:
        lines.append(_labelled("Version", Text(clean(picture.version))))
        lines.append(_labelled("Server", Text(clean(picture.server))))
        lines.append(_labelled("Latency", Text(latency)))
    return [*lines, _labelled("Inspector", Text(clean(picture.inspector) or "disabled"))]


def _labelled(label: str, value: Text) -> Text:
    return Text.assemble((label.ljust(LABEL), "dim"), value)


def _tunnels(picture: Picture, most: int, width: int) -> list[Text]:
    """One line each, in their order; when there is no room the rest is a number. The URL is worth more than where it leads."""
    shown = picture.tunnels if len(picture.tunnels) <= most else picture.tunnels[: max(0, most - 1)]
    lines = []
    for number, tunnel in enumerate(shown):
        text = Text(clean(tunnel.url), "bold" if tunnel.state == "online" else "red")
        if tunnel.state == "online":
            target = f" -> {clean(tunnel.upstream)}"
            text.append(target if LABEL + text.cell_len + cell_len(target) <= width else "", "")
        else:
            text.append(f" {tunnel.state} {clean(tunnel.message)}", "")
        lines.append(_labelled("Forwarding" if number == 0 else "", text))
    if len(shown) < len(picture.tunnels):
        lines.append(_labelled("", Text(f"and {len(picture.tunnels) - len(shown)} more", "dim")))
    return lines


def _connections(picture: Picture, width: int) -> list[Text]:
    text = Text(f"{picture.connections} in all, {picture.active} open")
    if picture.percentiles is not None and width >= 60:
        names = zip(("p50", "p90", "p95", "p99"), picture.percentiles, strict=True)
        text.append("  " + "  ".join(f"{name} {seconds_text(value)}" for name, value in names), "dim")
    return [_labelled("Connections", text)]


def _notice(picture: Picture, width: int, most: int) -> list[Text]:
    """In full where it can be: it may be a line to copy."""
    rows = textwrap.wrap(clean(picture.notice), max(1, width - LABEL), max_lines=most, placeholder=" ...")
    return [_labelled("" if number else "Notice", Text(row, "yellow")) for number, row in enumerate(rows)]


def seconds_text(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _requests(picture: Picture, width: int, room: int) -> list[Text]:
    if room < 4 or not (picture.requests or picture.missed):
        return []
    title = "HTTP requests"
    if picture.missed:
        title += f" ({picture.missed} more passed unseen under load)"
    lines = [Text(), Text(title, "bold"), Text("-" * min(width, len(title)), "dim")]
    return lines + [_request(request, width) for request in picture.requests[: room - 3]]


def _request(request: RequestLine, width: int) -> Text:
    """Time, method, path, status, duration; on narrow windows the time and the words of the status go."""
    wide = width >= 60
    status = f"{request.status} {clean(request.text)}" if request.status else clean(request.text)
    status = status if wide else str(request.status or request.text)
    style = "red" if request.failed or request.status >= 500 else "yellow" if request.status >= 400 else ""
    style = style or ("cyan" if 300 <= request.status < 400 else "")
    front = (f"{request.time}  " if wide else "") + _fit(clean(request.method), 7) + " "
    back = Text.assemble((_fit(status, 22 if wide else 7), style), (request.duration.rjust(9), "dim"))
    room = max(MIN_PATH, width - len(front) - back.cell_len - 1)
    return Text.assemble((front, ""), _fit(clean(request.path), room), " ", back)


def _fit(text: str, room: int) -> str:
    """Exactly `room` cells."""
    size = cell_len(text)
    if size <= room:
        return text + " " * (room - size)
    while text and cell_len(text) > room - 1:
        text = text[: max(0, len(text) - max(1, (cell_len(text) - room) // 2))]
    return text + "…" + " " * (room - 1 - cell_len(text))


def qr_lines(url: str) -> list[str]:
    """A QR code in half blocks, dark on light as scanners want it, with its quiet zone."""
    rows = [list(row) for row in segno.make(url, error="l", micro=False).matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    signs = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    return [
        "".join(signs[bool(top), bool(below)] for top, below in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def _qr(picture: Picture, width: int, height: int) -> list[Text]:
    lines = qr_lines(picture.qr)
    top = [Text(clean(picture.qr), "bold"), Text("Q closes", "dim")]
    if len(lines[0]) > width or len(lines) + 2 > height:
        return [*top, Text("the window is too small for the code", "yellow")]
    return top + [Text(line, "white on black") for line in lines]

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from ngrokc.events import Event, EventBus, Notice, StateChanged, Subscription, TunnelOnline
from ngrokc.shown import Looks, json_line, keep_url_file, show_json, show_last, show_lines

ONLINE = TunnelOnline("test", "http://test.example.me", "http", "127.0.0.1:80")
EVENTS: list[Event] = [
    StateChanged("connecting"),
    ONLINE,
    Notice("warning", "watch out"),
    StateChanged("closed", "why"),
]


async def told(
    show: Callable[[Subscription, Looks], Awaitable[None]], *, bare: bool = False, qr: bool = False
) -> tuple[list[str], list[str]]:
    """What goes to stdout and stderr for EVENTS."""
    out: list[str] = []
    errors: list[str] = []
    bus = EventBus()
    with bus.subscribe() as events:
        for event in EVENTS:
            bus.publish(event)
        bus.close()
        await show(events, Looks(out.append, errors.append, bare=bare, qr=qr))
    return out, errors


async def test_plain_lines() -> None:
    out, errors = await told(show_lines)
    assert out == ["connecting", "http://test.example.me -> 127.0.0.1:80", "warning: watch out", "closed: why"]
    assert errors == []


async def test_the_bare_url_is_the_first_line_of_a_pipe() -> None:
    out, errors = await told(show_lines, bare=True)
    assert out[:2] == ["http://test.example.me", "http://test.example.me -> 127.0.0.1:80"]
    assert errors == ["connecting"]


async def test_the_code_follows_its_url() -> None:
    out, _ = await told(show_lines, qr=True)
    assert out[1].startswith("http://")
    assert set(out[2]) <= set("█▀▄ ")


async def test_json_lines() -> None:
    out, _ = await told(show_json)
    found = [json.loads(line) for line in out]
    assert [line["event"] for line in found] == ["state_changed", "tunnel_online", "notice", "state_changed"]
    assert found[1]["url"] == ONLINE.url
    assert "at" in json.loads(json_line(ONLINE))


async def test_after_the_screen_the_reason_remains() -> None:
    over = trio.Event()
    out: list[str] = []
    bus = EventBus()
    with bus.subscribe() as events:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show_last, events, Looks(out.append, out.append), over)
            for event in EVENTS:
                bus.publish(event)
            bus.close()
            await trio.testing.wait_all_tasks_blocked()
            assert out == []
            over.set()
    assert out == ["closed: why"]


async def test_the_file_with_the_url(tmp_path: Path) -> None:
    path = tmp_path / "url"
    bus = EventBus()
    with bus.subscribe() as events:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_url_file, events, path, print)
            bus.publish(ONLINE)
            with trio.fail_after(10):
                while not path.exists():
                    await trio.lowlevel.checkpoint()
            assert path.read_text() == "http://test.example.me\n"
            bus.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    complaints: list[str] = []
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(ONLINE)
        bus.close()
        await keep_url_file(events, tmp_path / "no" / "url", complaints.append)
    assert "could not be written" in complaints[0]

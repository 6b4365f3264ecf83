from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ngrokc.events import Notice
from ngrokc.flags import understand
from ngrokc.inspect.web.server import listen
from ngrokc.observe import make_inspector, serve_inspector
from ngrokc.plan import Plan, make_plan
from protocol.errors import ConfigError
from tests.kit.inspection import FakeAgent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path


def plan(*words: str) -> Plan:
    return make_plan(understand(["-server=127.0.0.1:1", *words]), {"HOME": "/nonexistent"})


def test_disabled() -> None:
    assert make_inspector(plan("-inspectAddr=disabled", "80")) is None


@pytest.mark.parametrize("words", [["4040"], ["localhost:4040"], ["-inspectAddr=127.0.0.1:99", "127.0.0.1:99"]])
def test_a_tunnel_to_the_inspector_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="ends at the inspector itself"):
        make_inspector(plan(*words))


async def test_served_with_a_private_token_file(home: Path) -> None:
    inspector = make_inspector(plan("-inspectAddr=127.0.0.1:0", "80"))
    assert inspector is not None
    lines: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_inspector, inspector, FakeAgent(), lines.append)
        with trio.fail_after(10):
            while not lines:
                await trio.lowlevel.checkpoint()
        (file,) = (home / "ngrokc").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text().strip() in lines[0]
        nursery.cancel_scope.cancel()
    assert list((home / "ngrokc").iterdir()) == []


async def test_without_a_terminal_the_log_says_where_the_token_is(home: Path) -> None:
    inspector = make_inspector(plan("-inspectAddr=127.0.0.1:0", "80"))
    assert inspector is not None
    agent = FakeAgent()
    with agent.events.subscribe() as events:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_inspector, inspector, agent, None)
            with trio.fail_after(10):
                event = await anext(events)
            assert isinstance(event, Notice)
            (file,) = (home / "ngrokc").iterdir()
            assert event.message.endswith(f"/?token=..., the token is in {file}")
            assert file.read_text().strip() not in event.message
            nursery.cancel_scope.cancel()


async def test_a_taken_address_is_told_and_costs_nothing_else() -> None:
    taken = listen("127.0.0.1", 0)
    taken.listen()
    inspector = make_inspector(plan(f"-inspectAddr=127.0.0.1:{taken.getsockname()[1]}", "80"))
    assert inspector is not None
    agent = FakeAgent()
    with agent.events.subscribe() as events:
        await serve_inspector(inspector, agent, None)
        notice = events.take()
    assert isinstance(notice, Notice)
    assert "address already in use" in notice.message
    taken.close()

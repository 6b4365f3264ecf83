"""Commands for a running server: what they show, and what they say when none runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from ngrokd.commands import operate
from ngrokd.commands.operate import show_sessions, show_status, show_tunnels, size, span
from ngrokd.settings import settings_from
from protocol.errors import Fault
from tests.kit.adminworld import AdminWorld, open_admin
from tests.kit.classic_client import ClassicClient, Wish
from tests.ngrokd.test_server import trusting


def run(state: Path, name: str, *words: str) -> Result:
    command = next(entry for entry in operate.COMMANDS if entry.name == name)
    settings = settings_from({"state_dir": str(state)})
    return CliRunner().invoke(command, list(words), obj=settings, standalone_mode=False)


def test_no_server_runs(tmp_path: Path) -> None:
    for entry in operate.COMMANDS:
        result = run(tmp_path, str(entry.name), *(["x"] if entry.name == "kick" else []))
        assert isinstance(result.exception, Fault)
        assert result.exception.code == "not_running"
        assert "-stateDir" in result.exception.hint


async def ask(world: AdminWorld, name: str, *words: str) -> str:
    result = await trio.to_thread.run_sync(run, world.state, name, *words)
    if result.exception is not None:
        raise result.exception
    return result.output


async def test_a_running_server(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as world, trio.open_nursery() as nursery:
        assert await ask(world, "sessions") == "no agent is logged in\n"
        assert await ask(world, "tunnels") == "no tunnel is online\n"
        port = world.server.addresses["tunnel"][0].port
        client = ClassicClient(("127.0.0.1", port), trusting(), Wish(("127.0.0.1", 1), "http", subdomain="one"))
        nursery.start_soon(quiet, client)
        with trio.fail_after(20):
            while not list(world.server.registry.tunnels()):
                await trio.sleep(0.01)
            status = await ask(world, "status")
            assert "sessions    1" in status
            assert "running for" in status
            assert json.loads(await ask(world, "status", "--json"))["tunnels"] == 1
            (row,) = json.loads(await ask(world, "tunnels", "--json"))
            assert row["url"] in await ask(world, "tunnels")
            assert "classic" in await ask(world, "sessions")
            assert await ask(world, "reload") == "nothing has changed\n"  # and not a word of the server's log
            with pytest.raises(Fault, match="or address 'nobody'"):
                await ask(world, "kick", "nobody")
            said = await ask(world, "kick", "one", "--for", "1h", "--ban", "address")
            assert said.endswith("has ended, and kept out for 1h\n")
            assert "no agent is logged in\n" in await ask(world, "sessions")
            assert "stops" in await ask(world, "drain")
            await world.server.stopped.wait()
        nursery.cancel_scope.cancel()


async def quiet(client: ClassicClient) -> None:
    try:
        await client.run()
    except Exception:  # noqa: BLE001 - how it takes that is not the question
        await trio.sleep_forever()


STATUS: dict[str, Any] = {
    "version": "1.2", "state": "running", "pid": 7, "started": 0.0, "domain": "example.me", "fingerprint": "sha256:ab",
    "certificate_expires": None, "listeners": {"http": [":80"]}, "sessions": 1, "tunnels": 2,
    "visitors": {"http": 3, "https": 0}, "rates": {"up": 1500, "down": 0}, "refusals": {"forbidden": 4},
    "refused_logins": {},
}  # fmt: skip


def test_the_status_for_people() -> None:
    assert show_status(STATUS, 3700.0).splitlines() == [
        "state       running for 1h 1m (version 1.2, pid 7)",
        "http        :80",
        "domain      example.me",
        "pin         sha256:ab",
        "certificate until for ever",
        "sessions    1",
        "tunnels     2",
        "visitors    3 http",
        "traffic     1.5 KB/s up, 0 B/s down",
        "refused     requests: 4 forbidden; logins: none",
    ]


def test_nothing_to_show() -> None:
    assert show_sessions([], 0.0) == "no agent is logged in"
    assert show_tunnels([]) == "no tunnel is online"


def test_words() -> None:
    assert [span(seconds) for seconds in (0, 59, 61, 3600, 90061)] == ["0s", "59s", "1m 1s", "1h", "1d 1h"]
    assert [size(count) for count in (0, 999, 1000, 2_500_000, 3e9)] == ["0 B", "999 B", "1.0 KB", "2.5 MB", "3.0 GB"]

"""SIGHUP: what changed is closed and opened, and nothing else; a broken file changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog
import trio
from structlog.testing import capture_logs

from ngrokc.flags import understand
from ngrokc.plan import Plan, make_plan
from ngrokc.reload import Reloader, changes
from ngrokc.tunnel_spec import TunnelSpec
from protocol.errors import LinkError

TUNNEL = "  {name}:\n    subdomain: {name}\n    proto: {{http: {port}}}\n"


def plan(path: Path, server: str = "127.0.0.1:4443", **tunnels: int) -> Plan:
    text = f"server_addr: {server}\ntunnels:\n" if tunnels else f"server_addr: {server}\n"
    path.write_text(text + "".join(TUNNEL.format(name=name, port=port) for name, port in tunnels.items()))
    return make_plan(understand([f"-config={path}", "start-all"]), {})


def test_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    before = plan(path, a=1000, b=2000, c=3000)
    found = changes(before, plan(path, a=1000, b=2001, d=4000))
    assert found.close == ("b", "c")
    assert [spec.name for spec in found.open] == ["b", "d"]
    assert not found.later
    nothing = changes(before, before)
    assert (nothing.close, nothing.open) == ((), ())
    assert changes(before, plan(path, "127.0.0.1:4444", a=1000, b=2000, c=3000)).later


class Agent:
    """Remembers what it was asked; `fails` is a name that can't be opened."""

    def __init__(self, fails: str = "") -> None:
        self.asked: list[str] = []
        self.fails = fails

    async def close_tunnel(self, name: str) -> bool:
        self.asked.append(f"-{name}")
        return True

    async def open_tunnel(self, spec: TunnelSpec) -> Any:
        self.asked.append(f"+{spec.name}")
        if spec.name == self.fails:
            raise LinkError("agent_closed", "the agent has ended")
        return SimpleNamespace()


async def test_the_agent_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    agent: Any = Agent(fails="c")
    first = plan(path, a=1000, b=2000)
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            reread = lambda: make_plan(understand([f"-config={path}", "start-all"]), {})  # noqa: E731
            reloader = Reloader(agent, first, reread, structlog.get_logger(), nursery)
            plan(path, a=1000, c=3000)
            assert await reloader.reload() is not None
            path.write_text("tunnels: [")
            assert await reloader.reload() is None
    assert agent.asked == ["-b", "+c"]
    told = {line["event"]: line["log_level"] for line in lines}
    assert told["the new configuration is not used"] == "error"
    assert told["a tunnel could not be opened"] == "warning"
    assert {spec.name for spec in reloader.plan.tunnels} == {"a", "c"}

"""The agent's own types fit what the inspector asks for; mypy checks the assignments, this test that they exist."""

from __future__ import annotations

from ngrokc.agent import Agent
from ngrokc.inspect.inspector import Inspector
from ngrokc.inspect.seams import AgentLike, RouteLike, VisitLike
from ngrokc.proxy import Observer, Visit
from ngrokc.routes import Route


def fit(
    agent: Agent, route: Route, visit: Visit, inspector: Inspector
) -> tuple[AgentLike, RouteLike, VisitLike, Observer]:
    return agent, route, visit, inspector


def test_names() -> None:
    for name in ("events", "status", "open_tunnel", "close_tunnel"):
        assert name == "events" or hasattr(Agent, name)
    assert {"conn_id", "client_addr"} <= set(Visit.__slots__)

"""The inspector as the command line runs it: made from the plan, served beside the agent, never in its way."""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from ngrokc.config import INSPECT
from ngrokc.events import Notice
from ngrokc.identity import state_directory
from ngrokc.inspect.inspector import LOOPBACK, Inspector
from ngrokc.inspect.seams import AgentLike
from ngrokc.inspect.settings import InspectSettings
from ngrokc.plan import Plan
from ngrokc.version import VERSION
from protocol.errors import ConfigError

SPAN = 10  # 4040 to 4049: several agents on one machine each get a page, unless an address was asked for


def make_inspector(plan: Plan) -> Inspector | None:
    """None when it is disabled. Raises ConfigError for a tunnel that ends at the inspector itself."""
    address = plan.config.inspect_addr
    if address is None:
        return None
    for spec in plan.tunnels:
        for upstream in spec.upstreams.values():
            local = upstream is not None and (upstream.host in LOOPBACK or upstream.host == address.host)
            if local and upstream is not None and address.port and upstream.port == address.port:
                raise ConfigError(
                    f"the tunnel {spec.name!r} ends at the inspector itself, which would make it public",
                    hint="name another port, or move the inspector with -inspectAddr",
                )
    port = address.port
    settings = InspectSettings(
        host=address.host or "0.0.0.0",  # noqa: S104 - only when the user left the host out on purpose
        port=port,
        port_span=SPAN if address == INSPECT else 1,
        open_api=plan.config.inspect_open,
        token_file=state_directory(os.environ) / f"inspect-{port}.token",
        version=VERSION,
    )
    return Inspector(settings)


async def serve_inspector(inspector: Inspector, agent: AgentLike, tell: Callable[[str], None] | None) -> None:
    """Until cancelled. A taken address costs the inspector, not the agent. `tell` gets the line for people."""
    try:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(inspector.serve, agent)
            if tell is not None:
                tell(f"inspector {inspector.login_url}")
            else:
                token = inspector.settings.token_file
                agent.events.publish(Notice("info", f"inspector at {url}/?token=..., the token is in {token}"))
    except* OSError as group:
        error = group.exceptions[0]
        reason = getattr(error, "strerror", None) or str(error)
        where = f"{inspector.settings.host}:{inspector.settings.port}"
        agent.events.publish(Notice("warning", f"no inspector: {where}: {reason.lower()}"))

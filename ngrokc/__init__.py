"""ngrokc: the agent of ngrokd, as a program and as a library for trio. What is listed here is public; see docs/sdk.md.

async with ngrokc.listen(server="example.me", name=ngrokc.Name(subdomain="hello")) as listener:
    print(listener.url)
    await trio.serve_listeners(handler, [listener])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngrokc.version import VERSION

if TYPE_CHECKING:
    from ngrokc.agent import Agent, AgentSettings
    from ngrokc.options import TunnelOptions
    from ngrokc.sdk import Connection, Forwarder, Name, TunnelListener, connect, forward, listen
    from ngrokc.visitor_stream import VisitorStream

__version__ = VERSION

__all__ = [
    "Agent",
    "AgentSettings",
    "Connection",
    "Forwarder",
    "Name",
    "TunnelListener",
    "TunnelOptions",
    "VisitorStream",
    "__version__",
    "connect",
    "forward",
    "listen",
]

_HOMES = {
    "Agent": "ngrokc.agent",
    "AgentSettings": "ngrokc.agent",
    "TunnelOptions": "ngrokc.options",
    "VisitorStream": "ngrokc.visitor_stream",
}


def __getattr__(name: str) -> object:
    """Load on first use: a usage error on the command line should not wait for TLS libraries."""
    if name not in __all__:
        raise AttributeError(f"module 'ngrokc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "ngrokc.sdk")), name)

"""Plain status lines for a terminal or a pipe: one for each URL and each change of state, with its reason. Pure.

Lower case, no full stop, nothing that moves a cursor: what came from a server or visitor is escaped. Whoever prints decides
where; the full screen is another module.
"""

from __future__ import annotations

from ngrokc.events import Event, Notice, SessionStarted, StateChanged, TunnelClosed, TunnelOnline, TunnelRefused
from protocol.link.logs import clean


def describe(event: Event) -> str | None:
    """The line for an event, None for those that a person need not read."""
    match event:
        case StateChanged():
            return _state(event)
        case SessionStarted():
            dialect = "" if event.caps else ", an ngrok 1.7"
            return f"online at {clean(event.server)} (server {clean(event.server_version)}{dialect})"
        case TunnelOnline():
            return f"{clean(event.url)} -> {clean(event.upstream)}"
        case TunnelRefused():
            again = (
                "it will be asked for again" if event.retry else "waiting does not help, so it is not asked for again"
            )
            return f"tunnel {clean(event.name)} ({event.protocol}) refused: {clean(event.message)}; {again}"
        case TunnelClosed():
            return f"{clean(event.url) or clean(event.name)} closed: {clean(event.message) or clean(event.code)}"
        case Notice(level=level) if level != "debug":
            return f"{'' if level == 'info' else level + ': '}{clean(event.message)}"
        case _:
            return None


def _state(event: StateChanged) -> str | None:
    reason = f": {clean(event.reason)}" if event.reason else ""
    match event.state:
        case "connecting":
            return f"connecting{reason}"
        case "reconnecting":
            return f"reconnecting{_when(event.retry_in)}{reason}"
        case "closed":
            return f"closed{reason}"
        case _:
            return None  # SessionStarted says it


def _when(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" in {seconds:.1f} s" if seconds >= 0.05 else " now"

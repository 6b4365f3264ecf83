"""The agent's events as log lines. Knows structlog's logger and the events, not what made them."""

from __future__ import annotations

from dataclasses import fields

from ngrokc.events import (
    ConnectionClosed,
    ConnectionOpened,
    Event,
    Latency,
    Notice,
    SessionStarted,
    StateChanged,
    Subscription,
    TunnelClosed,
    TunnelRefused,
)
from protocol.link.logs import Log

_NAMES = {
    "StateChanged": "state",
    "SessionStarted": "logged in",
    "Latency": "latency",
    "TunnelOnline": "tunnel online",
    "TunnelRefused": "tunnel refused",
    "TunnelClosed": "tunnel closed",
    "ConnectionOpened": "visitor",
    "ConnectionClosed": "visitor left",
}


def write_event(log: Log, event: Event) -> None:
    """One line at the level that fits: traffic and round trips for debugging, trouble as warnings."""
    if isinstance(event, Notice):
        getattr(log, event.level)(event.message)
        return
    facts = {field.name: getattr(event, field.name) for field in fields(event)}  # asdict copies deeply, 40 us
    if isinstance(event, StateChanged):  # a state without a reason needs no words about that
        facts = {key: value for key, value in facts.items() if value not in ("", None)}
        if event.retry_in is not None:
            facts["retry_in"] = round(event.retry_in, 1)  # for reading: it was drawn at random
    name = _NAMES[type(event).__name__]
    if isinstance(event, SessionStarted):
        facts["client_id"] = f"{event.client_id[:8]}..."  # towards a 1.7 server the whole of it is a key to the session
    match event:
        case Latency() | ConnectionOpened() | ConnectionClosed(ours=False):
            log.debug(name, **facts)
        case ConnectionClosed():
            log.warning("visitor cut off", **facts)  # it did not leave: the upstream, the link or we let it down
        case TunnelRefused() | StateChanged(state="reconnecting"):
            log.warning(name, **facts)
        case TunnelClosed() if event.code != "asked":
            log.warning(name, **facts)
        case _:
            log.info(name, **facts)


async def log_events(log: Log, events: Subscription) -> None:
    """Write every event until the bus closes; lines that were lost are counted at the end."""
    async for event in events:
        write_event(log, event)
    if events.dropped:
        log.warning("events were lost because they came faster than they could be logged", dropped=events.dropped)

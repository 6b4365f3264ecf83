"""SIGHUP: the configuration is read again, and only what changed is opened and closed.

A tunnel that stays the same keeps its connections. A file that can't be used changes nothing, and the log says why. Other
settings than tunnels are for the next start; that is said too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import trio

from ngrokc.agent import Agent
from ngrokc.plan import Plan
from ngrokc.tunnel_spec import TunnelSpec
from protocol.errors import ConfigError, Fault
from protocol.link.logs import Log


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new plan asks for. `later`: whether more than tunnels differs."""

    close: tuple[str, ...]
    open: tuple[TunnelSpec, ...]
    later: bool


def changes(before: Plan, after: Plan) -> Changes:
    """A tunnel that differs is closed and opened again."""
    old = {spec.name: spec for spec in before.tunnels}
    new = {spec.name: spec for spec in after.tunnels}
    close = tuple(name for name, spec in old.items() if new.get(name) != spec)
    opened = tuple(spec for name, spec in new.items() if old.get(name) != spec)
    rest = replace(before.config, tunnels=after.config.tunnels) != after.config
    return Changes(close, opened, rest or before.server != after.server)


class Reloader:
    """`read` makes the plan anew (blocking; raises ConfigError). Tunnels are opened in `nursery`: a server may be away."""

    def __init__(self, agent: Agent, plan: Plan, read: Callable[[], Plan], log: Log, nursery: trio.Nursery) -> None:
        self.plan = plan
        self._agent = agent
        self._read = read
        self._log = log
        self._nursery = nursery

    async def reload(self) -> Changes | None:
        """Do it; None when the new configuration is not used."""
        try:
            plan = await trio.to_thread.run_sync(self._read)
        except ConfigError as error:
            self._log.error(
                "the new configuration is not used", place=error.place, reason=error.message, hint=error.hint
            )
            return None
        found = changes(self.plan, plan)
        self.plan = plan
        for name in found.close:
            await self._agent.close_tunnel(name)
        for spec in found.open:
            self._nursery.start_soon(self._open, spec)
        opened = [spec.name for spec in found.open]
        self._log.info("configuration read again", closed=list(found.close), opened=opened)
        if found.later:
            self._log.warning("settings beside the tunnels have changed; they count from the next start")
        return found

    async def _open(self, spec: TunnelSpec) -> None:
        try:
            await self._agent.open_tunnel(spec)
        except Fault as fault:
            self._log.warning("a tunnel could not be opened", tunnel=spec.name, code=fault.code, reason=fault.message)

"""Runs an agent for the command line: signals, log, status lines, the kept token and identity. `cli` makes the plan.

The program is a thin shell: everything that the agent does is in the SDK, and a program of yours does the same with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from ngrokc.agent import Agent, AgentSettings
from ngrokc.event_log import log_events
from ngrokc.events import EventBus, SessionStarted, Subscription
from ngrokc.identity import Identity, identity_key, open_identity, state_directory
from ngrokc.inspect.inspector import Inspector
from ngrokc.observe import make_inspector, serve_inspector
from ngrokc.plan import Plan
from ngrokc.reload import Reloader
from ngrokc.screen import Screen
from ngrokc.shown import Looks, keep_url_file, show_json, show_last, show_lines
from ngrokc.stdout import forget, reader_left
from ngrokc.terminal import attached
from ngrokc.token_file import save_token
from protocol.errors import Fault, RefusedError
from protocol.link.logs import Log

EXIT_STOPPED, EXIT_REFUSED = 0, 2
LAST_WORDS = 1.0  # seconds for the readers of events to finish what they have


def identity_of(plan: Plan) -> Identity:
    """Who this agent is: kept for the server, the token and the names it asks for. Blocks for small file accesses."""
    wanted = [
        f"{spec.name} {'+'.join(spec.protocols)} {spec.subdomain} {spec.hostname} {spec.remote_port}"
        for spec in plan.tunnels
    ]
    key = identity_key(str(plan.server), plan.config.token, wanted)
    return open_identity(state_directory(os.environ), key)


def settings_of(plan: Plan, identity: Identity) -> AgentSettings:
    config = plan.config
    return AgentSettings(
        server=plan.server,
        token=config.token,
        ca=config.ca,
        pin=config.pin,
        proxy=plan.proxy,
        mux=config.mux,
        identity=identity,
    )


async def run_agent(plan: Plan, log: Log, looks: Looks | None, reread: Callable[[], Plan] | None = None) -> int:
    """Serve until a signal or a final refusal; the exit code. `looks` says what stdout shows, None for nothing; `reread`
    makes the plan anew at SIGHUP. Raises ConfigError."""
    inspector = make_inspector(plan)
    identity = identity_of(plan)
    try:
        agent = Agent(settings_of(plan, identity), plan.tunnels, observer=inspector)
        return await _serve(agent, plan, log, Shell(inspector, looks, reread))
    finally:
        identity.close()


async def _serve(agent: Agent, plan: Plan, log: Log, shell: Shell) -> int:
    events, debugging = agent.events, log.is_enabled_for(logging.DEBUG)
    with (
        events.subscribe(visitors=False) as lines,
        events.subscribe(visitors=False) as urls,
        events.subscribe(visitors=debugging) as logged,
        events.subscribe(visitors=False) as logins,
    ):
        async with trio.open_nursery() as outer:
            stop = trio.CancelScope()
            await outer.start(_on_signals, stop)
            async with trio.open_nursery() as readers:
                readers.start_soon(log_events, log, logged)
                shell.start_readers(readers, lines, urls)
                if plan.save_token:
                    readers.start_soon(_keep_token, plan, logins, log)
                async with trio.open_nursery() as beside:
                    shell.start_beside(beside, agent, stop)
                    if shell.reread is not None:
                        beside.start_soon(_reload_on_signal, Reloader(agent, plan, shell.reread, log, beside), stop)
                    code = await _until_stopped(agent, stop)
                    beside.cancel_scope.cancel()
                agent.events.close()
                readers.cancel_scope.deadline = trio.current_time() + LAST_WORDS
            outer.cancel_scope.cancel()
    return code


@dataclass(frozen=True, slots=True)
class Shell:
    """What stands around the agent: the inspector and what the user sees."""

    inspector: Inspector | None
    looks: Looks | None
    reread: Callable[[], Plan] | None = None
    screen_over: trio.Event = field(default_factory=trio.Event)

    def start_readers(self, nursery: trio.Nursery, lines: Subscription, urls: Subscription) -> None:
        """Those that follow the events to their end."""
        looks = self.looks
        if looks is None:
            return
        if looks.screen:
            nursery.start_soon(show_last, lines, looks, self.screen_over)
        else:
            nursery.start_soon(show_json if looks.as_json else show_lines, lines, looks)
        if looks.url_file is not None:
            nursery.start_soon(keep_url_file, urls, looks.url_file, looks.complain)

    def start_beside(self, nursery: trio.Nursery, agent: Agent, stop: trio.CancelScope) -> None:
        """Those that end with the agent."""
        looks = self.looks
        if self.inspector is not None:
            # Where the URL with the token goes: to a person at a terminal, never into a file.
            plain = looks is not None and not (looks.screen or looks.bare or looks.as_json)
            nursery.start_soon(serve_inspector, self.inspector, agent, looks.write if looks and plain else None)
        if looks is not None and looks.bare:
            nursery.start_soon(_stop_without_reader, stop)
        if looks is not None and looks.screen:
            nursery.start_soon(self._screen, Screen(agent, self.inspector, stop.cancel), agent.events)

    async def _screen(self, screen: Screen, bus: EventBus) -> None:
        try:
            with bus.subscribe(visitors=False) as events:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(screen.follow, events)
                    await screen.run()
        finally:
            self.screen_over.set()


async def _until_stopped(agent: Agent, stop: trio.CancelScope) -> int:
    """Run the agent until it is stopped or the server refuses it; the exit code."""
    with stop:
        try:
            await agent.run()
        except RefusedError:  # the last event said why
            return EXIT_REFUSED
    return EXIT_STOPPED


async def _on_signals(stop: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Stop the agent. Further signals change nothing: what is left to be said takes LAST_WORDS at most, and impatient people
    and `timeout` send two at once."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            stop.cancel()


async def _stop_without_reader(stop: trio.CancelScope) -> None:
    """Whoever read our lines has what it wanted."""
    with contextlib.suppress(OSError, ValueError):  # a stdout that is closed, or a thing of Python's alone
        await reader_left(sys.stdout.fileno())
        forget(sys.stdout.fileno())
        stop.cancel()


async def _reload_on_signal(reloader: Reloader, stop: trio.CancelScope) -> None:
    """SIGHUP: tunnels that changed are closed and opened; or, as it was first meant, our terminal is gone."""
    number = getattr(signal, "SIGHUP", None)
    if number is None:
        return  # Windows has none
    had_terminal = attached()
    with trio.open_signal_receiver(number) as signals:
        async for _ in signals:
            if had_terminal and not attached():
                stop.cancel()
                return
            await reloader.reload()


async def _keep_token(plan: Plan, events: Subscription, log: Log) -> None:
    """Once the server has accepted the token, put it into the configuration file."""
    async for event in events:
        if isinstance(event, SessionStarted):
            path = plan.config.path
            if path is None:
                return
            try:
                if await trio.to_thread.run_sync(save_token, path, plan.config.token):
                    log.info("token kept", file=str(path))
            except (OSError, ValueError, Fault) as error:
                log.warning("the token could not be kept", file=str(path), reason=str(error))
            return

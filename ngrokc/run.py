"""Runs an agent for the command line: signals, log, status lines, the kept token and identity. `cli` makes the plan.

The program is a thin shell: everything that the agent does is in the SDK, and a program of yours does the same with it.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

import trio

from ngrokc.agent import Agent, AgentSettings
from ngrokc.event_log import log_events
from ngrokc.events import SessionStarted, Subscription
from ngrokc.identity import Identity, identity_key, open_identity, state_directory
from ngrokc.plan import Plan
from ngrokc.term import describe
from ngrokc.token_file import save_token
from protocol.errors import Fault, RefusedError
from protocol.link.logs import Log

EXIT_STOPPED, EXIT_REFUSED = 0, 2
LAST_WORDS = 1.0  # seconds for the readers of events to finish what they have

Write = Callable[[str], None]


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


async def run_agent(plan: Plan, log: Log, write: Write | None) -> int:
    """Serve until a signal or a final refusal; the exit code. `write` takes status lines, None for none."""
    identity = identity_of(plan)
    try:
        agent = Agent(settings_of(plan, identity), plan.tunnels)
        return await _serve(agent, plan, log, write)
    finally:
        identity.close()


async def _serve(agent: Agent, plan: Plan, log: Log, write: Write | None) -> int:
    events, debugging = agent.events, log.is_enabled_for(logging.DEBUG)
    with (
        events.subscribe(visitors=False) as lines,
        events.subscribe(visitors=debugging) as logged,
        events.subscribe(visitors=False) as logins,
    ):
        async with trio.open_nursery() as outer:
            stop = trio.CancelScope()
            await outer.start(_on_signals, stop)
            async with trio.open_nursery() as readers:
                readers.start_soon(log_events, log, logged)
                if write is not None:
                    readers.start_soon(_show, lines, write)
                if plan.save_token:
                    readers.start_soon(_keep_token, plan, logins, log)
                code = await _until_stopped(agent, stop)
                agent.events.close()
                readers.cancel_scope.deadline = trio.current_time() + LAST_WORDS
            outer.cancel_scope.cancel()
    return code


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


async def _show(events: Subscription, write: Write) -> None:
    async for event in events:
        line = describe(event)
        if line is not None:
            write(line)


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

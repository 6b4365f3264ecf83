"""The front door: an observer for the agent, and the page beside it.

`open` is what the agent calls for each visitor; `serve` runs the parser, the journal and the web server until cancelled.
The inspector only watches the agent it is given; it starts and stops nothing of it but tunnels that a user asks for.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from functools import partial
from types import MappingProxyType

import trio

from ngrokc.events import Notice, Subscription
from ngrokc.inspect.access import Token
from ngrokc.inspect.backroom import Backroom
from ngrokc.inspect.body import Vault
from ngrokc.inspect.conversation import Conversation
from ngrokc.inspect.intake import Intake
from ngrokc.inspect.journal import Journal
from ngrokc.inspect.model import Connection, Origin
from ngrokc.inspect.replay import DIAL, Replayer
from ngrokc.inspect.seams import AgentLike, RouteLike, VisitLike
from ngrokc.inspect.settings import InspectSettings
from ngrokc.inspect.spool import Spool
from ngrokc.inspect.store import Store
from ngrokc.inspect.tap import CountingTap, HttpTap
from ngrokc.inspect.web.app import make_app
from ngrokc.inspect.web.desk import Desk
from ngrokc.inspect.web.server import listen, serve_app
from protocol.address import Upstream, format_address
from protocol.link.dial import dial_upstream
from protocol.link.relay import Tap
from protocol.websafe import allowed_hosts

EVERYWHERE = MappingProxyType({"0.0.0.0": "127.0.0.1", "::": "::1"})  # noqa: S104 - compared, not bound
LOOPBACK = frozenset({"localhost", "::1", "ip6-localhost", *EVERYWHERE})


class Inspector:
    """Make it before the agent, hand it over as the agent's observer, then `serve(agent)` beside `agent.run()`."""

    def __init__(self, settings: InspectSettings | None = None) -> None:
        self.settings = settings or InspectSettings()
        limits = self.settings.limits
        self.spool = Spool(self.settings.spool_parent, disk=limits.disk, queue=limits.spool_queue)
        self.store = Store(Vault(limits, self.spool), time.time)
        self.journal = Journal(self.store)
        self.token = Token()
        self.address: tuple[str, int] | None = None
        self._intake: Intake | None = None
        self._backroom = Backroom()
        self._routes: dict[tuple[str, str], RouteLike] = {}
        self._agent: AgentLike | None = None

    def __repr__(self) -> str:
        return f"<Inspector {self.base_url or 'not serving'}>"

    # -- for the agent
    def open(self, tunnel: RouteLike, connection: VisitLike) -> Tap | None:
        """A tap for one visitor; None while nobody serves. Called in callbacks, never waits, never raises."""
        if self._intake is None or not tunnel.options.inspect:
            return None
        self._routes[tunnel.name, tunnel.protocol] = tunnel
        self.journal.opened(tunnel.name)
        over = partial(self.journal.closed, tunnel.name, time.monotonic())
        made = partial(self._origin, tunnel, connection.conn_id, connection.client_addr)
        if tunnel.protocol == "tcp":
            entry = Connection(self.store.new_id(), made(), self.store.clock())
            self.store.add(entry)
            return CountingTap(self.store, entry, over)
        return HttpTap(self._intake, self._intake.lane(tunnel.name), partial(self._talk, made), over)

    def _origin(self, tunnel: RouteLike, conn_id: str, client_addr: str) -> Origin:
        return Origin(tunnel.name, tunnel.url, tunnel.protocol, conn_id, client_addr)

    def _talk(self, origin: Callable[[], Origin]) -> Conversation:
        return Conversation(self.store, origin(), self.journal.exchange_done, self._backroom.offload)

    def refuses(self, upstream: Upstream | None) -> bool:
        """Whether this upstream is the inspector itself: such a tunnel must not be opened."""
        return (
            upstream is not None
            and upstream.kind == "tcp"
            and self.address is not None
            and upstream.port == self.address[1]
            and (upstream.host in LOOPBACK or upstream.host.startswith("127.") or upstream.host == self.address[0])
        )

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:4040`, "" before the listener is there."""
        if self.address is None:
            return ""
        host, port = self.address
        return f"http://{format_address(EVERYWHERE.get(host, host), port)}"

    @property
    def login_url(self) -> str:
        """The URL with the token, for the user's own browser; "" before the listener is there. A secret: show it on the
        terminal, never log it."""
        return f"{self.base_url}/?token={self.token.secret.reveal()}" if self.base_url else ""

    # -- running
    async def serve(self, agent: AgentLike, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch `agent` and serve the page until cancelled; starts with the page's address (without the token). Raises
        OSError when the address can't be bound. Spooled bodies and the token file are removed at the end."""
        sock = self._bind()
        self._agent = agent
        host, port = sock.getsockname()[:2]
        self.address = (host, port)
        path = self.settings.token_file
        try:
            if path is not None:
                await trio.to_thread.run_sync(self._write_token, agent)
            with agent.events.subscribe(visitors=False) as events:
                async with trio.open_nursery() as nursery:
                    self._intake = Intake(self.store, self.settings.limits)
                    nursery.start_soon(self._intake.run)
                    nursery.start_soon(self._backroom.run)
                    nursery.start_soon(self._follow, events)
                    await nursery.start(serve_app, make_app(self._desk(agent, nursery)), sock)
                    task_status.started(self.base_url)
        finally:
            self._intake = None
            self.address = None
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._clean_up)

    def _bind(self) -> socket.socket:
        settings = self.settings
        for port in range(settings.port, settings.port + max(1, settings.port_span)):
            try:
                return listen(settings.host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or port == settings.port + max(1, settings.port_span) - 1:
                    raise
        raise AssertionError("unreachable")

    def _desk(self, agent: AgentLike, nursery: trio.Nursery) -> Desk:
        assert self.address is not None
        replayer = Replayer(self.store, self._find, _dial, self.journal.exchange_done, self._backroom.offload)
        hosts = allowed_hosts(*self.address, self.settings.hosts)
        return Desk(agent, self.store, self.journal, self.token, self.settings, replayer, nursery, hosts, self.refuses)

    def _find(self, tunnel: str, protocol: str) -> RouteLike | None:
        """The route of an open tunnel: one that was seen, and whose upstream is still the agent's."""
        route = self._routes.get((tunnel, protocol))
        if route is None or self._agent is None or self.refuses(route.upstream):
            return None
        for status in self._agent.status().tunnels:
            if (status.name, status.protocol, status.upstream) == (tunnel, protocol, str(route.upstream)):
                return route
        return None

    async def _follow(self, events: Subscription) -> None:
        async for event in events:
            self.journal.note(event)

    def _write_token(self, agent: AgentLike) -> None:
        assert self.settings.token_file is not None
        try:
            self.token.write(self.settings.token_file)
        except OSError as error:
            trio.from_thread.run_sync(
                agent.events.publish, Notice("warning", f"the inspector's token could not be written: {error.strerror}")
            )

    def _clean_up(self) -> None:
        self.spool.close()
        if self.settings.token_file is not None:
            self.token.remove(self.settings.token_file)


async def _dial(upstream: Upstream) -> trio.abc.HalfCloseableStream:
    port = await dial_upstream(upstream, timeout=DIAL)
    return port.stream()

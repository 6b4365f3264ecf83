"""The agent: one session after the other, for ever. It never gives up on a lost server, nor because of one refused tunnel.

What ends it: being cancelled, or a server that says no for good (RefusedError). Everything that happens goes out as events.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import trio

from ngrokc import clock
from ngrokc.backoff import Backoff
from ngrokc.events import (
    EventBus,
    Notice,
    SessionStarted,
    State,
    StateChanged,
    TunnelClosed,
    TunnelOnline,
    TunnelRefused,
)
from ngrokc.identity import Identity
from ngrokc.legs import LiveLegs
from ngrokc.proxy import Observer, Visitors
from ngrokc.routes import Offer
from ngrokc.session import Login, Session, Shared, log_in, product_of
from ngrokc.status import AgentStatus, TunnelStatus, tunnel_statuses
from ngrokc.tunnel_spec import TunnelSpec, check_spec
from ngrokc.tunnels import TunnelBook, WantedTunnel
from protocol.address import HostPort
from protocol.errors import Fault, LinkError, RefusedError
from protocol.link import epoll, tasks
from protocol.link.dial import ServerDialer
from protocol.link.port import PortBroken
from protocol.link.proxy_connect import ProxyUrl
from protocol.link.reactor import CrashHandler, Reactor
from protocol.link.trust import ClientTls
from protocol.secret import Secret
from protocol.token import parse_token

KEEP_WITHIN = 1.0  # seconds that writing the identity may hold up a session
STEADY = 10.0  # seconds after which a session was no failure, tunnels or not


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Where and how to connect. `identity` is kept by the caller, who closes it; the agent only updates it. `ca` and `pin`
    as ClientTls wants them; checks are relaxed for loopback only without proxy, ca, pin and token."""

    server: HostPort
    token: Secret = field(default_factory=lambda: Secret(""))
    ca: str = ""
    pin: str = ""
    proxy: ProxyUrl | None = None
    mux: bool = True
    identity: Identity = field(default_factory=Identity)


class Agent:
    """Holds tunnels open at one server. `run` does the work; `events` tells; the rest may be called while it runs."""

    def __init__(
        self,
        settings: AgentSettings,
        tunnels: Iterable[TunnelSpec] = (),
        *,
        observer: Observer | None = None,
        clocks: clock.Clocks | None = None,
    ) -> None:
        """Raises ConfigError for a CA file or pin that can't be used."""
        self.settings = settings
        self.events = EventBus()
        plain = settings.proxy is None and not settings.token
        tls = ClientTls(ca=settings.ca, pin=pin_of(settings), loopback=plain, notify=self._warn)
        self._reactor = new_reactor(self._crashed)
        visitors = Visitors(self._reactor, self.events, self._spawn, observer)
        dialer = ServerDialer(settings.server, tls, settings.proxy, self._reactor)
        self._shared = Shared(
            dialer, visitors, TunnelBook(tuple(tunnels)), settings.identity, settings.token, LiveLegs(), settings.mux
        )
        self._clocks = clocks
        self._backoff = Backoff()
        self._nursery: trio.Nursery | None = None
        self._session: Session | None = None
        self._sessions: set[Session] = set()
        self._woken = trio.Event()
        self._state: State = "connecting"
        self._reason = ""

    def __repr__(self) -> str:
        return f"<Agent {self.settings.server} {self._state}>"

    # -- running
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and stay connected, until cancelled. Raises RefusedError when the server says no for good. Runs once."""
        last_reason = ""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._reactor.run)
                nursery.start_soon(clock.watch, self._jumped, self._clocks)
                task_status.started()
                for tunnel in self._shared.book:
                    self._tell_of_names(tunnel.spec)
                refused = await self._connect_for_ever(nursery)
                last_reason = refused.message
                nursery.cancel_scope.cancel()
            raise refused
        finally:
            self._nursery = None
            self._shared.visitors.close()
            self._shared.legs.close()
            self._change("closed", last_reason)
            self.events.close()

    async def _connect_for_ever(self, nursery: trio.Nursery) -> RefusedError:
        """Returns only when the server says no for good."""
        self._change("connecting", "")
        while True:
            reason, hint = "", ""
            try:
                login = await log_in(self._shared)
            except RefusedError as error:
                if not error.retry:
                    return error
                reason = error.message
            except (Fault, PortBroken) as error:
                reason, hint = _reason(error)
            else:
                reason = await self._stay(login, nursery)
            wait = self._backoff.next()
            self._change("reconnecting", f"{reason}; {hint}" if hint else reason, wait)
            self._woken = trio.Event()
            with trio.move_on_after(wait):
                await self._woken.wait()

    async def _stay(self, login: Login, nursery: trio.Nursery) -> str:
        """Serve one session until the next one should be made; why."""
        session = Session(self._shared, login)
        self._shared.book.session_lost()
        self._session = session
        self._sessions.add(session)
        began = trio.current_time()
        answer = login.answer
        server = str(self.settings.server)
        self.events.publish(
            SessionStarted(product_of(answer), answer.session_id or "", answer.client_id, session.caps, server)
        )
        self._change("online", "")
        nursery.start_soon(self._serve, session)
        await session.leaving.wait()
        session.current = False
        if session.proved or session.going_away == "restart" or trio.current_time() - began > STEADY:
            self._backoff.reset()
        return session.reason

    async def _serve(self, session: Session) -> None:
        try:
            # Before any name is asked for: an agent that is killed right after must find its names again. Shielded, so
            # that a cancel reaches `run`, which closes the links; and not for long, the disk may hang.
            with trio.move_on_after(KEEP_WITHIN, shield=True):
                await self._remember(session)
            await session.run()
        finally:
            self._sessions.discard(session)
            if self._session is session:
                self._session = None
                self._shared.book.session_lost()

    async def _remember(self, session: Session) -> None:
        identity, client_id = self.settings.identity, session.answer.client_id
        ticket = Secret(session.answer.ticket or "")
        if not identity.kept:
            identity.remember(client_id, ticket)
            return
        try:
            await trio.to_thread.run_sync(identity.remember, client_id, ticket, abandon_on_cancel=True)
        except OSError as error:
            self._warn(f"the agent's identity could not be kept, so a restart may get other names: {error.strerror}")

    def _change(self, state: State, reason: str, retry_in: float | None = None) -> None:
        self._state, self._reason = state, reason
        self.events.publish(StateChanged(state, reason, retry_in))

    def _crashed(self, callback: Callable[..., None], error: Exception) -> None:
        """A defect of ours in one visitor's callback: said aloud, with its place, and the other visitors go on."""
        place = traceback.extract_tb(error.__traceback__)[-1:]
        where = f"{place[0].filename}:{place[0].lineno}" if place else repr(callback)
        self.events.publish(Notice("error", f"a defect of ngrokc, please report it: {error!r} at {where}"))

    def _warn(self, text: str) -> None:
        self.events.publish(Notice("warning", text))

    def _tell_of_names(self, spec: TunnelSpec) -> None:
        if spec.idle_name:
            self._warn(spec.idle_name)

    def _spawn(self, job: Callable[[], Awaitable[None]]) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(job)

    def _jumped(self, reason: str) -> None:
        """The machine slept or its clock moved: no waiting now, and see whether links still live."""
        self.events.publish(Notice("info", reason))
        self._backoff.reset()
        self._woken.set()
        for session in self._sessions:
            session.probe(reason)

    # -- tunnels
    async def open_tunnel(self, spec: TunnelSpec, *, offer: Offer | None = None) -> tuple[TunnelStatus, ...]:
        """Add a tunnel and wait until each of its protocols is online (which may take as long as the server is away).
        `offer` takes visitors of a tunnel without upstreams. Raises ConfigError, Fault `tunnel_exists`, or RefusedError
        when the server refuses it: then it is not kept."""
        check_spec(spec)
        tunnel = WantedTunnel(spec, offer)
        with self.events.subscribe(visitors=False) as events:
            self._shared.book.add(tunnel)
            self._tell_of_names(spec)
            try:
                if self._session is not None:
                    await self._ask(self._session, tunnel)
                async for event in events:
                    if isinstance(event, TunnelOnline) and event.name == spec.name and not tunnel.missing:
                        return tunnel_statuses(self._shared.book, spec.name)
                    if isinstance(event, TunnelRefused) and event.name == spec.name:
                        raise RefusedError(event.code, event.message, retry=event.retry)
                raise LinkError("agent_closed", "the agent has ended", retry=False)
            except BaseException:
                with trio.move_on_after(1.0, shield=True):
                    await self.close_tunnel(spec.name)
                raise

    async def _ask(self, session: Session, tunnel: WantedTunnel) -> None:
        try:
            await session.open(tunnel)
        except LinkError:
            return  # the session is ending; the next one asks for it

    async def close_tunnel(self, name: str) -> bool:
        """Take a tunnel down and forget it. False when there is none of that name. A 1.7 server keeps the name until the
        session ends; visitors are refused from now on all the same."""
        tunnel = self._shared.book.remove(name)
        if tunnel is None:
            return False
        if self._session is not None:
            try:
                await self._session.close_tunnel(tunnel)
            except LinkError:
                return True  # the session is ending, and the tunnel with it
        else:
            for endpoint in tunnel.endpoints.values():
                self.events.publish(TunnelClosed(name, endpoint.url, "asked", "closed here"))
        return True

    def status(self) -> AgentStatus:
        session, visitors = self._session, self._shared.visitors
        return AgentStatus(
            state=self._state,
            reason=self._reason,
            server=str(self.settings.server),
            server_version=product_of(session.answer) if session else "",
            session_id=(session.answer.session_id or "") if session else "",
            client_id=self.settings.identity.client_id,
            caps=session.caps if session else (),
            latency=session.latency if session else None,
            tunnels=tunnel_statuses(self._shared.book),
            connections=visitors.total,
            active=visitors.active,
            up=visitors.up,
            down=visitors.down,
        )


def _reason(error: Fault | PortBroken) -> tuple[str, str]:
    return (error.message, error.hint) if isinstance(error, Fault) else (str(error), "")


def pin_of(settings: AgentSettings) -> str:
    """The pin that was given, else the one that the token carries: who has a token of ours knows its server."""
    if settings.pin or settings.ca:
        return settings.pin
    token = parse_token(settings.token.reveal())
    return token.pin if token is not None else ""


def new_reactor(on_crash: CrashHandler | None = None) -> Reactor:
    """The fast reactor where there is one; without `on_crash` a defect in a callback ends its `run`."""
    return epoll.EpollReactor(on_crash) if epoll.available else tasks.TaskReactor(on_crash)

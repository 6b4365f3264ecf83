"""One session's control link: login, messages, heartbeat, and the farewell.

Login is: ask the gate (may wait), then in one synchronous step choose the id, let the session into the registry, dismiss
an older session of the same agent and queue AuthResp. So its names are free before AuthResp goes out, and whatever the
older session's task still does later finds nothing of the new one to touch: it releases (id, its own generation).

It must not know listeners, TLS or HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import trio

from ngrokd.absences import Absences
from ngrokd.declare import Declarer
from ngrokd.gate import Admission, Arrival, Gate
from ngrokd.legs import LegHouse, LegSet
from ngrokd.native_links import NativeLinks
from ngrokd.opener import Links
from ngrokd.outbox import Outbox
from ngrokd.pool import LinkPool
from ngrokd.registry import Departure, Registry
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.throttle import limited
from ngrokd.tunnel import Tunnel
from ngrokd.usage import Usages
from protocol.errors import Blame, Fault, LinkError, RefusedError
from protocol.frames import FRAME_CAP
from protocol.link.framed import FramedLink, FramedPort
from protocol.link.logs import Log, log_fault
from protocol.link.port import Port
from protocol.link.reactor import Reactor
from protocol.messages import (
    CLASSIC_VERSION,
    PROTOCOL_VERSION,
    Auth,
    AuthResp,
    CloseTunnel,
    Message,
    NewTunnel,
    Ping,
    Pong,
    ReqLeg,
    ReqProxy,
    ReqTunnel,
    TunnelClosed,
)
from protocol.secret import new_client_id, new_request_id, new_ticket
from protocol.session import ControlOrder, Heartbeat, Side, Sign, heartbeat, negotiate

REFUSAL_TIMEOUT = 5.0  # seconds to tell an agent why it can't come in
LATE = 1.0  # waking this many seconds late means that the machine or the process slept: bytes may be waiting unread
PROBE = 2.0  # seconds a link gets to show life after such a sleep
QUIET = 0.9  # of a beat without a byte: then it is our turn to ping
LEAST_WAIT = 0.001  # seconds between two looks at one session
_CLIENT_ID = re.compile(r"[0-9a-fA-F]{32}")


def _no_absences() -> Absences:
    return Absences(trio.current_time)


def leave_alone(_tunnels: Sequence[Tunnel]) -> None:
    """Visitors go on."""


@dataclass(frozen=True, slots=True)
class Services:
    """What every control link of a server shares."""

    registry: Registry
    declarer: Declarer
    gate: Gate
    reactor: Reactor
    log: Log
    legs: LegHouse
    caps: tuple[str, ...]  # the capabilities that this server offers
    usages: Usages = field(default_factory=Usages)
    absences: Absences = field(default_factory=_no_absences)  # names whose agents are expected back
    cut: Callable[[Sequence[Tunnel]], None] = leave_alone  # resets the visitors of tunnels whose right has ended
    product: str = "ngrokd"  # what native agents are told that we are, with the version


def dismiss(services: Services, departure: Departure | None, reason: str, code: str = "") -> None:
    """Do what remains when a session has left the registry: close listeners, fail its waiting visitors, end its link.
    With `code` a native agent is told so for each tunnel."""
    if departure is None:
        return
    session = departure.session
    services.declarer.take_down(departure.tunnels)
    if code:
        for tunnel in departure.tunnels:
            session.control.send(TunnelClosed(tunnel.id, code, reason))
    with services.reactor.turn():
        session.opener.close()
    session.control.end(reason)


def end_account(services: Services, account: str, reason: str) -> int:
    """End all sessions of a token at once; how many. Synchronous: nothing of them is in the registry after it."""
    sessions = services.registry.sessions_of(account) if account else []
    for session in sessions:
        departure = services.registry.release(session.key)
        dismiss(services, departure, reason, "removed")
        if departure is not None:
            services.cut(departure.tunnels)
    return len(sessions)


# -- login
async def log_in(services: Services, link: FramedLink, auth: Auth, arrival: Arrival) -> Control | None:
    """The session that `auth` asks for, let in; the caller calls `run` at once. It has the port of `link` then, and closes
    it. None: the agent has been told why not, and the caller closes `link`. Never raises a Fault."""
    order = ControlOrder(Side.SERVER)
    order.received(auth)
    log = services.log.bind(agent=arrival.peer)
    try:
        admission = await _admit(services, auth, arrival)
        session, outbox = _enter(services, order, auth, arrival, admission)
    except Fault as fault:
        log_fault(log, fault, "agent refused")
        await _refuse(link, fault)
        return None
    log = log.bind(session=session.id)
    dialect = " ".join(sorted(session.caps)) or "classic"
    log.info(
        "agent logged in",
        version=session.agent.version,
        os=session.agent.os,
        dialect=dialect,
        token=admission.grant.name if admission.grant is not None else "",
    )
    return Control(services, session, (link.release(), order, outbox), log)


async def _admit(services: Services, auth: Auth, arrival: Arrival) -> Admission:
    if auth.version != PROTOCOL_VERSION:
        raise RefusedError(
            "bad_version",
            f"this server speaks protocol {PROTOCOL_VERSION} ({CLASSIC_VERSION}), the agent another one",
            blame=Blame.AGENT,
        )
    return await services.gate.admit(auth, arrival)


async def _refuse(link: FramedLink, fault: Fault) -> None:
    message = f"{fault.message}; {fault.hint}" if fault.hint else fault.message
    with trio.move_on_after(REFUSAL_TIMEOUT):
        try:
            await link.send(AuthResp(error=message, code=fault.code, retry=fault.retry))
        except LinkError:
            return  # it did not wait for the answer


def _enter(
    services: Services, order: ControlOrder, auth: Auth, arrival: Arrival, admission: Admission
) -> tuple[Session, Outbox]:
    """Let the agent in. Synchronous: see the module's docstring. Raises RefusedError when its token has enough sessions."""
    client_id = _choose_id(services.registry, auth, admission)
    if admission.grant is not None:
        others = [one for one in services.registry.sessions_of(admission.account) if one.client_id != client_id]
        admission.grant.check_sessions(len(others) + 1)
    outbox = Outbox(services.reactor, order)
    caps = negotiate(auth.caps, services.caps)
    key = SessionKey(client_id, services.registry.next_generation())
    identity = Identity(
        key=key,
        session_id=new_request_id(),
        ticket=new_ticket() if "ticket" in caps else None,
        account=admission.account,
        grant=admission.grant,
    )
    tunnels: dict[str, Tunnel] = {}
    links = _links(services, outbox, caps, tunnels)
    usage = services.usages.join(admission.grant, outbox.send) if admission.grant is not None else None
    session = Session(identity, _agent_info(auth, arrival), _shared(caps), outbox, links, tunnels, usage)
    session.opener = limited(services.reactor, links, usage, services.log)
    older = services.registry.replace(session)
    if older is not None:
        services.absences.left(older.tunnels)  # until it has asked for them again
    dismiss(services, older, "replaced by a newer connection of the same agent", "taken_over")
    outbox.send(_welcome(session, caps, services.product if auth.caps is not None else None))
    links.warm_up()
    return session, outbox


@lru_cache(maxsize=64)
def _shared(caps: tuple[str, ...]) -> frozenset[str]:
    """One set for all sessions that agreed on the same: it is larger than the session itself."""
    return frozenset(caps)


def _links(services: Services, outbox: Outbox, caps: tuple[str, ...], tunnels: Mapping[str, Tunnel]) -> Links:
    def ask() -> None:
        outbox.send(ReqProxy())

    if "mux" not in caps:
        return LinkPool(services.reactor, ask)
    return NativeLinks(services.legs.own_links, LegSet(services.legs, lambda: outbox.send(ReqLeg())), ask, tunnels)


def _welcome(session: Session, caps: tuple[str, ...], product: str | None) -> AuthResp:
    """`product` is for those who know more than 1.7."""
    if product is None:
        return AuthResp(client_id=session.client_id)
    return AuthResp(
        client_id=session.client_id,
        caps=caps,
        ticket=session.ticket.reveal() if session.ticket is not None else None,
        session_id=session.id,
        server=product,
    )


def _choose_id(registry: Registry, auth: Auth, admission: Admission) -> str:
    """The id of the new session: the one asked for if it may be had, else a fresh one. Taking over a live session needs
    its ticket where it has one, the same account in any case."""
    live = registry.session(auth.client_id)
    if live is None:
        return auth.client_id if _CLIENT_ID.fullmatch(auth.client_id) else new_client_id()
    if live.identity.account != admission.account:
        return new_client_id()
    if live.ticket is None:  # classic: the id is all it has
        return live.client_id if auth.caps is None else new_client_id()
    return live.client_id if live.ticket.matches(auth.resume) else new_client_id()


def _agent_info(auth: Auth, arrival: Arrival) -> AgentInfo:
    if auth.agent is None:
        return AgentInfo(auth.mm_version, auth.os, "", arrival.peer)
    return AgentInfo(auth.agent.version, auth.agent.os, auth.agent.lang, arrival.peer)


# -- the session
class Control:
    """A running session, all in callbacks: there may be thousands that have nothing to say, and a task that waits costs
    more than the rest. One does, in `run`, for the end.

    `connection`: the link's port, owned from now on, the order of messages, and who sends.
    """

    __slots__ = ("_beat", "_due", "_link", "_log", "_order", "_outbox", "_over", "_pinged", "_services", "_session",
                 "_timer", "reason")  # fmt: skip

    def __init__(
        self, services: Services, session: Session, connection: tuple[Port, ControlOrder, Outbox], log: Log
    ) -> None:
        port, self._order, self._outbox = connection
        self._services = services
        self._session = session
        self._log = log
        self._link = FramedPort(services.reactor, port, self._received, self._lost, cap=FRAME_CAP)
        self._over = trio.Event()
        self._beat: Heartbeat = heartbeat(Side.SERVER, session.caps)
        self._timer = services.reactor.timer(self._look)
        self._due = 0.0
        self._pinged = trio.current_time()
        self.reason = "the server stopped"

    async def run(self) -> None:
        """Serve until the link ends, then say farewell: nothing of the session is left. Never raises a Fault."""
        try:
            self._outbox.start(self._link.port, self._end)
            self._link.start()
            # Half a beat off the agent's own: it pings too, and who has just heard the other need not.
            self._look_in(self._beat.every / 2 if self._beat.every else self._beat.dead_after)
            await self._over.wait()
        finally:
            self._leave()

    def _end(self, reason: str) -> None:
        if not self._over.is_set():
            self.reason = reason
            self._over.set()

    def _leave(self) -> None:
        """The farewell: what the session had is free, what it held is let go of."""
        services, session = self._services, self._session
        departure = services.registry.release(session.key)
        if departure is not None:  # nobody ended it on purpose
            services.absences.left(departure.tunnels)
        dismiss(services, departure, "the control link ended")
        self._timer.end()
        self._link.stop()
        self._outbox.stop()
        with services.reactor.turn():
            session.opener.close()
            self._link.port.close()
        if session.usage is not None:
            services.usages.leave(session.usage, session.control.send)
        self._log.info("agent left", reason=self.reason)

    # -- messages
    def _lost(self, fault: Fault | None) -> None:
        if fault is None:
            self._end("the agent closed its control link")
            return
        if not isinstance(fault, LinkError):
            log_fault(self._log, fault, "bad message on the control link")
        self._end(fault.message)

    def _received(self, message: Message) -> None:
        if self._over.is_set():
            return
        try:
            if self._order.received(message):
                self._act(message)
        except Fault as fault:
            self._lost(fault)
        except Exception:  # noqa: BLE001 - told here, and the session is over; the others go on
            self._log.exception("a session ended by a defect of the server")
            self._end("a defect of the server")

    def _act(self, message: Message) -> None:
        match message:
            case Ping():
                self._pinged = self._services.reactor.now
                self._outbox.send(Pong())
            case ReqTunnel():
                self._open_tunnel(message)
            case CloseTunnel():
                self._close_tunnel(message)

    def _open_tunnel(self, request: ReqTunnel) -> None:
        if self._services.registry.session(self._session.client_id) is not self._session:
            return  # replaced: the link is about to end
        if request.options is not None and "options" not in self._session.caps:
            request = ReqTunnel(
                request.req_id,
                request.protocol,
                request.hostname,
                request.subdomain,
                request.http_auth,
                request.remote_port,
            )  # as 1.7, which ignores unknown fields
        try:
            tunnels = self._services.declarer.declare(self._session, request)
        except Fault as fault:
            log_fault(self._log, fault, "tunnel refused", protocol=request.protocol)
            message = f"{fault.message}; {fault.hint}" if fault.hint else fault.message
            self._outbox.send(NewTunnel(request.req_id, "", request.protocol, message, self._native(fault.code)))
            return
        self._services.absences.settled(tunnels)
        for tunnel in tunnels:
            self._log.info("tunnel online", url=tunnel.url, protocol=tunnel.protocol, tunnel=tunnel.id)
            self._outbox.send(
                NewTunnel(request.req_id, tunnel.url, tunnel.protocol, "", tunnel_id=self._native(tunnel.id))
            )
            self._session.links.announced(tunnel)

    def _native(self, extra: str) -> str | None:
        return extra if self._session.caps else None

    def _close_tunnel(self, message: CloseTunnel) -> None:
        tunnel = self._services.registry.withdraw(self._session.key, message.tunnel_id)
        if tunnel is None:
            self._outbox.send(TunnelClosed(message.tunnel_id, "unknown", "there is no such tunnel"))
            return
        self._services.declarer.take_down([tunnel])
        self._log.info("tunnel closed", url=tunnel.url, tunnel=tunnel.id)
        self._outbox.send(TunnelClosed(tunnel.id, "asked", ""))

    # -- the clock
    def _look_in(self, seconds: float) -> None:
        """Look at the session again after at most that long; earlier where its token expires. That is the wall clock's
        time, which may be set or jump: a look every half minute at least finds out."""
        grant = self._session.identity.grant
        if grant is not None and grant.expires is not None:
            seconds = min(seconds, grant.expires - self._services.declarer.clock())
        seconds = max(seconds, LEAST_WAIT)
        self._due = trio.current_time() + seconds
        self._timer.set(seconds)

    def _look(self) -> None:
        """Ping where it is our turn, and end a link that shows no life. After a sleep of this machine or process the
        signs may be waiting unread, so the link is given a moment to show them."""
        if self._over.is_set():
            return
        grant = self._session.identity.grant
        if grant is not None and grant.expires is not None and grant.expires <= self._services.declarer.clock():
            self._expire()
            return
        now, beat = self._services.reactor.now, self._beat
        if beat.every and now - self._link.last_received >= beat.every * QUIET:
            self._outbox.send(Ping())
        left = self._last_sign() + beat.dead_after - now
        if left > 0:
            self._look_in(min(beat.every or left, left))
        elif now - self._due > LATE:
            self._look_in(PROBE)
        else:
            self._end(f"no sign of life for {beat.dead_after:g} s")

    def _last_sign(self) -> float:
        if self._beat.sign is Sign.PING:
            return self._pinged
        return max(self._link.last_received, self._session.links.heard)

    def _expire(self) -> None:
        services = self._services
        departure = services.registry.release(self._session.key)
        dismiss(services, departure, "the token has expired", "expired")
        if departure is not None:
            services.cut(departure.tunnels)

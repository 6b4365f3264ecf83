"""One session's control link: login, messages, heartbeat, and the farewell.

Login is: ask the gate (may wait), then in one synchronous step choose the id, let the session into the registry, dismiss
an older session of the same agent and queue AuthResp. So its names are free before AuthResp goes out, and whatever the
older session's task still does later finds nothing of the new one to touch: it releases (id, its own generation).

It must not know listeners, TLS or HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from ngrokd.absences import Absences
from ngrokd.declare import Declarer
from ngrokd.gate import Admission, Arrival, Gate
from ngrokd.grants import Grant
from ngrokd.legs import LegHouse, LegSet
from ngrokd.outbox import Outbox
from ngrokd.pool import LinkPool
from ngrokd.registry import Departure, Registry
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.throttle import limited
from ngrokd.tunnel import Tunnel
from ngrokd.usage import Usages
from protocol.errors import Blame, Fault, LinkError, RefusedError
from protocol.frames import FRAME_CAP
from protocol.link.framed import FramedLink
from protocol.link.logs import Log, log_fault
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
from protocol.session import ControlOrder, Side, Sign, heartbeat, negotiate

REFUSAL_TIMEOUT = 5.0  # seconds to tell an agent why it can't come in
LATE = 1.0  # waking this many seconds late means that the machine or the process slept: bytes may be waiting unread
LOOK_AT_CLOCK = 30.0  # seconds between two looks at the wall clock, which may be set
PROBE = 2.0  # seconds a link gets to show life after such a sleep
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


async def serve_control(services: Services, link: FramedLink, auth: Auth, arrival: Arrival) -> None:
    """Serve the session that `auth` asks for until its link ends. The caller closes `link`. Never raises a Fault."""
    order = ControlOrder(Side.SERVER)
    order.received(auth)
    log = services.log.bind(agent=arrival.peer)
    try:
        admission = await _admit(services, auth, arrival)
        session, outbox = _enter(services, (link, order), auth, arrival, admission)
    except Fault as fault:
        log_fault(log, fault, "agent refused")
        await _refuse(link, fault)
        return
    log = log.bind(session=session.id)
    dialect = " ".join(sorted(session.caps)) or "classic"
    log.info(
        "agent logged in",
        version=session.agent.version,
        os=session.agent.os,
        dialect=dialect,
        token=admission.grant.name if admission.grant is not None else "",
    )
    control = _Control(services, session, outbox, (link, order), log)
    try:
        await control.run()
    finally:
        departure = services.registry.release(session.key)
        if departure is not None:  # nobody ended it on purpose
            services.absences.left(departure.tunnels)
        dismiss(services, departure, "the control link ended")
        with services.reactor.turn():
            session.opener.close()
        if session.usage is not None:
            services.usages.leave(session.usage, session.control.send)
        log.info("agent left", reason=control.reason)


# -- login
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
    services: Services, connection: tuple[FramedLink, ControlOrder], auth: Auth, arrival: Arrival, admission: Admission
) -> tuple[Session, Outbox]:
    """Let the agent in. Synchronous: see the module's docstring. Raises RefusedError when its token has enough sessions."""
    link, order = connection
    client_id = _choose_id(services.registry, auth, admission)
    if admission.grant is not None:
        others = [one for one in services.registry.sessions_of(admission.account) if one.client_id != client_id]
        admission.grant.check_sessions(len(others) + 1)
    outbox = Outbox(link, order)
    caps = negotiate(auth.caps, services.caps)
    key = SessionKey(client_id, services.registry.next_generation())
    identity = Identity(
        key=key,
        session_id=new_request_id(),
        ticket=new_ticket() if "ticket" in caps else None,
        account=admission.account,
        grant=admission.grant,
    )
    links = _opener(services, outbox, caps)
    usage = services.usages.join(admission.grant, outbox.send) if admission.grant is not None else None
    opener = limited(services.reactor, links, usage, services.log)
    session = Session(identity, _agent_info(auth, arrival), frozenset(caps), outbox, opener, usage=usage, links=links)
    older = services.registry.replace(session)
    if older is not None:
        services.absences.left(older.tunnels)  # until it has asked for them again
    dismiss(services, older, "replaced by a newer connection of the same agent", "taken_over")
    outbox.send(_welcome(session, caps, native=auth.caps is not None))
    links.warm_up()
    link.cap = FRAME_CAP
    return session, outbox


def _opener(services: Services, outbox: Outbox, caps: tuple[str, ...]) -> LinkPool | LegSet:
    if "mux" in caps:
        return LegSet(services.legs, lambda: outbox.send(ReqLeg()))
    return LinkPool(services.reactor, lambda: outbox.send(ReqProxy()))


def _welcome(session: Session, caps: tuple[str, ...], *, native: bool) -> AuthResp:
    if not native:
        return AuthResp(client_id=session.client_id)
    return AuthResp(
        client_id=session.client_id,
        caps=caps,
        ticket=session.ticket.reveal() if session.ticket is not None else None,
        session_id=session.id,
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
class _Control:
    """A running session: three tasks (reading, writing, heartbeat); the first that ends ends them all."""

    def __init__(
        self,
        services: Services,
        session: Session,
        outbox: Outbox,
        connection: tuple[FramedLink, ControlOrder],
        log: Log,
    ) -> None:
        self._services = services
        self._session = session
        self._outbox = outbox
        self._link, self._order = connection
        self._log = log
        self._scope = trio.CancelScope()
        self._last_ping = trio.current_time()
        self.reason = "the server stopped"

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._watch)
                if self._session.identity.grant is not None:
                    nursery.start_soon(self._expire, self._session.identity.grant)
                await self._read()

    def _end(self, reason: str) -> None:
        if not self._scope.cancel_called:
            self.reason = reason
            self._scope.cancel()

    # -- writing
    async def _write(self) -> None:
        try:
            self._end(await self._outbox.run())
        except LinkError as fault:
            self._end(fault.message)

    # -- reading
    async def _read(self) -> None:
        try:
            while True:
                message = await self._link.receive()
                if message is None:
                    self._end("the agent closed its control link")
                    return
                if self._order.received(message):
                    self._act(message)
        except LinkError as fault:
            self._end(fault.message)
        except Fault as fault:
            log_fault(self._log, fault, "bad message on the control link")
            self._end(fault.message)

    def _act(self, message: Message) -> None:
        match message:
            case Ping():
                self._last_ping = trio.current_time()
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

    # -- the token's end
    async def _expire(self, grant: Grant) -> None:
        """End the session when its token expires. Looks at the wall clock now and then: that may be set, or jump."""
        if grant.expires is None:
            return
        services = self._services
        while True:
            left = grant.expires - services.declarer.clock()
            if left <= 0:
                break
            await trio.sleep(min(left, LOOK_AT_CLOCK))
        departure = services.registry.release(self._session.key)
        dismiss(services, departure, "the token has expired", "expired")
        if departure is not None:
            services.cut(departure.tunnels)

    # -- heartbeat
    async def _watch(self) -> None:
        """Ping where it is our turn, and end a link that shows no life. After a sleep of this machine or process the
        signs may be waiting unread, so the link is given a moment to show them."""
        beat = heartbeat(Side.SERVER, self._session.caps)
        next_ping = trio.current_time() + beat.every if beat.every else float("inf")
        while True:
            wake = min(self._last_sign(beat.sign) + beat.dead_after, next_ping)
            await trio.sleep_until(wake)
            now = trio.current_time()
            if now >= next_ping:
                self._outbox.send(Ping())
                next_ping = now + beat.every
            if now - wake > LATE:
                await trio.sleep(PROBE)
            if trio.current_time() >= self._last_sign(beat.sign) + beat.dead_after:
                self._end(f"no sign of life for {beat.dead_after:g} s")
                return

    def _last_sign(self, sign: Sign) -> float:
        if sign is Sign.PING:
            return self._last_ping
        links = self._session.links
        on_legs = links.heard if isinstance(links, LegSet) else float("-inf")
        return max(self._link.last_received, on_legs)

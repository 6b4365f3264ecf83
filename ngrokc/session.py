"""One login: Auth, tunnels, heartbeat, links. From AuthResp to the end of the control link; what comes after is `agent`'s.

The session owns its control link, its parked proxy links and its legs. Visitors that run outlive it.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

import trio

from ngrokc.events import Latency, Notice, TunnelClosed, TunnelOnline, TunnelRefused
from ngrokc.heartbeat import Pulse
from ngrokc.identity import Identity
from ngrokc.legs import Legs, LiveLegs
from ngrokc.proxy import Visitors
from ngrokc.proxy_links import ProxyLinks
from ngrokc.routes import Route, Routes
from ngrokc.tunnels import FOR_GOOD, Answer, Asked, TunnelBook, WantedTunnel
from ngrokc.version import VERSION
from protocol import messages
from protocol.errors import Blame, Fault, LinkError, RefusedError, WireError
from protocol.frames import FRAME_CAP
from protocol.link.dial import ServerDialer
from protocol.link.framed import FramedLink
from protocol.link.port import PortBroken
from protocol.messages import (
    AgentInfo,
    Auth,
    AuthResp,
    CloseTunnel,
    GoAway,
    Message,
    NewTunnel,
    Ping,
    Pong,
    RegLeg,
    RegProxy,
)
from protocol.secret import Secret
from protocol.session import ControlOrder, Side

DIAL_TIMEOUT = 10.0  # connect, proxy and TLS together
LOGIN_TIMEOUT = 10.0  # a 1.7 server that replaces an old session answers only when that one is torn down
FINAL = frozenset({"bad_version", "bad_token", "token_needed", "not_allowed"})
OURS = ("ticket", "close", "options", "verdict", "bye", "notice")


@dataclass(frozen=True, slots=True)
class Shared:
    """What every session of one agent uses."""

    dialer: ServerDialer
    visitors: Visitors
    book: TunnelBook
    identity: Identity
    token: Secret
    legs: LiveLegs
    mux: bool


@dataclass(frozen=True, slots=True)
class Login:
    """A control link that was let in."""

    link: FramedLink
    order: ControlOrder
    answer: AuthResp


async def log_in(shared: Shared) -> Login:
    """Dial and authenticate. Raises LinkError (try again), WireError, RefusedError (`retry` says whether to try again)."""
    port = await shared.dialer.dial(timeout=DIAL_TIMEOUT)
    try:
        link = FramedLink(port.stream(), cap=FRAME_CAP)
        order = ControlOrder(Side.AGENT)
        with trio.move_on_after(LOGIN_TIMEOUT):
            answer = await _authenticate(shared, link, order)
            return Login(link, order, answer)
        raise LinkError("login_timeout", f"the server did not answer the login within {LOGIN_TIMEOUT:g} s")
    except WireError as error:
        port.close()
        raise LinkError(
            error.code,
            f"what answers there does not speak ngrok's protocol ({error.message})",
            hint="is that the tunnel port of an ngrokd, and not its https port?",
        ) from error
    except BaseException:
        port.close()
        raise


async def _authenticate(shared: Shared, link: FramedLink, order: ControlOrder) -> AuthResp:
    auth = Auth(
        user=shared.token.reveal(),
        os=sys.platform,
        arch=platform.machine(),
        client_id=shared.identity.client_id,
        caps=(*OURS, "mux") if shared.mux else OURS,
        agent=AgentInfo(VERSION, platform.system(), f"Python {platform.python_version()}"),
        resume=shared.identity.ticket.reveal() or None,
    )
    order.sent(auth)
    await link.send(auth)
    answer = await link.receive()
    if answer is None:
        raise LinkError(
            "login_closed", "the server closed the connection instead of answering", hint="is it an ngrokd?"
        )
    order.received(answer)
    assert isinstance(answer, AuthResp)  # the order allows nothing else here
    if answer.error:
        # 1.7 gives no reason that a program could read, and 1.7's own client ends there
        again = answer.retry if answer.retry is not None else answer.code is not None and answer.code not in FINAL
        raise RefusedError(answer.code or "refused", answer.error, retry=again)
    if not answer.client_id:
        raise LinkError("login_answer", "the server gave no client id", blame=Blame.SERVER)
    return answer


def product_of(answer: AuthResp) -> str:
    """What program answered, for people: `ngrokd 0.1.0`; servers that do not say, those of 1.7 too, have a version alone."""
    return answer.server or answer.mm_version


class Session:
    """A running login. `run` serves it; `leaving` is set when the agent should dial anew (the link ended or will)."""

    def __init__(self, shared: Shared, login: Login) -> None:
        self.shared = shared
        self.link = login.link
        self.answer = login.answer
        self.caps = login.order.caps
        self.leaving = trio.Event()
        self.reason = ""
        self.going_away = ""
        """The reason of a GoAway, `restart` or `shutdown`; "" without one."""
        self.latency: float | None = None
        self.routes = Routes()
        self._order = login.order
        self._bus = shared.visitors.bus
        self._asked = Asked(native=bool(self.caps))
        verdict = "verdict" in self.caps
        watch = shared.visitors.own_links if "mux" in self.caps else None
        self._links = ProxyLinks(
            shared.dialer, shared.visitors, self.routes, self._registration, verdict=verdict, watch=watch
        )
        self._legs = Legs(
            shared.dialer, shared.visitors, self.routes, self._leg_registration, shared.legs, verdict=verdict
        )
        self._pulse = Pulse(self.link, self.caps, life=lambda: self._legs.heard, latency=self._round_trip)
        self._nursery: trio.Nursery | None = None
        self.current = True
        """False once a newer session is on its way: then closed tunnels mean nothing but that."""
        self.proved = False
        """Whether a tunnel has come online: then the next attempt may come soon."""

    def __repr__(self) -> str:
        return f"<Session {self.answer.client_id[:8]}... {' '.join(self.caps) or 'classic'}>"

    @property
    def native(self) -> bool:
        return bool(self.caps)

    # -- running
    async def run(self) -> None:
        """Serve until the control link ends; then `reason` says why. Never raises a Fault; cancelling says goodbye by
        closing the link."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._pulse.run)
                if "mux" in self.caps:
                    nursery.start_soon(self._legs.run)
                await self._ask_for(self.shared.book.in_asking_order())
                await self._receive()
                nursery.cancel_scope.cancel()
            self.reason = self.reason or "the server closed the connection"
        except* (Fault, PortBroken) as group:
            self.reason = self.reason or _first_message(group)
        finally:
            self._nursery = None
            self.leaving.set()
            self._links.close()
            with trio.CancelScope(shield=True):
                await self.link.aclose()

    def probe(self, reason: str) -> None:
        """This machine slept or its clock moved: see whether the server still answers."""
        self._pulse.probe(reason)

    async def _receive(self) -> None:
        while True:
            message = await self.link.receive()
            if message is None:
                return
            if self._order.received(message):
                await self._act(message)

    async def _act(self, message: Message) -> None:
        match message:
            case messages.ReqProxy():
                if self._nursery is not None:
                    self._links.ask(self._nursery)
            case messages.ReqLeg():
                self._legs.ask()
            case NewTunnel():
                await self._tunnel_answered(message)
            case Pong():
                self._pulse.ponged()
            case Ping():
                await self.link.send(Pong())
            case messages.TunnelClosed():
                self._tunnel_closed(message)
            case messages.Notice():
                self._bus.publish(Notice("warning", f"{message.message} ({message.code})"))
            case GoAway():
                self.going_away = message.reason or "restart"
                self.reason = f"the server is leaving ({self.going_away})"
                self.leaving.set()

    def _round_trip(self, seconds: float) -> None:
        self.latency = seconds
        self._bus.publish(Latency(seconds))

    def _registration(self) -> RegProxy:
        return RegProxy(self.answer.client_id, self.answer.ticket if "ticket" in self.caps else None)

    def _leg_registration(self, number: int) -> RegLeg:
        return RegLeg(self.answer.client_id, self.answer.ticket or "", number)

    # -- tunnels
    async def open(self, tunnel: WantedTunnel) -> None:
        """Ask for a tunnel that was added to the book. Raises LinkError."""
        await self._ask_for([tunnel])

    async def _ask_for(self, tunnels: list[WantedTunnel]) -> None:
        for tunnel in tunnels:
            if not self.native and (lost := tunnel.spec.options.lost_on_classic()):
                text = f"tunnel {tunnel.name}: this server is ngrok 1.7 and ignores {', '.join(lost)}"
                self._bus.publish(Notice("warning", text))
            for request in self._asked.requests(tunnel):
                self._order.sent(request)
                await self.link.send(request)

    async def _tunnel_answered(self, message: NewTunnel) -> None:
        answer = self._asked.answered(message)
        if answer is None:
            self._bus.publish(Notice("warning", "the server answered a request that was not made"))
            return
        if self.shared.book.get(answer.tunnel.name) is not answer.tunnel:
            await self._not_wanted_any_more(message)
            return
        if message.error:
            self._refused(answer)
            return
        self._online(answer)
        if not self.native:  # the other protocol of a nameless tunnel can be asked for now
            await self._ask_for([answer.tunnel])

    async def _not_wanted_any_more(self, message: NewTunnel) -> None:
        if message.tunnel_id and self._order.may_send(CloseTunnel):
            await self.link.send(CloseTunnel(message.tunnel_id))

    def _online(self, answer: Answer) -> None:
        tunnel, message = answer.tunnel, answer.message
        spec, endpoint = tunnel.spec, tunnel.endpoints[answer.protocols[0]]
        upstream = spec.upstreams[endpoint.protocol]
        endpoint.state, endpoint.url, endpoint.code, endpoint.message = "online", message.url, "", ""
        endpoint.route = Route(
            spec.name,
            message.url,
            endpoint.protocol,
            message.tunnel_id or "",
            upstream,
            spec.options,
            offer=tunnel.offer,
            guard="options" not in self.caps,
        )
        self.routes.add(endpoint.route)
        self.proved = True
        tunnel.backoff.reset()
        tunnel.refusals = 0
        shown = str(upstream) if upstream is not None else "this program"
        self._bus.publish(TunnelOnline(spec.name, message.url, endpoint.protocol, shown))

    def _refused(self, answer: Answer) -> None:
        tunnel, message = answer.tunnel, answer.message
        tunnel.refusals += 1
        code = message.code or "refused"
        for protocol in answer.protocols:
            endpoint = tunnel.endpoints[protocol]
            endpoint.state, endpoint.code, endpoint.message = "refused", code, message.error
        again = code not in FOR_GOOD
        self._bus.publish(TunnelRefused(tunnel.name, "+".join(answer.protocols), code, message.error, retry=again))
        if again and self._nursery is not None:
            self._nursery.start_soon(self._ask_again, tunnel, tunnel.backoff.next() + 1.0)

    async def _ask_again(self, tunnel: WantedTunnel, wait: float) -> None:
        """One refused tunnel, some time later, while the others work."""
        await trio.sleep(wait)
        if not tunnel.given_up and self.shared.book.get(tunnel.name) is tunnel and not self.leaving.is_set():
            await self._ask_for([tunnel])

    def _tunnel_closed(self, message: messages.TunnelClosed) -> None:
        route = self.routes.by_id(message.tunnel_id)
        if route is None:
            return
        self.routes.remove(route)
        tunnel = self.shared.book.get(route.name)
        if not self.current:
            return
        if tunnel is not None and tunnel.endpoints[route.protocol].route is route:
            endpoint = tunnel.endpoints[route.protocol]
            back = message.code == "kicked"  # it is the session that ends; a ban is told at the next login
            endpoint.state, endpoint.route = "waiting" if back else "closed", None
            endpoint.code, endpoint.message = message.code, message.message
            tunnel.given_up = not back  # somebody decided it: asking again by ourselves would be a quarrel
        self._bus.publish(TunnelClosed(route.name, route.url, message.code, message.message))

    async def close_tunnel(self, tunnel: WantedTunnel) -> bool:
        """Give its names back. False when this server can't (1.7): it keeps them until the session ends; visitors who come
        are refused here."""
        can = self._order.may_send(CloseTunnel)
        for endpoint in tunnel.endpoints.values():
            route = endpoint.route
            if route is None:
                continue
            endpoint.state, endpoint.route = "closed", None
            if can and route.tunnel_id:
                await self.link.send(CloseTunnel(route.tunnel_id))
            self.routes.remove(route)
            self._bus.publish(TunnelClosed(route.name, route.url, "asked", "closed here"))
        return can


def _first_message(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.message if isinstance(error, Fault) else str(error)

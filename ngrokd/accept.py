"""The tunnel port: every agent's links arrive here. The listener only accepts; handshake and first frame are the child's.

A link has FIRST_FRAME_TIMEOUT for both together, whatever it trickles, and until it has shown who it is it costs one task
and 16 KiB; how many may be in that state, in all and from one address, is capped. From one address they shake hands in
turn. Then Auth goes to `control`, RegProxy to the session's pool. It must not know the edge.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections import Counter

import trio

from ngrokd.control import Control, Services, log_in
from ngrokd.gate import Arrival
from ngrokd.native_links import NativeLinks
from protocol.address import plain_ip
from protocol.errors import Blame, Fault, LinkError
from protocol.link.faults import PortBroken, TlsError
from protocol.link.framed import FramedLink
from protocol.link.hello import announces_leg
from protocol.link.listener import Listener
from protocol.link.logs import Log, log_fault
from protocol.link.plain import PlainPort
from protocol.link.tls import TlsPort
from protocol.link.tls_socket import TlsSocketPort
from protocol.messages import Auth, Message, RegLeg, RegLegResp, RegProxy
from protocol.session import link_kind

FIRST_FRAME_TIMEOUT = 10.0  # seconds from accept, TLS handshake included, as in 1.7
MAX_STRANGERS = 2_048  # links that have not shown who they are
MAX_STRANGERS_OF_ONE = 1_536  # of one address: a thousand agents behind it come back at once after a restart
# How many of those shake hands at the same time. All at once would make each as slow as all together, and where that is
# longer than their time allows, nobody comes in.
AT_WORK_OF_ONE = 128
COMPLAIN_EVERY = 1.0  # seconds between two lines about missing descriptors


class TunnelPort:
    """Takes agents' links in."""

    def __init__(self, services: Services, context: ssl.SSLContext) -> None:
        self._services = services
        self._context = context
        self._strangers: Counter[str] = Counter()
        self._turns: dict[str, trio.CapacityLimiter] = {}
        self._log = services.log
        self._complained = self._warned = float("-inf")
        self._turned_away = 0  # since the last line about it

    def use(self, context: ssl.SSLContext) -> None:
        """Another certificate from the next handshake on."""
        self._context = context

    @property
    def strangers(self) -> int:
        """Links between accept and their first frame."""
        return self._strangers.total()

    def listen(self, sock: socket.socket, links: trio.Nursery) -> Listener:
        """Accept from `sock` (owned by the listener from now on; the caller closes that). Links run in `links`, which must
        outlive the listener."""
        listener = Listener(
            self._services.reactor, sock, lambda port, address: self._begin(port.sock, address, links), self._exhausted
        )
        listener.start()
        return listener

    def _exhausted(self, number: int) -> None:
        now = trio.current_time()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            self._log.error("can't accept agents", reason=os.strerror(number))

    def _turn_away(self, peer: str) -> None:
        self._turned_away += 1
        now = trio.current_time()
        if now - self._warned >= COMPLAIN_EVERY:
            self._log.warning(
                "links are turned away: too many have not logged in yet", agent=peer, count=self._turned_away
            )
            self._warned, self._turned_away = now, 0

    def _begin(self, sock: socket.socket, address: tuple[str, int], links: trio.Nursery) -> None:
        peer = plain_ip(address[0])
        if self.strangers >= MAX_STRANGERS or self._strangers[peer] >= MAX_STRANGERS_OF_ONE:
            sock.close()
            self._turn_away(peer)
            return
        try:
            arrival = Arrival(peer, plain_ip(sock.getsockname()[0]), address[1])
        except OSError:
            sock.close()  # gone already
            return
        self._strangers[peer] += 1
        links.start_soon(self._serve, sock, arrival)

    async def _serve(self, sock: socket.socket, arrival: Arrival) -> None:
        """One link, from accept to its end or until the pool takes it. A failure, ours too, ends this link alone."""
        log = self._log.bind(agent=arrival.peer)
        try:
            control = await self._meet(sock, arrival, log)
            if control is not None:
                await control.run()
        except trio.TooSlowError:
            log.info("a link said nothing in time")
        except (PortBroken, LinkError) as error:
            (log.debug if _comes_back(error, arrival) else log.info)("a link failed", reason=str(error))
        except Fault as fault:
            log_fault(log, fault, "a link began badly")
        except Exception:
            log.exception("a link ended by a defect of the server")

    async def _meet(self, sock: socket.socket, arrival: Arrival, log: Log) -> Control | None:
        """Find out what the link is, and hand it over or close it; the session, if it is one that may begin. A call of its
        own, so that what was only needed for meeting does not stay as long as the session."""
        link, first = await self._first_frame(sock, arrival)
        handed_over = False
        try:
            match first:
                case Auth():
                    control = await log_in(self._services, link, first, arrival)
                    handed_over = control is not None
                    return control
                case RegProxy():
                    self._join(link, first)
                    handed_over = True
                case RegLeg():
                    handed_over = await self._join_leg(link, first)
                case None:
                    log.debug("a link was closed without a word")
        finally:
            if not handed_over:
                link.port.close()
        return None

    async def _first_frame(self, sock: socket.socket, arrival: Arrival) -> tuple[FramedLink, Message | None]:
        """Handshake, in the build of TLS that suits the link as far as its ClientHello tells, and first frame; whatever
        fails on the way closes `sock`."""
        port: PlainPort | TlsPort | TlsSocketPort = PlainPort(sock)
        try:
            with trio.fail_after(FIRST_FRAME_TIMEOUT):
                kind = TlsSocketPort if await announces_leg(sock) else TlsPort
                async with self._turns.setdefault(arrival.peer, trio.CapacityLimiter(AT_WORK_OF_ONE)):
                    port = kind(sock, self._context, server_side=True)
                    await port.handshake()
                    link = FramedLink(port.stream())
                    first = await link.receive()
                    if first is not None:
                        link_kind(first)  # raises for what no link begins with
        except BaseException:
            port.close()
            raise
        finally:
            self._leave_strangers(arrival.peer)
        return link, first

    def _leave_strangers(self, peer: str) -> None:
        self._strangers[peer] -= 1
        if not self._strangers[peer]:
            del self._strangers[peer]
            self._turns.pop(peer, None)

    async def _join_leg(self, link: FramedLink, registration: RegLeg) -> bool:
        """Take a leg into its session, or tell the agent why not; whether the set owns the port now."""
        session = self._services.registry.session(registration.client_id)
        links = session.links if session is not None else None
        error = ""
        if session is None or not session.admits(registration.client_id, registration.ticket):
            error = "no such session"  # one answer for all wrong credentials
        elif not isinstance(links, NativeLinks):
            error = "the session has no mux capability"
        elif not links.legs.has_room:
            error = "the session has enough legs"
        with trio.fail_after(FIRST_FRAME_TIMEOUT):
            await link.send(RegLegResp(error))
        if not isinstance(links, NativeLinks) or error:
            return False
        port = link.release()
        with self._services.reactor.turn():
            links.legs.join(port)
        return True

    def _join(self, link: FramedLink, registration: RegProxy) -> None:
        """Hand a proxy link to its session. Nothing is answered to a wrong one, as in 1.7: it is closed."""
        session = self._services.registry.session(registration.client_id)
        if session is None or not session.admits(registration.client_id, registration.ticket):
            raise Fault("unknown_session", "a proxy link of no session that lives here", blame=Blame.AGENT)
        port = link.release()
        port.attach(self._services.reactor)
        with self._services.reactor.turn():
            session.links.offer(port)


def _comes_back(error: PortBroken | LinkError, arrival: Arrival) -> bool:
    """Whether this is the first try of an agent on this machine: it checks the certificate, finds our own CA's, and comes
    again at once, excusing it. One that does not excuse it tells its user."""
    return arrival.on_this_machine and isinstance(error, TlsError) and error.doubted

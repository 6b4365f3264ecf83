"""A small native server for tests of our agent: sessions, legs and streams, with nothing public. Tests open the streams.

It speaks through protocol/, as ngrokd does; what it leaves out is everything that decides (names, rights, routing). Every
message that agents send lands in `got`, in order.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from protocol.errors import Fault
from protocol.frames import FRAME_CAP, frame
from protocol.link.epoll import EpollReactor
from protocol.link.framed import FramedLink
from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.port import Port, PortBroken
from protocol.link.tls import TlsPort
from protocol.messages import (
    Auth,
    AuthResp,
    CloseTunnel,
    Message,
    NewTunnel,
    Ping,
    Pong,
    RegLeg,
    RegLegResp,
    RegProxy,
    ReqProxy,
    ReqTunnel,
    StartProxy,
    TunnelClosed,
)
from protocol.mux import Role
from protocol.secret import new_ticket
from protocol.session import CAPABILITIES, negotiate

Kind = TypeVar("Kind", bound=Message)


@dataclass
class NativeServer:
    """`await nursery.start(server.serve)`; then `port`. Attributes make it behave differently while it runs."""

    context: ssl.SSLContext
    caps: tuple[str, ...] = CAPABILITIES
    refuse_login: AuthResp | None = None
    refuse_tunnel: NewTunnel | None = None
    refuse_legs: str = ""
    mute: bool = False  # takes Auth and says nothing
    answer_pings: bool = True
    port: int = 0
    got: list[Message] = field(default_factory=list)
    links: list[FramedLink] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    proxies: list[FramedLink] = field(default_factory=list)  # that no visitor has had yet
    tickets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reactor = EpollReactor()
        self._news = trio.Event()
        self._shared = LegShared()
        self._tunnels = 0

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.reactor.run)
            (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listener.socket.getsockname()[1]
            task_status.started()
            try:
                await trio.serve_listeners(self._link, [listener])
            finally:
                for leg in list(self.legs):
                    with self.reactor.turn():
                        leg.abort()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(10):
            while not condition():
                await self._news.wait()

    async def seen(self, kind: type[Kind], times: int = 1) -> Kind:
        """The last message of a class once there are that many."""
        await self.until(lambda: sum(isinstance(message, kind) for message in self.got) >= times)
        return [message for message in self.got if isinstance(message, kind)][-1]

    def _note(self, message: Message | None = None) -> None:
        if message is not None:
            self.got.append(message)
        self._news.set()
        self._news = trio.Event()

    async def _link(self, stream: trio.SocketStream) -> None:
        port = TlsPort(socket.socket(fileno=stream.socket.detach()), self.context, server_side=True)
        kept = False
        try:
            await port.handshake()
            link = FramedLink(port.stream(), cap=FRAME_CAP)
            first = await link.receive()
            self._note(first)
            if isinstance(first, Auth):
                await self._session(link, first)
            elif isinstance(first, RegLeg):
                kept = await self._leg(link)
            elif isinstance(first, RegProxy):
                self.proxies.append(link)
                kept = True
                self._note()
        except (Fault, PortBroken):
            pass
        finally:
            if not kept:
                port.close()

    async def _session(self, link: FramedLink, auth: Auth) -> None:
        if self.refuse_login is not None:
            await link.send(self.refuse_login)
            return
        if self.mute:
            await trio.sleep_forever()
        self.links.append(link)
        self.tickets.append(new_ticket().reveal())
        caps = negotiate(auth.caps, self.caps)
        await link.send(
            AuthResp(client_id=auth.client_id, caps=caps, ticket=self.tickets[-1], session_id=f"s{len(self.links)}")
        )
        self._note()
        try:
            while (message := await link.receive()) is not None:
                self._note(message)
                await self._answer(link, message)
        finally:
            self.links.remove(link)
            self._note()

    async def _answer(self, link: FramedLink, message: Message) -> None:
        match message:
            case Ping() if self.answer_pings:
                await link.send(Pong())
            case ReqTunnel() if self.refuse_tunnel is not None:
                await link.send(self.refuse_tunnel)
            case ReqTunnel():
                for protocol in message.protocol.split("+"):
                    self._tunnels += 1
                    url = f"{protocol}://{message.subdomain or 'random'}.ngrok.me"
                    await link.send(NewTunnel(message.req_id, url, protocol, tunnel_id=f"t{self._tunnels}"))
            case CloseTunnel():
                await link.send(TunnelClosed(message.tunnel_id, "asked", ""))

    async def _leg(self, link: FramedLink) -> bool:
        await link.send(RegLegResp(self.refuse_legs))
        if self.refuse_legs:
            return False

        def on_end(_reason: str) -> None:
            self.legs.remove(leg)
            self._note()

        with self.reactor.turn():
            leg = Leg(
                self.reactor, link.release(), role=Role.SERVER, on_stream=None, on_end=on_end, shared=self._shared
            )
            self.legs.append(leg)
        self._note()
        return True

    async def leg(self, number: int = 1) -> Leg:
        """The newest leg once there are that many."""
        await self.until(lambda: len(self.legs) >= number)
        return self.legs[-1]

    async def visit_on_own_link(self, start: StartProxy, data: bytes = b"") -> Port:
        """A visitor on a proxy link that is asked for, on which StartProxy and `data` were written; task-owned."""
        await self.links[-1].send(ReqProxy())
        await self.until(lambda: bool(self.proxies))
        port = self.proxies.pop().release()
        port.attach(self.reactor)
        with self.reactor.turn():
            port.write(frame(start) + data)
        port.detach()
        return port

    async def visit(self, start: StartProxy, data: bytes = b"") -> StreamPort:
        """A visitor: a stream on which StartProxy and `data` were written, task-owned."""
        leg = await self.leg()
        with self.reactor.turn():
            stream = leg.open()
            stream.write(frame(start) + data)
        stream.detach()
        return stream

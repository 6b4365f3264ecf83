"""The composition root: puts the parts of one ngrokd together, starts them in order and stops them in order.

`Server` is for the command line, for tests and for programs that embed it. It reads nothing but its Settings and the
state directory, and leaves nothing behind: no task, no descriptor. Signals and exit codes are the command line's.

Start: state, certificate, listeners (all of them or an error that names the flag), reactor, agents, visitors.
Stop: no new visitors and agents; native agents are told; what runs gets `grace` seconds; then everything is closed.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from ngrokd import certs
from ngrokd.accept import TunnelPort
from ngrokd.admin.house import Facts, House
from ngrokd.admin.office import Office, check_address
from ngrokd.admin.operator import Levers
from ngrokd.affinity import Affinity, AffinityFile
from ngrokd.certs import ServerCertificate
from ngrokd.control import Services, dismiss
from ngrokd.declare import Declarer
from ngrokd.edge.http import EdgeWorld
from ngrokd.edge.pages import Pages
from ngrokd.edge.tcp import TcpEdge
from ngrokd.gate import AddressGate, Gate
from ngrokd.legs import LegHouse
from ngrokd.listening import open_listeners
from ngrokd.naming import Naming
from ngrokd.policy import Policy
from ngrokd.public import PublicEdges
from ngrokd.registry import Registry
from ngrokd.settings import Settings
from ngrokd.state import StateDirectory, default_directory
from ngrokd.version import program_version
from protocol.address import HostPort, plain_ip
from protocol.link.epoll import EpollReactor
from protocol.link.epoll import available as epoll_available
from protocol.link.logs import Log
from protocol.link.reactor import Reactor
from protocol.link.tasks import TaskReactor
from protocol.messages import GoAway
from protocol.names import PublicUrls, Zone
from protocol.secret import new_request_id
from protocol.session import CAPABILITIES

AFFINITY_FILE = "names.json"
RENEWAL_CHECK = 12 * 3600.0  # seconds between two looks at the certificate's age
DRAIN_LOOK = 0.05  # seconds between two looks at who is left while draining
PUBLIC = ("http", "https")
FAREWELL = 1.0  # seconds for the last messages to agents

Addresses = dict[str, list[HostPort]]


@dataclass(slots=True)
class _Parts:
    """What a running server consists of; made in `Server._build`."""

    services: Services
    public: PublicEdges
    tcp: TcpEdge
    tunnel_port: TunnelPort
    affinity: AffinityFile
    office: Office


@dataclass(slots=True)
class _Listeners:
    """Open listening sockets by the name of their flag's listener: http, https, tunnel, admin."""

    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)

    def addresses(self) -> Addresses:
        return {name: [_address_of(sock) for sock in sockets] for name, sockets in self.sockets.items()}

    def ports(self) -> dict[str, int]:
        return {name: sockets[0].getsockname()[1] for name, sockets in self.sockets.items() if name in PUBLIC}

    def hand_over(self) -> dict[str, list[socket.socket]]:
        """The sockets, for those who accept on them and close them from now on."""
        found, self.sockets = self.sockets, {}
        return found

    def close(self) -> None:
        for sockets in self.sockets.values():
            for sock in sockets:
                sock.close()


class Server:
    """One ngrokd. `serve` runs it; `stop` asks it to end. `gate` decides who may log in (default: by address and -open)."""

    def __init__(self, settings: Settings, log: Log, *, gate: Gate | None = None) -> None:
        self.settings = settings
        self.log = log
        self.addresses: Addresses = {}
        """Where it listens, real ports, by listener: http, https, tunnel. Filled before `serve` reports started."""
        self.certificate: ServerCertificate | None = None
        self.stopped = trio.Event()
        self._gate = gate or AddressGate(settings.open)
        self._stopping = trio.Event()
        self._parts: _Parts | None = None

    @property
    def registry(self) -> Registry:
        """Sessions and tunnels. Only after `serve` has reported started."""
        assert self._parts is not None, "the server has not started"
        return self._parts.services.registry

    @property
    def live_visitors(self) -> int:
        assert self._parts is not None, "the server has not started"
        return self._parts.public.live + self._parts.tcp.live

    @property
    def office(self) -> Office:
        """The operator's view. Only after `serve` has reported started."""
        assert self._parts is not None, "the server has not started"
        return self._parts.office

    def stop(self) -> None:
        """Begin to end: see the module's docstring. Returns at once; `stopped` is set at the end."""
        self._stopping.set()

    def summary(self) -> list[str]:
        """What a person wants to know at the start, a line each."""
        lines = [f"{name:<7} {', '.join(str(place) for place in places)}" for name, places in self.addresses.items()]
        assert self.certificate is not None, "the server has not started"
        return [*lines, f"domain  {self.settings.domain}", f"pin     {self.certificate.fingerprint}"]

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`, or until cancelled (then visitors are reset). Raises Fault when it can't start."""
        if self.settings.admin_addr is not None:
            check_address(self.settings.admin_addr)
        state = await trio.to_thread.run_sync(self._open_state)
        context = certs.server_context(await self._load_certificate(state))
        listeners = _Listeners()
        try:
            await self._open_listeners(listeners)
            reactor = _new_reactor(self.log)
            parts = self._parts = self._build(state, reactor, context, listeners.ports())
            await trio.to_thread.run_sync(parts.affinity.open)
            async with trio.open_nursery() as system:
                await system.start(reactor.run)
                system.start_soon(parts.affinity.run)
                system.start_soon(self._renew, state, context)
                await self._open_office(parts, listeners, state, system)
                try:
                    async with trio.open_nursery() as links:
                        await self._run(parts, listeners, links, task_status)
                finally:
                    parts.public.abort()
                    parts.tcp.abort()
                    parts.services.legs.close()
                    system.cancel_scope.cancel()
        finally:
            listeners.close()
            self.stopped.set()
        self.log.info("stopped")

    # -- starting
    def _open_state(self) -> StateDirectory:
        path = self.settings.state_dir or default_directory(os.environ, root=os.geteuid() == 0)
        return StateDirectory(path)

    async def _load_certificate(self, state: StateDirectory) -> ServerCertificate:
        def load() -> ServerCertificate:
            found = certs.given(self.settings.tls_crt, self.settings.tls_key)
            return found or certs.own(state, self.settings.domain.lower())

        self.certificate = await trio.to_thread.run_sync(load)
        return self.certificate

    async def _open_listeners(self, listeners: _Listeners) -> None:
        settings = self.settings
        wanted = {
            "http": (settings.http_addr, "httpAddr"),
            "https": (settings.https_addr, "httpsAddr"),
            "tunnel": (settings.tunnel_addr, "tunnelAddr"),
            "admin": (settings.admin_addr, "adminAddr"),
        }
        for name, (address, flag) in wanted.items():
            if address is not None:
                listeners.sockets[name] = await open_listeners(address, flag)
        self.addresses = listeners.addresses()

    def _build(self, state: StateDirectory, reactor: Reactor, context: ssl.SSLContext, ports: dict[str, int]) -> _Parts:
        settings, log = self.settings, self.log
        registry = Registry(new_request_id, one_listener=settings.public_url is not None)
        affinity = Affinity()
        file = AffinityFile(affinity, settings.registry_cache_file or state.file(AFFINITY_FILE), log)
        tcp = TcpEdge(reactor, settings.tcp_ports, log)
        naming = Naming(Zone(settings.domain), PublicUrls(settings.domain, ports, settings.vhost), settings.public_url)
        compile_policy = partial(Policy.compile, clock=trio.current_time, https_port=ports.get("https", 443))
        declarer = Declarer(registry, naming, affinity, tcp, compile_policy, file.touch)
        office = Office(reactor, log, settings.access_log)
        gate = office.doorman(self._gate)
        services = Services(registry, declarer, gate, reactor, log, LegHouse(reactor), CAPABILITIES)
        world = EdgeWorld(
            reactor, registry, Pages(), lambda _scheme, _host: False, office.meters, office.refused, log=log
        )
        public = PublicEdges(world, context, log)
        return _Parts(services, public, tcp, TunnelPort(services, context), file, office)

    async def _open_office(
        self, parts: _Parts, listeners: _Listeners, state: StateDirectory, system: trio.Nursery
    ) -> None:
        """Let the operator look at the server; with -adminAddr over HTTP too."""
        services = parts.services
        facts = Facts(
            version=program_version(),
            domain=self.settings.domain,
            started=time.time(),
            addresses=lambda: {name: [str(place) for place in found] for name, found in self.addresses.items()},
            fingerprint=lambda: self.certificate.fingerprint if self.certificate is not None else "",
            expires=lambda: self.certificate.expires.timestamp() if self.certificate is not None else None,
            dropped=lambda: 0,
        )
        house = House(services.registry, lambda: parts.public.edges, parts.tcp, services.legs, parts.tunnel_port, facts)
        levers = Levers(
            self.stop, self.reload, lambda session, why: dismiss(
                services, services.registry.release(session.key), why, "kicked"
            )
        )  # fmt: skip
        parts.office.open(house, levers, None)
        system.start_soon(parts.office.run)
        for sock in listeners.sockets.pop("admin", []):
            await system.start(parts.office.serve, sock, state)

    async def reload(self) -> list[str]:
        """Read again what may change while the server runs; what did. Raises ConfigError, then all is as before."""
        return []

    # -- running and stopping
    async def _run(
        self, parts: _Parts, listeners: _Listeners, links: trio.Nursery, task_status: trio.TaskStatus[None]
    ) -> None:
        sockets = listeners.hand_over()
        agents = [parts.tunnel_port.listen(sock, links) for sock in sockets.pop("tunnel")]
        for scheme, found in sockets.items():
            for sock in found:
                parts.public.listen(scheme, sock, links)
        try:
            self._announce()
            task_status.started()
            await self._stopping.wait()
        finally:
            for listener in agents:
                listener.close()
            parts.public.drain()
            parts.tcp.stop_accepting()
        await self._drain(parts)
        links.cancel_scope.deadline = trio.current_time() + FAREWELL

    async def _drain(self, parts: _Parts) -> None:
        """Let what runs finish, for `grace` seconds at most; then say farewell to the agents."""
        grace = self.settings.grace
        self.log.info("stopping", visitors=self.live_visitors, grace=grace)
        registry = parts.services.registry
        for session in registry.sessions():
            session.control.send(GoAway(int(grace), "the server is stopping"))
        with trio.move_on_after(grace):
            while self.live_visitors:  # noqa: ASYNC110 - only now, and the edges need not know that somebody waits
                await trio.sleep(DRAIN_LOOK)
        parts.public.end_idle()
        for session in registry.sessions():
            session.control.end("the server stopped")

    def _announce(self) -> None:
        assert self.certificate is not None
        places = {name: ", ".join(str(place) for place in found) for name, found in self.addresses.items()}
        self.log.info("ngrokd is up", domain=self.settings.domain, fingerprint=self.certificate.fingerprint, **places)
        if self.settings.open:
            self.log.warning("-open: agents from anywhere may publish without a token")

    async def _renew(self, state: StateDirectory, context: ssl.SSLContext) -> None:
        """Look at the certificate now and then; a renewed one is used from the next handshake on."""
        while True:
            await trio.sleep(RENEWAL_CHECK)
            before = self.certificate
            try:
                found = await self._load_certificate(state)
                if before is not None and found.expires != before.expires:
                    context.load_cert_chain(found.certificate, found.key)
                    self.log.info("the certificate was renewed", expires=found.expires.isoformat())
            except Exception as error:  # noqa: BLE001 - the old one serves on; whoever reads the log acts
                self.certificate = before
                self.log.error("the certificate could not be renewed", reason=str(error))


def _new_reactor(log: Log) -> Reactor:
    def crashed(callback: Callable[..., None], error: Exception) -> None:
        log.error("a callback failed: a defect of the server", callback=repr(callback), exc_info=error)

    return EpollReactor(crashed) if epoll_available else TaskReactor(crashed)


def _address_of(sock: socket.socket) -> HostPort:
    host, port = sock.getsockname()[:2]
    return HostPort("" if host in ("::", "0.0.0.0") else plain_ip(host), port)  # noqa: S104 - compared, not bound

"""The composition root: puts the parts of one ngrokd together, starts them in order and stops them in order.

`Server` is for the command line, for tests and for programs that embed it. It reads nothing but its Settings and the
state directory, and leaves nothing behind: no task, no descriptor. Signals and exit codes are the command line's.

Start: state, certificate, listeners (all of them or an error that names the flag), reactor, agents, visitors.
Stop: no new visitors and agents; native agents are told; what runs gets `grace` seconds; then everything is closed.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from ngrokd import certs
from ngrokd.accept import TunnelPort
from ngrokd.activation import activated
from ngrokd.admin.house import Facts, House
from ngrokd.admin.office import Office, check_address
from ngrokd.admin.operator import Levers
from ngrokd.admin.words import Words
from ngrokd.affinity import Affinity, AffinityFile
from ngrokd.certdir import CertificateDirectory
from ngrokd.certs import ServerCertificate
from ngrokd.control import Services, dismiss, end_account
from ngrokd.declare import Declarer
from ngrokd.edge.http import EdgeWorld
from ngrokd.edge.tcp import TcpEdge
from ngrokd.edge.waiting import PATIENCE, WaitingRoom
from ngrokd.frontdoor import FrontDoor, open_front_door
from ngrokd.gate import Gate
from ngrokd.handover import SOCKET as HANDOVER
from ngrokd.handover import Estate, Inheritance, inherit, serve_handover
from ngrokd.keeping import Keeping, open_keeping
from ngrokd.legs import LegHouse
from ngrokd.listening import Addresses, Listeners, open_listeners
from ngrokd.naming import Naming
from ngrokd.notify import Notifier
from ngrokd.policy import Policy
from ngrokd.public import PublicEdges
from ngrokd.registry import Registry
from ngrokd.reloading import Fresh, Reloader, Sources, load
from ngrokd.settings import Settings
from ngrokd.state import StateDirectory, default_directory
from ngrokd.store.base import Store
from ngrokd.tunnel import Tunnel
from ngrokd.version import program_version
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
STOP_SOON = 0.1  # seconds for the answer to who asked for a stop
FAREWELL = 1.0  # seconds for the last messages to agents


@dataclass(slots=True)
class _Parts:
    """What a running server consists of; made in `Server._build`."""

    services: Services
    public: PublicEdges
    tcp: TcpEdge
    tunnel_port: TunnelPort
    affinity: AffinityFile
    office: Office
    keeping: Keeping


class Server:
    """One ngrokd. `serve` runs it; `stop` asks it to end. `gate` decides who may log in (default: by token; by address and
    -open while there is none). `store` keeps tokens and names (default: in the state directory); the caller closes it."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        *,
        gate: Gate | None = None,
        store: Store | None = None,
        reread: Callable[[], Settings] | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """`reread` gives the settings anew at a reload (blocking; default: those of the start)."""
        self.settings = settings
        self.log = log
        self.lines_dropped: Callable[[], int] = lambda: 0
        """How many lines the log has lost, for the operator."""
        self._reread = reread or (lambda: settings)
        self._notifier = notifier or Notifier({})
        self._reloader: Reloader | None = None
        self.addresses: Addresses = {}
        """Where it listens, real ports, by listener: http, https, tunnel. Filled before `serve` reports started."""
        self.certificate: ServerCertificate | None = None
        self.stopped = trio.Event()
        self._gate = gate
        self._store = store
        self._stopping = trio.Event()
        self._replaced = False
        self._keeping_scope = trio.CancelScope()
        self._kept = trio.Event()
        self._sockets: dict[str, list[socket.socket]] = {}
        self._parts: _Parts | None = None
        self._certificates: CertificateDirectory | None = None

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
        inheritance = await inherit(state.path) if self.settings.take_over else None
        try:
            await self._serve(state, inheritance, task_status)
        finally:
            if inheritance is not None:
                await inheritance.aclose()
            self.stopped.set()
        self.log.info("stopped")

    def _start_watching(self, system: trio.Nursery, reloader: Reloader, door: FrontDoor) -> None:
        """Files that may change: configuration, certificates; and the own certificate's age."""
        system.start_soon(reloader.watch)
        if door.certificates is not None:
            self._certificates = door.certificates
            system.start_soon(door.certificates.watch)
        system.start_soon(self._renew)

    async def _serve(
        self, state: StateDirectory, inheritance: Inheritance | None, task_status: trio.TaskStatus[None]
    ) -> None:
        """See `serve`. A predecessor goes on until everything that may fail here has not."""
        listeners = Listeners()
        keeping: Keeping | None = None
        estate = inheritance.estate if inheritance is not None else Estate(activated(os.environ))
        try:
            sources = Sources(self._reread, partial(_certificate, state))
            fresh = await trio.to_thread.run_sync(load, self.settings, sources)
            door = await trio.to_thread.run_sync(open_front_door, self.settings, self.log)
            self._reloader = Reloader(fresh, sources, self._use, self.log)
            self.certificate = fresh.certificate
            await self._open_listeners(listeners, estate)
            if inheritance is not None:
                await inheritance.claim()
                self.log.info("took over from a running ngrokd", names=len(estate.names))
            keeping = await open_keeping(state, self.log, self._store)
            reactor = _new_reactor(self.log)
            parts = self._parts = self._build(keeping, reactor, fresh, listeners.ports(), door, estate)
            await trio.to_thread.run_sync(parts.affinity.open)
            async with trio.open_nursery() as system:
                await system.start(reactor.run)
                self._start_watching(system, self._reloader, door)
                parts.tcp.inherit(estate.sockets.pop("tcp", []))
                system.start_soon(parts.tcp.expire_inherited, PATIENCE)
                await system.start(self._keep, parts, listeners, state)
                system.start_soon(self._await_successor, parts, state)
                try:
                    async with trio.open_nursery() as links:
                        await self._run(parts, listeners, links, task_status)
                finally:
                    parts.public.abort()
                    parts.tcp.abort()
                    parts.tcp.forget_inherited()
                    parts.services.legs.close()
                    system.cancel_scope.cancel()
        finally:
            listeners.close()
            if keeping is not None:
                await keeping.aclose()

    # -- starting
    def _open_state(self) -> StateDirectory:
        path = self.settings.state_dir or default_directory(os.environ, root=os.geteuid() == 0)
        return StateDirectory(path)

    async def _open_listeners(self, listeners: Listeners, estate: Estate) -> None:
        """What a predecessor had where it is what we want, new sockets otherwise."""
        settings = self.settings
        wanted = {
            "http": (settings.http_addr, "httpAddr"),
            "https": (settings.https_addr, "httpsAddr"),
            "tunnel": (settings.tunnel_addr, "tunnelAddr"),
            "admin": (settings.admin_addr, "adminAddr"),
        }
        for name, (address, flag) in wanted.items():
            if address is not None:
                inherited = estate.sockets.get(name, [])
                if inherited and address.port in (0, inherited[0].getsockname()[1]):
                    listeners.sockets[name] = estate.sockets.pop(name)
                else:
                    listeners.sockets[name] = await open_listeners(address, flag)
        self.addresses = listeners.addresses()

    def _build(
        self,
        keeping: Keeping,
        reactor: Reactor,
        fresh: Fresh,
        ports: dict[str, int],
        door: FrontDoor,
        estate: Estate,
    ) -> _Parts:
        settings, log, state = self.settings, self.log, keeping.state
        registry = Registry(new_request_id, one_listener=settings.public_url is not None)
        affinity = Affinity()
        file = AffinityFile(affinity, settings.registry_cache_file or state.file(AFFINITY_FILE), log)
        tcp = TcpEdge(reactor, settings.tcp_ports, log, door.crowd)
        naming = Naming(Zone(settings.domain), PublicUrls(settings.domain, ports, settings.vhost), settings.public_url)
        compile_policy = partial(Policy.compile, clock=trio.current_time, https_port=ports.get("https", 443))

        room = WaitingRoom(reactor, estate.names) if estate.names else None

        def remembered() -> None:
            file.touch()
            keeping.keeper.changed()
            if room is not None:
                room.tunnel_came()

        declarer = Declarer(registry, naming, affinity, tcp, compile_policy, remembered, keeping.claims)
        office = Office(reactor, log, settings.access_log)
        gate = office.doorman(self._gate or keeping.gate(naming.zone.domain, open_to_all=settings.open))
        world = EdgeWorld(
            reactor, registry, fresh.pages, lambda _scheme, _host: False, office.meters, office.refused, log,
            door.guard, door.crowd, room,
        )  # fmt: skip
        public = PublicEdges(world, fresh.context, log, door.certificates)

        def cut(tunnels: Sequence[Tunnel]) -> None:
            public.abort_visitors(tunnels)
            tcp.abort_visitors(tunnels)

        services = Services(registry, declarer, gate, reactor, log, LegHouse(reactor), CAPABILITIES, cut=cut)
        return _Parts(services, public, tcp, TunnelPort(services, fresh.context), file, office, keeping)

    async def _keep(
        self,
        parts: _Parts,
        listeners: Listeners,
        state: StateDirectory,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """All that uses the state directory: the books, the operator's sockets. Ends before the rest when a successor comes."""
        try:
            with self._keeping_scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(parts.affinity.run)
                    await self._open_office(parts, listeners, state, nursery)
                    task_status.started()
        finally:
            self._kept.set()

    async def _open_office(
        self, parts: _Parts, listeners: Listeners, state: StateDirectory, system: trio.Nursery
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
            dropped=lambda: self.lines_dropped(),
            unwritten=lambda: parts.keeping.keeper.failures,
        )
        house = House(services.registry, lambda: parts.public.edges, parts.tcp, services.legs, parts.tunnel_port, facts)
        levers = Levers(
            lambda: system.start_soon(self._stop_soon), self.reload, lambda session, why: dismiss(
                services, services.registry.release(session.key), why, "kicked"
            )
        )  # fmt: skip
        assert self.certificate is not None
        pin = self.certificate.fingerprint if self.certificate.ca is not None else ""
        ledger = parts.keeping.ledger(self.settings.domain, pin, partial(end_account, services))
        port = self.addresses["tunnel"][0].port
        await parts.keeping.note_facts(self.settings.domain, port, own_certificate=bool(pin))
        operator = parts.office.open(house, levers, ledger)
        await system.start(parts.keeping.run, ledger, f"{self.settings.domain}:{port}", partial(Words, operator))
        system.start_soon(parts.office.run, self._notifier)
        self._sockets = {name: list(found) for name, found in listeners.sockets.items()}
        for sock in listeners.sockets.pop("admin", []):
            await system.start(parts.office.serve, sock, state)

    async def _stop_soon(self) -> None:
        """For an operator who waits for an answer."""
        await trio.sleep(STOP_SOON)
        self.stop()

    # -- hot restart
    async def _await_successor(self, parts: _Parts, state: StateDirectory) -> None:
        """Hand over when another process comes to take our place."""

        def estate() -> Estate:
            names = [(found.protocol, found.host) for found in parts.services.registry.tunnels() if found.host]
            return Estate({**self._sockets, "tcp": parts.tcp.sockets()}, [(str(kind), host) for kind, host in names])

        async def release() -> None:
            self.log.info("another ngrokd takes over")
            self._keeping_scope.cancel()
            await self._kept.wait()
            await parts.keeping.aclose()

        try:
            await serve_handover(state.file(HANDOVER), estate, release)
            self._replaced = True
            self.stop()
        except OSError as error:
            self.log.warning("no hot restart here", reason=error.strerror or str(error))

    async def reload(self) -> list[str]:
        """Read again what may change while the server runs; what did. Raises ConfigError, then all is as before."""
        assert self._reloader is not None, "the server has not started"
        self._notifier.reloading()
        try:
            changed = await self._reloader.reload()
            return changed + (await self._certificates.reload() if self._certificates is not None else [])
        finally:
            self._notifier.ready("serving")

    async def try_reload(self, why: str) -> None:
        """The same; what is wrong goes to the log."""
        assert self._reloader is not None, "the server has not started"
        self._notifier.reloading()
        await self._reloader.try_reload(why)
        if self._certificates is not None:
            await self._certificates.reload()
        self._notifier.ready("serving")

    def _use(self, fresh: Fresh) -> None:
        """Put to work what was read. Synchronous: no handshake meets half of it."""
        assert self._parts is not None
        before = self.certificate
        self.settings, self.certificate = fresh.settings, fresh.certificate
        self._parts.public.use(fresh.context, fresh.pages)
        self._parts.tunnel_port.use(fresh.context)
        self._parts.tcp.ports = fresh.settings.tcp_ports
        if before is not None and before.fingerprint != fresh.certificate.fingerprint:
            self.log.warning(
                "the server has another key: pins of the old one fail", fingerprint=fresh.certificate.fingerprint
            )

    # -- running and stopping
    async def _run(
        self, parts: _Parts, listeners: Listeners, links: trio.Nursery, task_status: trio.TaskStatus[None]
    ) -> None:
        sockets = listeners.hand_over()
        agents = [parts.tunnel_port.listen(sock, links) for sock in sockets.pop("tunnel")]
        for scheme, found in sockets.items():
            for sock in found:
                parts.public.listen(scheme, sock, links)
        try:
            self._announce()
            self._notifier.ready("serving")
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
        if not self._replaced:  # the service goes on in another process
            self._notifier.stopping(f"finishing what runs, {grace:g} s at most")
        self.log.info("stopping", visitors=self.live_visitors, grace=grace)
        registry = parts.services.registry
        if parts.office.operator is not None:
            parts.office.operator.draining = True
        for session in registry.sessions():
            session.control.send(GoAway(int(grace), "restart" if self._replaced else "shutdown"))
            if self._replaced and not session.caps:
                session.control.end("restart")  # 1.7 knows no farewell: it comes over when its link ends
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

    async def _renew(self) -> None:
        """Look at the certificate now and then: our own is made anew in time, and used from the next handshake on."""
        while True:
            await trio.sleep(RENEWAL_CHECK)
            await self.try_reload("the certificate's age")


def _certificate(state: StateDirectory, settings: Settings) -> ServerCertificate:
    """The operator's pair, or our own, made or renewed when needed. Blocks; raises ConfigError, OSError."""
    return certs.given(settings.tls_crt, settings.tls_key) or certs.own(state, settings.domain.lower())


def _new_reactor(log: Log) -> Reactor:
    def crashed(callback: Callable[..., None], error: Exception) -> None:
        log.error("a callback failed: a defect of the server", callback=repr(callback), exc_info=error)

    return EpollReactor(crashed) if epoll_available else TaskReactor(crashed)

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
from collections.abc import Callable
from functools import partial

import trio

from ngrokd import certs
from ngrokd.activation import activated
from ngrokd.admin.house import Facts, House
from ngrokd.admin.office import Office, check_address
from ngrokd.admin.operator import Levers
from ngrokd.admin.words import Words
from ngrokd.certs import ServerCertificate
from ngrokd.control import dismiss, end_account
from ngrokd.edge.waiting import PATIENCE
from ngrokd.frontdoor import open_certificates, open_front_door
from ngrokd.gate import Gate
from ngrokd.handover import Estate, Inheritance, inherit
from ngrokd.keeping import Keeping, open_keeping
from ngrokd.listening import Addresses, Listeners, open_listeners
from ngrokd.notify import Notifier
from ngrokd.parts import Parts, build, new_reactor
from ngrokd.passing import SOCKET as VISITORS
from ngrokd.passing import Passer, serve_passed
from ngrokd.registry import Registry
from ngrokd.regrant import regrant
from ngrokd.reloading import Changes, Fresh, Reloader, Sources, load
from ngrokd.settings import Settings
from ngrokd.state import StateDirectory, default_directory
from ngrokd.store.base import Store
from ngrokd.store.records import TokenRecord
from ngrokd.succession import Succession
from ngrokd.token_gate import grant_of
from ngrokd.upkeep import Upkeep
from ngrokd.version import program_version
from protocol.link.logs import Log, LogSink
from protocol.messages import GoAway
from protocol.names import Zone

DRAIN_LOOK = 0.05  # seconds between two looks at who is left while draining
STOP_SOON = 0.1  # seconds for the answer to who asked for a stop
FAREWELL = 1.0  # seconds for the last messages to agents


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
        self.sink: LogSink | None = None
        """What `log` writes to, where its owner lets the server change its level and open its file anew."""
        self._reread = reread or (lambda: settings)
        self._notifier = notifier or Notifier({})
        self._upkeep: Upkeep | None = None
        self.addresses: Addresses = {}
        """Where it listens, real ports, by listener: http, https, tunnel. Filled before `serve` reports started."""
        self.certificate: ServerCertificate | None = None
        self.stopped = trio.Event()
        self._gate = gate
        self._store = store
        self._stopping = trio.Event()
        self._succession: Succession | None = None
        self._sockets: dict[str, list[socket.socket]] = {}
        self._parts: Parts | None = None

    @property
    def replaced(self) -> bool:
        """Another process has taken over."""
        return self._succession is not None and self._succession.replaced

    @property
    def registry(self) -> Registry:
        """Sessions and tunnels. Only after `serve` has reported started."""
        assert self._parts is not None, "the server has not started"
        return self._parts.services.registry

    @property
    def live_visitors(self) -> int:
        assert self._parts is not None, "the server has not started"
        return self._parts.live_visitors

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

    async def _serve(
        self, state: StateDirectory, inheritance: Inheritance | None, task_status: trio.TaskStatus[None]
    ) -> None:
        """See `serve`. A predecessor goes on until everything that may fail here has not."""
        listeners = Listeners()
        keeping: Keeping | None = None
        estate = inheritance.estate if inheritance is not None else Estate(activated(os.environ))
        try:
            sources = Sources(self._reread, partial(_certificate, state), partial(open_certificates, log=self.log))
            fresh = await trio.to_thread.run_sync(load, self.settings, sources)
            door = open_front_door(self.settings)
            self.certificate = fresh.certificate
            reloader = Reloader(fresh, sources, self._use, self.log, self._note_reload)
            self._upkeep = Upkeep(reloader, self._reopen_logs, self._notifier)
            self._succession = Succession(state, self.log)
            await self._open_listeners(listeners, estate)
            if inheritance is not None:
                await inheritance.claim()
                self.log.info("took over from a running ngrokd", names=len(estate.names))
            keeping = await open_keeping(state, self.log, self._store)
            reactor = new_reactor(self.log)
            ports = listeners.ports()
            self._parts = build(keeping, reactor, fresh, ports, door, self._gate, estate.names)
            await self._serve_parts(self._parts, listeners, estate, task_status)
        finally:
            listeners.close()
            if keeping is not None:
                await keeping.aclose()

    async def _serve_parts(
        self, parts: Parts, listeners: Listeners, estate: Estate, task_status: trio.TaskStatus[None]
    ) -> None:
        assert self._upkeep is not None
        assert self._succession is not None
        try:
            await trio.to_thread.run_sync(parts.affinity.open)
            async with trio.open_nursery() as system:
                await system.start(parts.services.reactor.run)
                system.start_soon(self._upkeep.run)
                parts.tcp.inherit(estate.sockets.pop("tcp", []))
                system.start_soon(parts.tcp.expire_inherited, PATIENCE)
                await system.start(self._succession.keep, partial(self._start_keeping, parts, listeners))
                system.start_soon(self._succession.wait, partial(self._estate, parts), parts.keeping, self.stop)
                try:
                    async with trio.open_nursery() as links:
                        await self._run(parts, listeners, links, task_status)
                finally:
                    parts.abort()
                    system.cancel_scope.cancel()
        finally:
            await parts.office.aclose()

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

    async def _start_keeping(self, parts: Parts, listeners: Listeners, nursery: trio.Nursery) -> None:
        """All that uses the state directory: the books, the operator's sockets; with -adminAddr over HTTP too."""
        nursery.start_soon(parts.affinity.run)
        visitors = parts.keeping.state.file(VISITORS)
        await nursery.start(serve_passed, visitors, parts.public.passed_edge, self.log)
        services = parts.services
        facts = Facts(
            version=program_version(),
            domain=self.settings.domain,
            started=time.time(),
            addresses=lambda: {name: [str(place) for place in found] for name, found in self.addresses.items()},
            fingerprint=lambda: self.certificate.fingerprint if self.certificate is not None else "",
            expires=lambda: self.certificate.expires.timestamp() if self.certificate is not None else None,
            dropped=lambda: parts.office.dropped + (self.sink.dropped if self.sink is not None else 0),
            unwritten=lambda: parts.keeping.keeper.failures,
        )
        house = House(services.registry, lambda: parts.public.edges, parts.tcp, services.legs, parts.tunnel_port, facts)
        levers = Levers(
            lambda: nursery.start_soon(self._stop_soon), self.reload, lambda session, why: dismiss(
                services, services.registry.release(session.key), why, "kicked"
            )
        )  # fmt: skip
        assert self.certificate is not None
        pin = self.certificate.fingerprint if self.certificate.ca is not None else ""
        ends = partial(end_account, services)
        ledger = parts.keeping.ledger(self.settings.domain, pin, ends, self._regrant, lambda: parts.tcp.ports)
        port = self.addresses["tunnel"][0].port
        await parts.keeping.note_facts(self.settings.domain, port, own_certificate=bool(pin))
        operator = parts.office.open(house, levers, ledger)
        await nursery.start(parts.keeping.run, ledger, f"{self.settings.domain}:{port}", partial(Words, operator))
        nursery.start_soon(parts.office.run, self._notifier)
        self._sockets = {name: list(found) for name, found in listeners.sockets.items()}
        for sock in listeners.sockets.pop("admin", []):
            await nursery.start(parts.office.serve, sock, parts.keeping.state)

    def _regrant(self, record: TokenRecord) -> None:
        """A token has other limits."""
        assert self._parts is not None
        regrant(self._parts.services, grant_of(record, Zone(self.settings.domain).domain))

    async def _stop_soon(self) -> None:
        """For an operator who waits for an answer."""
        await trio.sleep(STOP_SOON)
        self.stop()

    def _estate(self, parts: Parts) -> Estate:
        """For a successor: the sockets, and what is online."""
        names = [(str(found.protocol), found.host) for found in parts.services.registry.tunnels() if found.host]
        return Estate({**self._sockets, "tcp": parts.tcp.sockets()}, names)

    # -- reload
    async def reload(self) -> Changes:
        """Read again what may change while the server runs; what did. Raises ConfigError, then all is as before."""
        assert self._upkeep is not None, "the server has not started"
        return await self._upkeep.reload()

    async def try_reload(self, why: str) -> None:
        """The same; what is wrong goes to the log."""
        assert self._upkeep is not None, "the server has not started"
        await self._upkeep.try_reload(why)

    def _use(self, fresh: Fresh) -> None:
        """Put to work what was read. Synchronous."""
        assert self._parts is not None
        before, settings = self.settings, fresh.settings
        old, self.certificate = self.certificate, fresh.certificate
        self.settings = settings
        self._parts.use(fresh)
        if self.sink is not None:
            self.sink.set_level(settings.log_level)
        if settings.open and not before.open:
            self._warn_of_open()
        if old is not None and old.fingerprint != fresh.certificate.fingerprint:
            self.log.warning(
                "the server has another key: pins of the old one fail", fingerprint=fresh.certificate.fingerprint
            )

    def _note_reload(self, why: str, changes: Changes) -> None:
        """A changed file is an administrative change, too."""
        if changes.applied:
            self.office.audit.change("reload", by=why, changed=", ".join(changes.applied))

    def _reopen_logs(self) -> None:
        """Their files may have been moved away."""
        assert self._parts is not None
        self._parts.office.reopen()
        if self.sink is not None:
            self.sink.reopen()

    # -- running and stopping
    async def _run(
        self, parts: Parts, listeners: Listeners, links: trio.Nursery, task_status: trio.TaskStatus[None]
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

    async def _drain(self, parts: Parts) -> None:
        """Let what runs finish, for `grace` seconds at most; then say farewell to the agents."""
        grace = self.settings.grace
        if self.replaced:  # the service goes on in another process
            parts.public.pass_on(Passer(parts.services.reactor, parts.keeping.state.path))
        else:
            self._notifier.stopping(f"finishing what runs, {grace:g} s at most")
        self.log.info("stopping", visitors=self.live_visitors, grace=grace)
        registry = parts.services.registry
        if parts.office.operator is not None:
            parts.office.operator.draining = True
        for session in registry.sessions():
            session.control.send(GoAway(int(grace), "restart" if self.replaced else "shutdown"))
            if self.replaced and not session.caps:
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
            self._warn_of_open()

    def _warn_of_open(self) -> None:
        self.log.warning("-open: agents from anywhere may publish without a token")


def _certificate(state: StateDirectory, settings: Settings) -> ServerCertificate:
    """The operator's pair, or our own, made or renewed when needed. Blocks; raises ConfigError, OSError."""
    return certs.given(settings.tls_crt, settings.tls_key) or certs.own(state, settings.domain.lower())

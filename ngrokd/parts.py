"""What a running server consists of: made here from settings and files, changed here when those are read again.

`build` opens nothing and starts nothing; when each part starts and stops is `server`'s. Knows no signals and no reload
rules: `use` gets what was read and checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from ngrokd.absences import Absences
from ngrokd.accept import TunnelPort
from ngrokd.admin.office import Office
from ngrokd.affinity import Affinity, AffinityFile
from ngrokd.control import Services
from ngrokd.declare import Declarer
from ngrokd.edge.http import EdgeWorld
from ngrokd.edge.tcp import TcpEdge
from ngrokd.edge.waiting import WaitingRoom
from ngrokd.frontdoor import FrontDoor
from ngrokd.gate import Gate
from ngrokd.keeping import Keeping
from ngrokd.legs import LegHouse
from ngrokd.naming import Naming
from ngrokd.policy import Policy
from ngrokd.public import PublicEdges
from ngrokd.registry import Registry
from ngrokd.reloading import Fresh
from ngrokd.settings import Settings
from ngrokd.token_gate import TokenGate
from ngrokd.tunnel import Tunnel
from ngrokd.version import program_version
from protocol.link.epoll import EpollReactor
from protocol.link.epoll import available as epoll_available
from protocol.link.logs import Log
from protocol.link.reactor import Reactor
from protocol.link.tasks import TaskReactor
from protocol.names import PublicUrls, Zone
from protocol.secret import new_request_id
from protocol.session import CAPABILITIES

AFFINITY_FILE = "names.json"


@dataclass(slots=True)
class Parts:
    """The parts, and how what was read anew reaches them."""

    services: Services
    public: PublicEdges
    tcp: TcpEdge
    tunnel_port: TunnelPort
    affinity: AffinityFile
    office: Office
    keeping: Keeping
    door: FrontDoor
    gate: Gate

    @property
    def live_visitors(self) -> int:
        return self.public.live + self.tcp.live

    def use(self, fresh: Fresh) -> None:
        """Put to work what was read. Synchronous: no handshake and no request meets half of it."""
        settings = fresh.settings
        self.door.use(settings)
        self.public.use(fresh.context, fresh.pages, self.door.guard, fresh.certificates)
        self.tunnel_port.use(fresh.context)
        self.tcp.ports, self.tcp.proxies = settings.tcp_ports, settings.tcp_proxies
        if isinstance(self.gate, TokenGate):
            self.gate.open = settings.open
        self.office.use(settings)

    def abort(self) -> None:
        """End what is left, with resets."""
        self.public.abort()
        self.tcp.abort()
        self.tcp.forget_inherited()
        self.services.legs.close()


def build(
    keeping: Keeping,
    reactor: Reactor,
    fresh: Fresh,
    ports: dict[str, int],
    door: FrontDoor,
    gate: Gate | None,
    expected: Sequence[tuple[str, str]],
) -> Parts:
    """The parts of a server. `ports`: real ones by listener; `gate`: who decides about logins, None for the store's;
    `expected`: (scheme, host) of tunnels that a predecessor had. Raises ConfigError for logs that can't be opened."""
    settings, log = fresh.settings, keeping.log
    registry = Registry(new_request_id, one_listener=settings.public_url is not None)
    room = WaitingRoom(reactor, expected) if expected else None
    declarer, file, tcp = _naming(keeping, reactor, registry, settings, ports, door, room)
    office = Office(reactor, log, settings.access_log, settings.audit_log)
    gate = gate or keeping.gate(Zone(settings.domain).domain, open_to_all=settings.open)
    absences = Absences(trio.current_time, one_listener=settings.public_url is not None)
    world = EdgeWorld(
        reactor, registry, fresh.pages, absences.away, office.meters, office.refused, log,
        door.guard, door.crowd, room,
    )  # fmt: skip
    public = PublicEdges(world, fresh.context, log, fresh.certificates)

    def cut(tunnels: Sequence[Tunnel]) -> None:
        public.abort_visitors(tunnels)
        tcp.abort_visitors(tunnels)

    services = Services(
        registry,
        declarer,
        office.doorman(gate),
        reactor,
        log,
        LegHouse(reactor),
        CAPABILITIES,
        cut=cut,
        absences=absences,
        product=f"ngrokd {program_version()}",
    )
    return Parts(services, public, tcp, TunnelPort(services, fresh.context), file, office, keeping, door, gate)


def _naming(
    keeping: Keeping,
    reactor: Reactor,
    registry: Registry,
    settings: Settings,
    ports: dict[str, int],
    door: FrontDoor,
    room: WaitingRoom | None,
) -> tuple[Declarer, AffinityFile, TcpEdge]:
    """Who gives out names and ports, and what remembers them."""
    affinity = Affinity()
    file = AffinityFile(affinity, settings.registry_cache_file or keeping.state.file(AFFINITY_FILE), keeping.log)
    tcp = TcpEdge(reactor, settings.tcp_ports, keeping.log, door.crowd, settings.tcp_proxies)
    naming = Naming(Zone(settings.domain), PublicUrls(settings.domain, ports, settings.vhost), settings.public_url)
    compile_policy = partial(Policy.compile, clock=trio.current_time, https_port=ports.get("https", 443))

    def remembered() -> None:
        file.touch()
        keeping.keeper.changed()
        if room is not None:
            room.tunnel_came()

    return Declarer(registry, naming, affinity, tcp, compile_policy, remembered, keeping.claims), file, tcp


def new_reactor(log: Log) -> Reactor:
    """The fast one where there is epoll. A callback that raises is a defect and goes to `log`."""

    def crashed(callback: Callable[..., None], error: Exception) -> None:
        log.error("a callback failed: a defect of the server", callback=repr(callback), exc_info=error)

    return EpollReactor(crashed) if epoll_available else TaskReactor(crashed)

"""Everything an operator can ask a running server or have it do, as calls that return plain data.

HTTP, the local socket and tests use the same calls. Reading never waits; what changes something is written to the audit log
with who did it. Secrets never come out: a classic agent's client id proves its session, so only its beginning is shown.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import trio

from ngrokd.admin import show
from ngrokd.admin.audit import Audit
from ngrokd.admin.bans import KINDS, LONGEST, Ban, Bans
from ngrokd.admin.books import Books
from ngrokd.admin.house import House
from ngrokd.admin.meters import Meters
from ngrokd.admin.rates import Counts, Rates
from ngrokd.reloading import Changes
from ngrokd.session import Session
from ngrokd.tunnel import Tunnel
from protocol.errors import Blame, Fault

LOOK_EVERY: Final = 2.0  # seconds between two looks at counters, for rates
MAX_CONNECTIONS: Final = 1_000  # in one answer
TALKERS: Final = 10

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Levers:
    """What the server lets an operator pull. `reload` gives what changed, or raises ConfigError."""

    drain: Callable[[], None]
    reload: Callable[[], Awaitable[Changes]]
    dismiss: Callable[[Session, str], None]


class Operator:
    """See the module. `books` keeps tokens and reservations; None on a server without a store."""

    def __init__(
        self, house: House, meters: Meters, audit: Audit, levers: Levers, books: Books | None, bans: Bans | None = None
    ) -> None:
        self.house = house
        self.meters = meters
        self.audit = audit
        self.levers = levers
        self._books = books
        self.bans = Bans() if bans is None else bans
        self.rates = Rates()
        self.draining = False
        self._met: dict[Session, float] = {}  # when each session was first seen

    async def watch(self) -> None:
        """Look at the counters now and then, for ever."""
        while True:
            self.look()
            await trio.sleep(LOOK_EVERY)

    def look(self) -> None:
        registry = self.house.registry
        self._met = {session: self._since(session) for session in registry.sessions()}
        self.meters.collect(registry.tunnels())
        self.rates.look(trio.current_time(), dict(self._totals()))

    def _totals(self) -> Iterator[tuple[Hashable, Counts]]:
        moving = self.moving()
        for tunnel in self.house.registry.tunnels():
            up, down = moving.get(tunnel, (0, 0))
            traffic = tunnel.traffic
            yield tunnel, (traffic.up + up, traffic.down + down, traffic.connections)

    def moving(self) -> dict[Tunnel, tuple[int, int]]:
        """Bytes of what is under way, by tunnel: not in its counters yet."""
        found: dict[Tunnel, tuple[int, int]] = {}
        for tunnel, moved in self.house.moving():
            up, down = found.get(tunnel, (0, 0))
            found[tunnel] = up + moved[0], down + moved[1]
        return found

    # -- reading
    def status(self) -> Json:
        """The server in numbers."""
        house, total = self.house, self.rates.total
        return {
            "version": house.version,
            "state": "draining" if self.draining else "running",
            "pid": house.pid,
            "started": house.started,
            "domain": house.domain,
            "fingerprint": house.fingerprint(),
            "certificate_expires": house.expires(),
            "listeners": house.addresses(),
            "sessions": sum(1 for _ in house.registry.sessions()),
            "tunnels": sum(1 for _ in house.registry.tunnels()),
            "visitors": house.visitors(),
            "rates": show.rate(total),
            "refusals": dict(self.refusals()),
            "refused_logins": dict(self.meters.refused_logins),
            "statuses": self._statuses(),
            "latency_ms": show.latency(self.meters.answering),
            "log_lines_dropped": house.dropped(),
            "talkers": self.talkers(),
        }

    def _statuses(self) -> dict[str, int]:
        found = [0] * 6
        for tally in self.meters.collect(self.house.registry.tunnels()):
            found = [a + b for a, b in zip(found, tally.statuses, strict=True)]
        return dict(zip(("none", "1xx", "2xx", "3xx", "4xx", "5xx"), found, strict=True))

    def refusals(self) -> Counter[str]:
        """Requests that got an error page, by code."""
        found: Counter[str] = Counter()
        for counts in self.house.refusals():
            found.update(counts)
        return found

    def talkers(self) -> list[Json]:
        """The tunnels that move most, busiest first."""
        rates = [(self.rates.of(tunnel), tunnel) for tunnel in self.house.registry.tunnels()]
        busiest = sorted(rates, key=lambda pair: pair[0].up + pair[0].down, reverse=True)[:TALKERS]
        return [{"url": tunnel.url, "rates": show.rate(rate)} for rate, tunnel in busiest if rate.up + rate.down > 0]

    def sessions(self) -> list[Json]:
        """All sessions, longest here first."""
        rows = [show.session(session, self._since(session), self.rates) for session in self.house.registry.sessions()]
        return sorted(rows, key=lambda row: row["since"])

    def _since(self, session: Session) -> float:
        return self._met.setdefault(session, time.time())

    def session(self, session_id: str) -> Session:
        """Raises Fault `no_such_session`."""
        for session in self.house.registry.sessions():
            if session.id == session_id:
                return session
        raise Fault("no_such_session", "there is no such session", blame=Blame.OPERATOR)

    def tunnels(self) -> list[Json]:
        """All tunnels, by URL."""
        moving = self.moving()
        rows = [
            show.tunnel(tunnel, moving.get(tunnel, (0, 0)), self.rates.of(tunnel))
            for tunnel in self.house.registry.tunnels()
        ]
        return sorted(rows, key=lambda row: str(row["url"]))

    def connections(self, limit: int = MAX_CONNECTIONS) -> list[Json]:
        """Visitors that are connected, at most `limit`."""
        return [row for row, _ in zip(self.house.connections(), range(min(limit, MAX_CONNECTIONS)), strict=False)]

    def banned(self) -> list[Json]:
        now = trio.current_time()
        return [
            {"id": ban.id, "kind": ban.kind, "value": ban.value, "seconds": math.ceil(ban.until - now), "reason": ban.reason}
            for ban in self.bans.live(now)
        ]  # fmt: skip

    # -- changing
    def kick(self, session_id: str, seconds: float, ban: str, *, by: str) -> Json:
        """End a session; with `seconds` keep its agent out for that long, by `ban`: client, token or address.
        Raises Fault `no_such_session`, `bad_argument`."""
        session = self.session(session_id)
        value = {
            "client": session.client_id, "token": session.identity.account, "address": session.agent.address
        }.get(ban, "")  # fmt: skip
        if not 0 <= seconds <= LONGEST or (seconds and not value):
            raise Fault("bad_argument", f"{ban}: this session has none to keep out", blame=Blame.OPERATOR)
        kind = next(kind for kind in KINDS if kind == ban)
        if seconds:
            self.bans.add(Ban(kind, value, trio.current_time() + seconds, "kicked"))
        self._changed("kick", by=by, session=session.id, address=session.agent.address, seconds=seconds, ban=ban)
        self.levers.dismiss(session, "the operator ended this session")
        return {"session": session_id, "seconds": seconds, "ban": f"{kind}" if seconds else None}

    def lift(self, ban_id: str, *, by: str) -> None:
        """Raises Fault `no_such_ban`."""
        if not self.bans.lift(ban_id):
            raise Fault("no_such_ban", "there is no such ban", blame=Blame.OPERATOR)
        self._changed("ban lifted", by=by, ban=ban_id[:80])

    def drain(self, *, by: str) -> None:
        """Stop as at SIGTERM: no new visitors, what runs may finish."""
        self._changed("drain", by=by)
        self.draining = True
        self.levers.drain()

    async def reload(self, *, by: str) -> Json:
        """Read the configuration again: what is in use now, and the flags that need a restart. Raises ConfigError; then
        everything is as before."""
        changes = await self.levers.reload()
        self._changed("reload", by=by, changed=", ".join(changes.applied))
        return {"changed": changes.applied, "restart": changes.restart}

    @property
    def books(self) -> Books:
        """Raises Fault `no_store`."""
        if self._books is None:
            raise Fault("no_store", "this server keeps no tokens", blame=Blame.OPERATOR)
        return self._books

    async def change(self, what: str, made: Awaitable[Any], *, by: str, **details: object) -> Any:
        """Wait for a change of the books and write it down; a failed one is nobody's change."""
        outcome = await made
        self._changed(what, by=by, **details)
        return outcome

    def _changed(self, what: str, *, by: str, **details: object) -> None:
        self.meters.changes[what] += 1
        self.audit.change(what, by=by, **details)

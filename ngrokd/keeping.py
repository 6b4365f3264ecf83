"""What a server remembers, ready for use: the store with all that is built on it, opened and closed as one.

`Keeping` owns the store, keeps its claims in memory, writes changes down, and serves the local socket. It knows how a
token's sessions are ended only as a callback. Made by `server`, before anything listens: a second server on the same
state directory ends here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from ngrokd.claims import Claims
from ngrokd.desk import Desk
from ngrokd.keeper import Keeper
from ngrokd.ledger import Ends, Ledger, Regrants, any_port, unheard
from ngrokd.local import SOCKET, Handler, serve_local
from ngrokd.settings import PortRange
from ngrokd.state import StateDirectory
from ngrokd.store.base import Store
from ngrokd.store.sqlite import open_store
from ngrokd.token_gate import TokenGate
from protocol.errors import Fault
from protocol.link.logs import Log
from protocol.names import Zone


def _same(handler: Handler) -> Handler:
    return handler


@dataclass(slots=True)
class Keeping:
    """See the module. Made by `open_keeping`; `aclose` closes the store if it was opened here."""

    store: Store
    state: StateDirectory
    log: Log
    owned: bool
    claims: Claims = field(default_factory=Claims)
    keeper: Keeper = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = Keeper(self.store, self.claims, self.log)

    def gate(self, domain: str, *, open_to_all: bool) -> TokenGate:
        """The gate that asks this store."""
        return TokenGate(self.store, domain, open_to_all, self.keeper.used)

    def ledger(
        self,
        domain: str,
        pin: str,
        ends: Ends,
        regrants: Regrants = unheard,
        ports: Callable[[], PortRange] = any_port,
    ) -> Ledger:
        """The books, for the operator. `ends` is called when a token's sessions have to end, `regrants` when they get other
        limits; `ports` says which ones tcp tunnels may have."""

        def tell(token_id: str, reason: str) -> int:
            ended = ends(token_id, reason)
            self.keeper.changed()
            return ended

        return Ledger(self.store, self.claims, Zone(domain), pin, tell, regrants=regrants, ports=ports)

    async def note_facts(self, domain: str, tunnel_port: int, *, own_certificate: bool) -> None:
        """Remember what commands want to know while no server runs. A disk that takes nothing is the keeper's worry."""
        facts = {
            "domain": domain,
            "tunnel_port": str(tunnel_port),
            "own_certificate": "yes" if own_certificate else "no",
        }
        try:
            if dict(await self.store.facts()) != facts:
                await self.store.set_facts(facts)
        except Fault as fault:
            self.log.warning("the state can't be written; service goes on", code=fault.code, reason=fault.message)

    async def run(
        self,
        ledger: Ledger,
        server: str,
        wrap: Callable[[Handler], Handler] = _same,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep what changes and answer commands, until cancelled. `server` is the address that clients are told to use;
        `wrap` puts a handler of other commands before ours."""
        desk = Desk(ledger, self.state, server, running=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keeper.run)
            try:
                await nursery.start(serve_local, self.state.file(SOCKET), wrap(desk.carry_out))
            except OSError as error:
                # No socket on this file system: the server is worth more than its commands
                self.log.warning("commands can't reach this server", reason=error.strerror or str(error))
            task_status.started()

    async def aclose(self) -> None:
        if self.owned:
            await self.store.aclose()


async def open_keeping(
    state: StateDirectory, log: Log, store: Store | None = None, *, clock: Callable[[], float] = time.time
) -> Keeping:
    """Open what the server remembers; `store` is the caller's own. Raises Fault."""
    keeping = Keeping(store or await open_store(state.path), state, log, owned=store is None)
    try:
        reservations, holds = await keeping.store.reservations(), await keeping.store.holds()
        keeping.claims.load(reservations, holds, clock())
        keeping.keeper.changed()
        await _say_who_may_come(keeping, reservations)
    except BaseException:
        await keeping.aclose()
        raise
    return keeping


async def _say_who_may_come(keeping: Keeping, reservations: Sequence[object]) -> None:
    tokens = len(await keeping.store.tokens())
    if tokens:
        keeping.log.info("agents need a token", tokens=tokens, reservations=len(reservations))
    else:
        keeping.log.info("no tokens yet; for agents on other machines make one with: ngrokd token add NAME")

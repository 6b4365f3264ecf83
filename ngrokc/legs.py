"""The legs of one session: TLS connections that carry all visitors as streams. Dialled at login and when the server asks for
more, dialled again when they die; a dead leg ends only its own streams.

Knows how a leg registers itself (RegLeg) and nothing of yamux: that is protocol.link.leg's. Streams go to `proxy`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from ngrokc.backoff import Backoff
from ngrokc.events import Notice
from ngrokc.proxy import Visitors
from ngrokc.routes import Routes
from protocol.errors import Fault, LinkError, RefusedError
from protocol.link.dial import ServerDialer
from protocol.link.framed import FramedLink
from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.port import Port, PortBroken
from protocol.messages import RegLeg, RegLegResp
from protocol.mux import Role

MAX_LEGS = 8  # of one session; two saturate a core, more are for long links with losses
DIAL_TIMEOUT = 10.0
REGISTER_TIMEOUT = 10.0
PARTING = 0.5  # seconds for a session to end behind its legs: a server that ends it sends them away first
STEADY = 10.0  # seconds a leg lives before its end counts as news and not as the next failure

Register = Callable[[int], RegLeg]


class LiveLegs:
    """All legs of an agent, also those of sessions that have ended and whose last streams still run."""

    def __init__(self) -> None:
        self.shared = LegShared()
        self._legs: set[Leg] = set()

    def __len__(self) -> int:
        return len(self._legs)

    def add(self, leg: Leg) -> None:
        self._legs.add(leg)

    def discard(self, leg: Leg) -> None:
        self._legs.discard(leg)

    def close(self) -> None:
        """End all of them now."""
        for leg in list(self._legs):
            with leg.reactor.turn():
                leg.close()
        self._legs.clear()


class Legs:
    """Keeps as many legs alive as the server wants; `run` serves them until cancelled and then lets their streams end."""

    def __init__(
        self,
        dialer: ServerDialer,
        visitors: Visitors,
        routes: Routes,
        register: Register,
        live: LiveLegs,
        *,
        verdict: bool,
    ) -> None:
        self._dialer = dialer
        self._visitors = visitors
        self._routes = routes
        self._register = register
        self._live = live
        self._verdict = verdict
        self._count = 0
        self._numbers = 0
        self._mine: set[Leg] = set()
        self._nursery: trio.Nursery | None = None
        self._complained = False

    def __repr__(self) -> str:
        return f"<Legs alive={len(self._mine)} wanted={self._count}>"

    @property
    def heard(self) -> float:
        """trio's clock when a byte last came on any of them."""
        return max((leg.heard for leg in self._mine), default=0.0)

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.ask()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for leg in list(self._mine):
                with leg.reactor.turn():
                    leg.go_away()

    def ask(self) -> None:
        """One more, up to the cap."""
        if self._nursery is not None and self._count < MAX_LEGS:
            self._count += 1
            self._nursery.start_soon(self._hold)

    async def _hold(self) -> None:
        """One place for a leg: dial, wait for its end, dial again."""
        backoff = Backoff()
        while True:
            began = trio.current_time()
            try:
                reason, orderly = await self._serve_one()
                if orderly:  # mostly it goes with its session, and then there is nothing to say and nothing to dial
                    await trio.sleep(PARTING)
            except RefusedError as error:
                if self._count > 1:  # the server has enough of them
                    self._count -= 1
                    return
                reason = error.message
            except (Fault, PortBroken) as error:
                reason = str(error)
            steady = trio.current_time() - began > STEADY
            if steady:
                backoff.reset()
                self._complained = False
            elif not self._complained:  # one that lived is just dialled again; one that can't live is news
                self._complained = True
                self._visitors.bus.publish(Notice("warning", f"a leg ended and is dialled again: {reason}"))
            await trio.sleep(backoff.next())

    async def _serve_one(self) -> tuple[str, bool]:
        """Dial, register and wait for the end; why it ended, and whether the server sent it away in order. Raises Fault or
        PortBroken before there was a leg."""
        port = await self._dialer.dial(timeout=DIAL_TIMEOUT, leg=True)
        try:
            port = await self._registered(port)
        except BaseException:
            port.close()
            raise
        ended = trio.Event()
        reasons: list[str] = []

        def on_end(reason: str) -> None:
            reasons.append(reason)
            self._mine.discard(leg)
            self._live.discard(leg)
            ended.set()

        with self._visitors.reactor.turn():
            leg = Leg(
                self._visitors.reactor,
                port,
                role=Role.CLIENT,
                on_stream=self._on_stream,
                on_end=on_end,
                shared=self._live.shared,
            )
            self._mine.add(leg)
            self._live.add(leg)
        await ended.wait()
        return reasons[0], leg.draining

    async def _registered(self, port: Port) -> Port:
        link = FramedLink(port.stream())
        self._numbers += 1
        with trio.move_on_after(REGISTER_TIMEOUT):
            await link.send(self._register(self._numbers))
            answer = await link.receive()
            if not isinstance(answer, RegLegResp):
                raise LinkError("leg_answer", "the server did not answer the registration of a leg")
            if answer.error:
                raise RefusedError("leg_refused", answer.error, retry=True)
            return link.release()
        raise LinkError("leg_timeout", f"the server did not take a leg within {REGISTER_TIMEOUT:g} s")

    def _on_stream(self, stream: StreamPort) -> None:
        self._visitors.serve(stream, self._routes, verdict=self._verdict)

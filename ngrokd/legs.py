"""All legs of a native session: visitors as streams.

Opening a stream costs no round trip: StartProxy is its first write, and the visitor's bytes follow in the same batch. A new
stream goes to the least loaded leg. Who finds no leg, or one whose batch is full, waits at most OPEN_TIMEOUT. A dead leg
ends its own streams only; the agent dials another by itself. Knows the reactor and legs, not control links: asking for a
leg is a callback.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from ngrokd.opener import OPEN_TIMEOUT, Cancel, Ready, agent_gone, agent_silent
from protocol.errors import Fault
from protocol.frames import frame
from protocol.link.leg import Leg, LegShared
from protocol.link.leg_stream import StreamPort
from protocol.link.link_watch import LinkWatch
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.messages import StartProxy
from protocol.mux import Growth, Role

MAX_LEGS = 4  # of one session; more than two only help on long paths with losses
CROWDED = 256  # streams on the least loaded leg at which one more is asked for
ASK_LIFE = 10.0  # seconds after which an unanswered ReqLeg no longer counts
SERVER_GROWTH = 1 << 30  # the same for all sessions: promises; what is really queued has a budget of its own
SESSION_GROWTH = 128 << 20  # bytes that a session's windows may promise beyond what each stream begins with


class _Opening:
    """A visitor that waits: for a leg, or for its StartProxy to be taken whole."""

    __slots__ = ("data", "deadline", "ready", "sent", "stream")

    def __init__(self, start: StartProxy, ready: Ready, deadline: float) -> None:
        self.data = frame(start)
        self.ready = ready
        self.deadline = deadline
        self.stream: StreamPort | None = None
        self.sent = 0

    def lose_stream(self) -> None:
        """Its leg has died: another may take the visitor."""
        self.stream = None
        self.sent = 0


class LegHouse:
    """What the legs of all sessions share, and all that are alive: a session's may outlive it until their streams end."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.shared = LegShared(growth=Growth(SERVER_GROWTH))
        self.live: set[Leg] = set()
        self.own_links = LinkWatch(reactor)
        """Of tcp visitors that have one instead of a stream."""

    def close(self) -> None:
        """End all of them now, with their streams."""
        with self.reactor.turn():
            for leg in list(self.live):
                leg.close()


class LegSet:
    """The legs of one session. `ask` sends one ReqLeg. The session gets its own allowance for windows.

    Owns the legs. `close` lets their streams finish and takes no new ones.
    """

    def __init__(self, house: LegHouse, ask: Callable[[], None]) -> None:
        reactor = self._reactor = house.reactor
        self._house = house
        self._shared = house.shared.for_session(Growth(SESSION_GROWTH, parent=house.shared.growth))
        self._ask = ask
        self._legs: list[Leg] = []
        self._waiting: OrderedDict[_Opening, None] = OrderedDict()  # all wait equally long: the first is due first
        self._asked_until = float("-inf")
        self._closed = False
        self._timer = reactor.timer(self._sweep)

    def __repr__(self) -> str:
        streams = sum(leg.streams for leg in self._legs)
        return f"<LegSet legs={len(self._legs)} streams={streams} waiting={len(self._waiting)}>"

    @property
    def legs(self) -> int:
        return len(self._legs)

    @property
    def streams(self) -> int:
        return sum(leg.streams for leg in self._legs)

    @property
    def waiting(self) -> int:
        """Visitors without a stream yet."""
        return len(self._waiting)

    @property
    def rtt(self) -> float | None:
        """Seconds, of the quickest leg; None before the first measurement."""
        return min((leg.rtt for leg in self._legs if leg.rtt is not None), default=None)

    @property
    def heard(self) -> float:
        """The reactor's clock when a byte last came on any leg; minus infinity without one."""
        return max((leg.heard for leg in self._legs), default=float("-inf"))

    # -- visitors
    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        """See Opener."""
        if self._closed:
            ready(agent_gone())
            return ignore
        opening = _Opening(start, ready, self._now() + OPEN_TIMEOUT)
        if self._begin(opening):
            self._served(opening)
            return ignore
        self._waiting[opening] = None
        if opening.stream is None:
            self._want_more()
        self._arm()
        return lambda: self._leave(opening)

    def _begin(self, opening: _Opening) -> bool:
        """Open a stream and send StartProxy; whether it was taken whole. Else the visitor waits."""
        leg = self._least_loaded()
        if leg is None:
            return False
        try:
            opening.stream = stream = leg.open()
        except PortBroken:
            return False
        stream.on_readable = ignore
        stream.on_writable = lambda: self._go_on(opening)
        if leg.worn or leg.streams > CROWDED:
            self._want_more()
        return self._push(opening, stream)

    def _push(self, opening: _Opening, stream: StreamPort) -> bool:
        try:
            opening.sent += stream.write(memoryview(opening.data)[opening.sent :])
        except PortBroken:
            opening.lose_stream()
            return False
        return opening.sent == len(opening.data)

    def _go_on(self, opening: _Opening) -> None:
        """The leg that a visitor waits for has room again, or has died."""
        if opening not in self._waiting or opening.stream is None:
            return
        if self._push(opening, opening.stream):
            self._served(opening)

    def _served(self, opening: _Opening) -> None:
        self._waiting.pop(opening, None)
        assert opening.stream is not None
        opening.stream.on_writable = ignore
        opening.ready(opening.stream)

    def _leave(self, opening: _Opening) -> None:
        if opening in self._waiting:
            del self._waiting[opening]
            if opening.stream is not None:
                opening.stream.abort()

    def _least_loaded(self) -> Leg | None:
        usable = [leg for leg in self._legs if leg.can_open]
        return min(usable, key=lambda leg: leg.streams) if usable else None

    # -- legs
    @property
    def has_room(self) -> bool:
        """Whether one more leg is welcome."""
        return not self._closed and len(self._legs) < MAX_LEGS

    def join(self, port: Port) -> None:
        """A registered leg, task-owned; the set owns it from now on. RegLegResp has gone out."""
        self._asked_until = float("-inf")
        if not self.has_room:  # any more: several were told so at once
            port.close()
            return
        leg = Leg(
            self._reactor,
            port,
            role=Role.SERVER,
            on_stream=None,
            on_end=lambda _reason: self._ended(leg),
            shared=self._shared,
        )
        self._retire_worn()
        self._legs.append(leg)
        self._house.live.add(leg)
        self._serve_waiting()
        self._arm()

    def _serve_waiting(self) -> None:
        """Give those without a stream another try, in their order."""
        for opening in list(self._waiting):
            if opening.stream is None and opening in self._waiting and self._begin(opening):
                self._served(opening)

    def _retire_worn(self) -> None:
        """There is a successor: legs whose ids will run out some day take no new streams and end with their last."""
        for leg in self._legs:
            if leg.worn and not leg.draining:
                leg.go_away()

    def _ended(self, leg: Leg) -> None:
        self._house.live.discard(leg)
        if leg in self._legs:
            self._legs.remove(leg)
        for opening in self._waiting:
            if opening.stream is not None and opening.stream.leg is leg:
                opening.lose_stream()
        self._serve_waiting()

    def _want_more(self) -> None:
        """Ask for one more leg, unless one is on its way."""
        now = self._now()
        if len(self._legs) < MAX_LEGS and now >= self._asked_until:
            self._asked_until = now + ASK_LIFE
            self._ask()

    # -- the clock
    def _now(self) -> float:
        return self._reactor.now if self._reactor.in_turn else self._reactor.refresh()

    def _arm(self) -> None:
        if self._waiting:
            first = next(iter(self._waiting))
            self._timer.set(max(first.deadline - self._now(), 0.001))
        else:
            self._timer.clear()

    def _sweep(self) -> None:
        now = self._now()
        self._expire([opening for opening in self._waiting if opening.deadline <= now], agent_silent())
        self._arm()

    def _expire(self, late: list[_Opening], fault: Fault) -> None:
        for opening in late:
            self._leave(opening)
        for opening in late:
            opening.ready(fault)

    # -- the end
    def close(self) -> None:
        """See Opener."""
        if self._closed:
            return
        self._closed = True
        self._timer.clear()
        self._expire(list(self._waiting), agent_gone())
        for leg in list(self._legs):
            leg.go_away()
            if not leg.streams:
                leg.close()

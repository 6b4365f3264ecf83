"""Proxy links that an agent has dialled in advance and that wait for visitors: kept fresh, few, and never found dead by one.

A parked link sits in the reactor: when the agent closes it, it is dropped at that moment. After `life` seconds it is
replaced, because a NAT box may have forgotten it without a word. How many to keep parked is learnt: `rest` of them at rest,
one more each time somebody finds none, one less each time a link grew old unused.

Everything runs in callbacks of the reactor; there is no task per parked link. Knows nothing of who waits for links: that is
`pool`'s (classic) and `native_links`'.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from protocol.frames import frame
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.reactor import Reactor
from protocol.messages import StartProxy

LINK_LIFE = 60.0  # seconds a parked link counts as fresh; 1.7's own figure
RENEW_AHEAD = 5.0  # seconds before that at which its replacement is asked for
MAX_PARKED = 10  # as in 1.7; more is closed unused
ASK_LIFE = 10.0  # seconds after which an unanswered ReqProxy no longer counts as on its way
MAX_ASKED = (
    256  # on their way at once: a crowd of visitors must not fill the control link; each that comes asks for the next
)
TICK = 0.001  # the least a timer is set for: a deadline missed by a rounding error must not be met in a circle


class ParkedLinks:
    """The parked links of one session, and those it has asked for.

    `ask` sends one ReqProxy, `changed` is called when links have gone or some that were asked for will not come: it calls
    `want`. Neither may wait or raise. Two questions are `pace` seconds apart at least.

    Owns the ports it parks until `hand_out`; `close` closes the rest.
    """

    def __init__(
        self,
        reactor: Reactor,
        ask: Callable[[], None],
        changed: Callable[[], None],
        *,
        rest: int = 1,
        life: float = LINK_LIFE,
        pace: float = 0.0,
    ) -> None:
        self._reactor = reactor
        self._ask = ask
        self._changed = changed
        self._rest = self._spare = rest
        self._life = life
        self._pace = pace
        self._missing = 0
        self._quiet_until = float("-inf")
        self._parked: OrderedDict[Port, float] = OrderedDict()  # with the time it grows old, oldest first
        self._asked: deque[float] = deque()  # when each unanswered ReqProxy stops counting
        self.sent = self.answered = 0
        """ReqProxy; those that came to nothing count as answered in the end."""
        self._closed = False
        self._timer = reactor.timer(self._sweep)

    def __repr__(self) -> str:
        return f"<ParkedLinks {len(self)} asked={len(self._asked)} spare={self._spare}>"

    def __len__(self) -> int:
        return len(self._parked)

    @property
    def asked(self) -> int:
        """How many are on their way."""
        return len(self._asked)

    @property
    def spare(self) -> int:
        """How many to keep parked, as learnt."""
        return self._spare

    @property
    def now(self) -> float:
        """The reactor's clock."""
        return self._reactor.now if self._reactor.in_turn else self._reactor.refresh()

    # -- out
    def hand_out(self, start: StartProxy) -> Port | None:
        """A parked link that took StartProxy, freshest first: it is the least likely to be dead. The caller calls `want`."""
        data = frame(start)
        while self._parked:
            port, _ = self._parked.popitem(last=True)
            if hand_over(port, data):
                return port
        return None

    def missed(self) -> None:
        """Somebody has found none: one more from now on."""
        self._spare = min(self._spare + 1, MAX_PARKED)

    # -- in
    def arrived(self) -> None:
        """A link has come, whoever gets it."""
        if self._asked:
            self._asked.popleft()
            self.answered += 1

    def park(self, port: Port) -> None:
        """Keep `port` (attached) for a visitor, or close it if there are enough."""
        if self._closed or len(self._parked) >= MAX_PARKED:
            port.close()
            return
        self._parked[port] = self.now + self._life
        port.on_readable = lambda: self._stirred(port)
        self._arm()

    def _stirred(self, port: Port) -> None:
        """A parked link must be silent. Its end is normal; bytes before StartProxy are not 1.7 and not ours."""
        if port not in self._parked:
            return
        try:
            found = port.read()
            if found is None:  # TLS talked to itself: a session ticket, a new key
                return
            broken = len(found) > 0
        except PortBroken:
            broken = True
        del self._parked[port]
        if broken:
            port.abort()
        else:
            port.close()
        self._changed()

    # -- asking
    def want(self, waiting: int = 0) -> None:
        """Ask for exactly what is missing: a link for each who waits and the spare ones, less what is here or coming."""
        if self._closed:
            return
        now = self.now
        fresh = sum(1 for until in self._parked.values() if until - RENEW_AHEAD > now)
        self._missing = min(waiting + self._spare - fresh - len(self._asked), MAX_ASKED - len(self._asked))
        while self._missing > 0 and now >= self._quiet_until:
            self.ask_one()
            self._missing -= 1
        self._arm()

    def ask_one(self) -> None:
        """One more than is missing, for its answer."""
        now = self.now
        self.sent += 1
        self._asked.append(now + ASK_LIFE)
        if self._pace:
            self._quiet_until = now + self._pace
        self._ask()
        self._arm()

    # -- the clock
    def _sweep(self) -> None:
        """One timer for both lists; each is ordered by time, so only heads are looked at."""
        now = self.now
        self._missing = 0
        while self._asked and self._asked[0] <= now:
            self._asked.popleft()
            self.answered += 1
        while self._parked and next(iter(self._parked.values())) <= now:
            port, _ = self._parked.popitem(last=False)
            port.close()
            self._spare = max(self._spare - 1, self._rest)
        self._changed()
        self._arm()

    def _arm(self) -> None:
        due = [self._asked[0]] if self._asked else []
        if self._missing > 0:
            due.append(self._quiet_until)
        if self._parked:
            oldest = next(iter(self._parked.values()))
            renew = oldest - RENEW_AHEAD
            due.append(renew if renew > self._reactor.now else oldest)
        if due:
            self._timer.set(max(min(due) - self.now, TICK))
        else:
            self._timer.clear()

    # -- the end
    def close(self) -> None:
        """Close what is parked and ask for nothing more. Idempotent."""
        self._closed = True
        self._timer.clear()
        self._asked.clear()
        parked, self._parked = self._parked, OrderedDict()
        for port in parked:
            port.close()


def hand_over(port: Port, data: bytes) -> bool:
    """Write StartProxy in one piece, so in one TLS record: 1.7 reads the body with a single read. Closes a port that
    does not take it whole: nothing was written on it before, so it is broken."""
    try:
        port.on_readable = ignore
        whole = port.write(data) == len(data)
    except PortBroken:
        whole = False
    if not whole:
        port.abort()
    return whole

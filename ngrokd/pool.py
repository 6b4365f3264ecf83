"""The classic opener: proxy links that an agent has dialled in advance, one for each visitor connection.

Knows the reactor and ports, not TLS or control links: asking for a link is a callback. Everything runs in callbacks of the
reactor; there is no task per visitor and none per parked link.

A parked link sits in the reactor: when the agent closes it, it is dropped at that moment, not found dead by a visitor.
After LINK_LIFE it is replaced, because a NAT box may have forgotten it without a word. How many to keep parked is learnt:
one at rest, one more each time a visitor had to wait, one less each time a link grew old unused.

A 1.7 agent that is sent a visitor for a tunnel whose NewTunnel it has not read yet closes that link, and the visitor's
bytes are lost. It reads its control link in order, so a link that was asked for after the NewTunnel shows that it was read:
until one is here, the visitors of that tunnel are held, for READ_BY seconds at most.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from ngrokd.opener import OPEN_TIMEOUT, Cancel, Ready, agent_gone, agent_silent
from protocol.frames import frame
from protocol.link.port import Port, PortBroken
from protocol.link.reactor import Reactor
from protocol.messages import StartProxy

LINK_LIFE = 60.0  # seconds a parked link counts as fresh; 1.7's own figure
RENEW_AHEAD = 5.0  # seconds before that at which its replacement is asked for
MAX_PARKED = 10  # as in 1.7; more is closed unused
ASK_LIFE = 10.0  # seconds after which an unanswered ReqProxy no longer counts as on its way
MAX_ASKED = (
    256  # on their way at once: a crowd of visitors must not fill the control link; each that comes asks for the next
)
READ_BY = 2.0  # seconds; after it a NewTunnel counts as read, whatever has become of the links asked for
TICK = 0.001  # the least a timer is set for: a deadline missed by a rounding error must not be met in a circle


class _Waiter:
    __slots__ = ("deadline", "ready", "start")

    def __init__(self, start: StartProxy, ready: Ready, deadline: float) -> None:
        self.start = start
        self.ready = ready
        self.deadline = deadline


class _News:
    """A NewTunnel that went out: read for sure when so many ReqProxy were answered, or at that time."""

    __slots__ = ("proof", "until")

    def __init__(self, proof: int, until: float) -> None:
        self.proof = proof
        self.until = until


class LinkPool:
    """The parked links and waiting visitors of one session. `ask` sends one ReqProxy; it must not wait or raise.

    Owns the ports it is offered until a visitor gets them; `close` closes the rest.
    """

    def __init__(self, reactor: Reactor, ask: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ask = ask
        self._parked: OrderedDict[Port, float] = OrderedDict()  # with the time it grows old, oldest first
        self._waiting: OrderedDict[_Waiter, None] = OrderedDict()  # all wait equally long: the first is due first
        self._asked: deque[float] = deque()  # when each unanswered ReqProxy stops counting
        self._held: dict[_Waiter, None] = {}  # for tunnels that the agent may not know of yet
        self._news: dict[str, _News] = {}  # by URL
        self._sent = self._answered = 0  # ReqProxy; those that came to nothing count as answered in the end
        self._spare = 1
        self._closed = False
        self._timer = reactor.timer(self._sweep)

    def __repr__(self) -> str:
        return f"<LinkPool parked={len(self._parked)} waiting={len(self._waiting)} asked={len(self._asked)} spare={self._spare}>"

    @property
    def parked(self) -> int:
        return len(self._parked)

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._held)

    # -- tunnels
    def announced(self, url: str) -> None:
        """The NewTunnel of `url` has gone out."""
        now = self._now()
        while self._news and self._news[oldest := next(iter(self._news))].until <= now:
            del self._news[oldest]  # no visitor came for it
        self._news[url] = _News(self._sent + 1, now + READ_BY)

    def _unread(self, url: str) -> bool:
        """Whether the agent may not know of `url` yet."""
        news = self._news.get(url)
        if news is None:
            return False
        if self._answered >= news.proof or news.until <= self._now():
            del self._news[url]
            return False
        return True

    def _hold(self, start: StartProxy, ready: Ready) -> Cancel:
        waiter = _Waiter(start, ready, self._news[start.url].until)
        self._held[waiter] = None
        self._want_more()
        if self._sent < self._news[start.url].proof:
            self._ask_one()
            self._arm()
        return lambda: self._leave(waiter)

    def _release(self) -> None:
        """Go on with those who were held for what the agent has read by now."""
        for waiter in [waiter for waiter in self._held if not self._unread(waiter.start.url)]:
            if waiter in self._held:  # nobody's callback took it out meanwhile
                del self._held[waiter]
                port = self._take(waiter.start)
                if port is None:
                    self._queue(waiter)
                else:
                    self._want_more()
                    waiter.ready(port)

    # -- visitors
    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        """See Opener."""
        if self._closed:
            ready(agent_gone())
            return _nothing
        if self._news and self._unread(start.url):
            return self._hold(start, ready)
        port = self._take(start)
        if port is not None:
            self._want_more()
            ready(port)
            return _nothing
        waiter = _Waiter(start, ready, 0.0)
        self._queue(waiter)
        return lambda: self._leave(waiter)

    def _queue(self, waiter: _Waiter) -> None:
        waiter.deadline = self._now() + OPEN_TIMEOUT
        self._waiting[waiter] = None
        self._spare = min(self._spare + 1, MAX_PARKED)
        self._want_more()

    def _leave(self, waiter: _Waiter) -> None:
        self._waiting.pop(waiter, None)
        self._held.pop(waiter, None)

    def _take(self, start: StartProxy) -> Port | None:
        """A parked link that took StartProxy, freshest first: it is the least likely to be dead."""
        data = frame(start)
        while self._parked:
            port, _ = self._parked.popitem(last=True)
            if _hand_over(port, data):
                return port
        return None

    # -- links
    def warm_up(self) -> None:
        """Ask for what should be parked at rest; once, after AuthResp has gone out."""
        self._want_more()

    def offer(self, port: Port) -> None:
        """A new proxy link, attached to the reactor. The pool owns it from now on, and closes it when it has no use."""
        if self._asked:
            self._asked.popleft()
            self._answered += 1
        if self._closed:
            port.close()
            return
        if self._waiting:
            self._serve_first(port)
        elif len(self._parked) >= MAX_PARKED:
            port.close()
        else:
            self._parked[port] = self._now() + LINK_LIFE
            port.on_readable = lambda: self._stirred(port)
            self._arm()
        if self._held:
            self._release()

    def _serve_first(self, port: Port) -> None:
        waiter = next(iter(self._waiting))
        if not _hand_over(port, frame(waiter.start)):
            self._want_more()
            return
        del self._waiting[waiter]
        self._want_more()
        waiter.ready(port)

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
        self._want_more()

    # -- the clock
    def _now(self) -> float:
        return self._reactor.now if self._reactor.in_turn else self._reactor.refresh()

    def _sweep(self) -> None:
        """One timer for the lists; each is ordered by time, so only heads are looked at."""
        now = self._now()
        while self._asked and self._asked[0] <= now:
            self._asked.popleft()
            self._answered += 1
        while self._parked and next(iter(self._parked.values())) <= now:
            port, _ = self._parked.popitem(last=False)
            port.close()
            self._spare = max(self._spare - 1, 1)
        late = []
        while self._waiting and (waiter := next(iter(self._waiting))).deadline <= now:
            del self._waiting[waiter]
            late.append(waiter)
        self._want_more()
        for waiter in late:
            waiter.ready(agent_silent())
        if self._held:
            self._release()

    def _arm(self) -> None:
        due = [self._asked[0]] if self._asked else []
        if self._waiting:
            due.append(next(iter(self._waiting)).deadline)
        if self._held:
            due.append(min(waiter.deadline for waiter in self._held))
        if self._parked:
            oldest = next(iter(self._parked.values()))
            renew = oldest - RENEW_AHEAD
            due.append(renew if renew > self._reactor.now else oldest)
        if due:
            self._timer.set(max(min(due) - self._now(), TICK))
        else:
            self._timer.clear()

    # -- asking
    def _want_more(self) -> None:
        """Ask for exactly what is missing: a link per waiting visitor and the spare ones, less what is here or coming."""
        if self._closed:
            return
        now = self._now()
        fresh = sum(1 for until in self._parked.values() if until - RENEW_AHEAD > now)
        missing = self.waiting + self._spare - fresh - len(self._asked)
        for _ in range(min(missing, MAX_ASKED - len(self._asked))):
            self._ask_one()
        self._arm()

    def _ask_one(self) -> None:
        self._sent += 1
        self._asked.append(self._now() + ASK_LIFE)
        self._ask()

    # -- the end
    def close(self) -> None:
        """See Opener."""
        if self._closed:
            return
        self._closed = True
        self._timer.clear()
        parked, self._parked = self._parked, OrderedDict()
        waiting, self._waiting = self._waiting, OrderedDict()
        self._asked.clear()
        for port in parked:
            port.close()
        held, self._held = self._held, {}
        for waiter in (*waiting, *held):
            waiter.ready(agent_gone())


def _hand_over(port: Port, data: bytes) -> bool:
    """Write StartProxy in one piece, so in one TLS record: 1.7 reads the body with a single read. Closes a port that
    does not take it whole: nothing was written on it before, so it is broken."""
    try:
        port.on_readable = _nothing
        whole = port.write(data) == len(data)
    except PortBroken:
        whole = False
    if not whole:
        port.abort()
    return whole


def _nothing() -> None:
    """The visitor was served at once: there is nothing to cancel."""

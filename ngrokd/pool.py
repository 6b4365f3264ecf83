"""The classic opener: proxy links that an agent has dialled in advance (`parked`), one for each visitor connection.

Knows the reactor and ports, not TLS or control links: asking for a link is a callback. Everything runs in callbacks of the
reactor; there is no task per visitor.

A 1.7 agent that is sent a visitor for a tunnel whose NewTunnel it has not read yet closes that link, and the visitor's
bytes are lost. It reads its control link in order, so a link that was asked for after the NewTunnel shows that it was read:
until one is here, the visitors of that tunnel are held, for READ_BY seconds at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from ngrokd.opener import OPEN_TIMEOUT, Cancel, Ready, agent_gone, agent_silent
from ngrokd.parked import TICK, ParkedLinks, hand_over
from protocol.frames import frame
from protocol.link.port import Port, ignore
from protocol.link.reactor import Reactor
from protocol.messages import StartProxy

if TYPE_CHECKING:
    from ngrokd.tunnel import Tunnel

READ_BY = 2.0  # seconds; after it a NewTunnel counts as read, whatever has become of the links asked for


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
        self._links = ParkedLinks(reactor, ask, self._links_changed)
        self._waiting: OrderedDict[_Waiter, None] = OrderedDict()  # all wait equally long: the first is due first
        self._held: dict[_Waiter, None] = {}  # for tunnels that the agent may not know of yet
        self._news: dict[str, _News] = {}  # by URL
        self._closed = False
        self._timer = reactor.timer(self._sweep)

    def __repr__(self) -> str:
        links = self._links
        return f"<LinkPool parked={len(links)} waiting={len(self._waiting)} asked={links.asked} spare={links.spare}>"

    @property
    def parked(self) -> int:
        return len(self._links)

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._held)

    @property
    def heard(self) -> float:
        """Nothing: these links outlive a session, and 1.7 goes by its Pings alone."""
        return float("-inf")

    # -- tunnels
    def announced(self, tunnel: Tunnel) -> None:
        """See Links."""
        now = self._links.now
        while self._news and self._news[oldest := next(iter(self._news))].until <= now:
            del self._news[oldest]  # no visitor came for it
        self._news[tunnel.url] = _News(self._links.sent + 1, now + READ_BY)

    def _unread(self, url: str) -> bool:
        """Whether the agent may not know of `url` yet."""
        news = self._news.get(url)
        if news is None:
            return False
        if self._links.answered >= news.proof or news.until <= self._links.now:
            del self._news[url]
            return False
        return True

    def _hold(self, start: StartProxy, ready: Ready) -> Cancel:
        news = self._news[start.url]
        waiter = _Waiter(start, ready, news.until)
        self._held[waiter] = None
        self._want_more()
        if self._links.sent < news.proof:
            self._links.ask_one()
        self._arm()
        return lambda: self._leave(waiter)

    def _release(self) -> None:
        """Go on with those who were held for what the agent has read by now."""
        for waiter in [waiter for waiter in self._held if not self._unread(waiter.start.url)]:
            if waiter in self._held:  # nobody's callback took it out meanwhile
                del self._held[waiter]
                port = self._links.hand_out(waiter.start)
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
            return ignore
        if self._news and self._unread(start.url):
            return self._hold(start, ready)
        port = self._links.hand_out(start)
        if port is not None:
            self._want_more()
            ready(port)
            return ignore
        waiter = _Waiter(start, ready, 0.0)
        self._queue(waiter)
        return lambda: self._leave(waiter)

    def _queue(self, waiter: _Waiter) -> None:
        waiter.deadline = self._links.now + OPEN_TIMEOUT
        self._waiting[waiter] = None
        self._links.missed()
        self._want_more()
        self._arm()

    def _leave(self, waiter: _Waiter) -> None:
        self._waiting.pop(waiter, None)
        self._held.pop(waiter, None)

    # -- links
    def warm_up(self) -> None:
        """See Links."""
        self._want_more()

    def offer(self, port: Port) -> None:
        """See Links."""
        self._links.arrived()
        if self._waiting:
            self._serve_first(port)
        else:
            self._links.park(port)
        if self._held:
            self._release()

    def _serve_first(self, port: Port) -> None:
        waiter = next(iter(self._waiting))
        if not hand_over(port, frame(waiter.start)):
            self._want_more()
            return
        del self._waiting[waiter]
        self._want_more()
        waiter.ready(port)

    def _want_more(self) -> None:
        self._links.want(self.waiting)

    def _links_changed(self) -> None:
        self._want_more()
        if self._held:
            self._release()

    # -- the clock
    def _sweep(self) -> None:
        """All wait equally long, so only the first is looked at."""
        now = self._links.now
        late = []
        while self._waiting and (waiter := next(iter(self._waiting))).deadline <= now:
            del self._waiting[waiter]
            late.append(waiter)
        for waiter in late:
            waiter.ready(agent_silent())
        if self._held:
            self._release()
        self._arm()

    def _arm(self) -> None:
        due = [next(iter(self._waiting)).deadline] if self._waiting else []
        if self._held:
            due.append(min(waiter.deadline for waiter in self._held))
        if due:
            self._timer.set(max(min(due) - self._links.now, TICK))
        else:
            self._timer.clear()

    # -- the end
    def close(self) -> None:
        """See Opener."""
        if self._closed:
            return
        self._closed = True
        self._timer.clear()
        self._links.close()
        waiting, self._waiting = self._waiting, OrderedDict()
        held, self._held = self._held, {}
        for waiter in (*waiting, *held):
            waiter.ready(agent_gone())

"""One visitor connection of the http or https edge: the exchange loop.

    head -> route -> admit -> head rewritten -> body up ... response head -> body down -> next head

Everything runs in callbacks of the reactor; nothing here waits. `deciding` says who serves a request, `upward` is the
request half, `downward` the response half; this module joins them, and owns the visitor's port and the stream to the agent.

Invariants: a stream serves one visitor connection and is dropped when another tunnel's request comes; a bad head reaches
no agent. Whether what was sent can be mistaken for a complete answer decides between an error page, an end and a reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ngrokd.edge.deciding import decide, decide_again, decide_without, find, may_repeat
from ngrokd.edge.downward import Downward, Phase
from ngrokd.edge.patience import STALL_SECONDS, VERDICT_SECONDS, Enough, Patience
from ngrokd.edge.reading import HeadReader
from ngrokd.edge.slot import StreamSlot
from ngrokd.edge.state import State
from ngrokd.edge.upgraded import Upgraded
from ngrokd.edge.upward import Upward
from ngrokd.policy.denial import Denial
from protocol.errors import Fault, HttpError
from protocol.head import RequestHead, ResponseHead
from protocol.link.linger import linger
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.relay import RelayEnd

if TYPE_CHECKING:
    from ngrokd.edge.http import HttpEdge
    from ngrokd.tunnel import Tunnel

HEAD_SECONDS: Final = 10.0  # from the first byte of a head, or from accept, to its end; never re-armed by a trickle
IDLE_SECONDS: Final = 75.0  # a kept-alive connection between exchanges, nginx's figure
_HEAD: Final = State.HEAD  # a member of an enum costs two look-ups, and these two are asked for ten times a request
_EXCHANGE: Final = State.EXCHANGE


class VisitorConnection:
    """Serves `port` (attached; owned from here on) until it ends. `server_name`: what a TLS visitor asked for (SNI), which
    every Host must agree with; None on the http edge and where none was sent."""

    __slots__ = (
        *("_head_begun", "_patience", "_reader", "_relay", "_retried"),
        *("_sent_for", "_sent_head", "_sent_to", "_served", "_timer", "server_name", "slot", "state", "up"),
        *("address", "answered", "began", "conn_id", "down", "edge", "opened", "port", "proxy", "request", "secure"),
    )

    __deletable__ = ("down", "slot", "up")  # for mypyc

    def __init__(self, edge: HttpEdge, port: Port, address: tuple[str, int], server_name: str | None = None) -> None:
        self.edge = edge
        self.port = port
        self.address = address  # the visitor's: of the other end, or what a trusted proxy there says of this request
        self.secure = edge.secure
        self.server_name = server_name
        self.proxy = edge.guard.proxy(address, edge.secure) if edge.guard is not None else None  # a trusted other end
        self.conn_id = edge.next_conn_id()
        self.state = _HEAD
        self.request: RequestHead | None = None
        self.slot = StreamSlot(self._opened)
        self._reader = HeadReader()
        self._retried = False
        self._sent_head = b""  # what the agent was sent for the last request, rewritten once where that repeats itself
        self._sent_for: RequestHead | None = None
        self._sent_to: Tunnel | None = None
        self._served = 0
        self._head_begun = False
        self._patience = Patience()
        self._relay: Upgraded | None = None
        # When (the reactor's clock) the last request was read, had its stream, and its answer began
        self.began = self.opened = self.answered = 0.0
        self.up = Upward(self)
        self.down = Downward(self)
        self._timer = edge.reactor.timer(self._on_timer)

    def start(self) -> None:
        """Begin, within a turn, with the bytes that the port holds already."""
        self._timer.set(HEAD_SECONDS)
        self.port.on_readable = self._on_readable
        self.port.on_writable = self.down.pump
        self._on_readable()

    def __repr__(self) -> str:
        return f"<VisitorConnection {self.conn_id} {self.state.value} served={self._served}>"

    # -- the visitor's bytes
    def _on_readable(self) -> None:
        if self.state is _HEAD:
            self._read_ahead()
        elif self.state is State.OVER:
            return  # asked for earlier in this turn
        elif self.up.done:
            if not self._reader.rest:
                self._read_ahead()
        else:
            self.up.pump()

    def _read_ahead(self) -> None:
        """Read once. Between exchanges that is a head; within one it is how the visitor's end or reset is noticed, and a
        pipelined request waits in the reader (more of it stays in the kernel)."""
        try:
            data = self.port.take()
        except PortBroken as error:
            self.fail_visitor(str(error))
            return
        if not data:
            if data is not None:
                self._visitor_ended()
            return
        self._reader.feed(data)
        if self.state is _HEAD:
            self._next_head()

    def _visitor_ended(self) -> None:
        if self.state is _HEAD:
            self.close()
        elif self.up.done:
            # A half-closed visitor still wants its answer; the agent learns of it where that loses nothing.
            self._reader.ended = True
            self.up.pass_end_on()
            if self.up.holds_end:
                self._patience.moved = sum(self.moved)
                self._timer.set(STALL_SECONDS)

    def visitor_cut_short(self) -> None:
        """The visitor ended within a request body: the service must not take it for complete."""
        self.edge.refused(self, "body_cut_short")
        self.abort()

    def _next_head(self) -> None:
        try:
            request = self._reader.next()
        except HttpError as error:
            self.refuse(error.code, error.message)
            return
        if request is None:
            self._wait_for_more()
            return
        self.request = request
        self.began = self.opened = self.edge.reactor.now
        self._head_begun = self._retried = False
        self._follow(decide(self, request), request)

    def _wait_for_more(self) -> None:
        """A partial head. The rest of it may be there already: an edge is not repeated."""
        if not self._head_begun:
            self._head_begun = True
            if self._served:
                self._timer.set(HEAD_SECONDS)
        self.edge.reactor.soon(self._on_readable)

    # -- deciding
    def _follow(self, found: Tunnel | Denial | None, request: RequestHead) -> None:
        """Do what was decided."""
        if found is None:
            self.state = State.OPENING
        elif isinstance(found, Denial):
            self.refuse(found.code, found.detail, found.fields)
        elif self.slot.fits(found):
            self._begin(found, request)
        else:
            self.slot.close()
            self._open(found)

    def look_again(self) -> None:
        """For the waiting room: the tunnel may be here now, or the time is over."""
        if self.state is State.OPENING and self.request is not None:
            self.state = _HEAD
            self._follow(find(self, self.request), self.request)

    def _open(self, tunnel: Tunnel) -> None:
        self.state = State.OPENING
        self.slot.open(tunnel, self.edge.start_proxy(tunnel, self.conn_id, self.address))

    def _opened(self, fault: Fault | None) -> None:
        port, tunnel, request = self.slot.port, self.slot.tunnel, self.request
        assert request is not None
        if fault is not None:
            self._follow(decide_without(self, request, fault), request)
            return
        assert port is not None
        assert tunnel is not None
        self.opened = self.edge.reactor.now
        port.on_readable = self.down.pump
        port.on_writable = self.up.pump
        self._begin(tunnel, request)

    def _begin(self, tunnel: Tunnel, request: RequestHead) -> None:
        self.state = _EXCHANGE
        verdict = not self.slot.used and "verdict" in tunnel.session.caps
        self.down.expect(request, verdict=verdict)
        if request.expect_continue and not (tunnel.session.caps or self._retried):
            # A 1.7 agent freezes on interim answers, so the edge gives this one.
            self.down.say_continue()
            if self.state is not _EXCHANGE:
                return  # the visitor has left
        if request is not self._sent_for or tunnel is not self._sent_to:
            self._sent_head = self.edge.rewrite(tunnel, request, self.address[0], self.secure)
            self._sent_for, self._sent_to = request, tunnel
        if verdict or request.length:
            self._timer.set(VERDICT_SECONDS if verdict else STALL_SECONDS)
            self._patience.moved = 0
        reader = self._reader
        try:
            reader.rest = self.up.begin(self._sent_head, request, reader.rest)
        except HttpError as error:
            self.fail_request(error)
            return
        if not self.up.done:
            self.up.pump()
        elif not (reader.rest or self.port.settled()):
            self._read_ahead()

    # -- for the two halves
    @property
    def request_id(self) -> str:
        """Stands on error pages and in the logs: the connection's id and the number of the request on it."""
        return f"{self.conn_id}.{self._served + 1}"

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes of the exchange under way, or since an upgrade: up, down. Not in the tunnel's counters yet."""
        return self._relay.counts if self._relay is not None else (self.up.count, self.down.count)

    def edit_response(self, head: ResponseHead, added: bytes) -> bytes:
        """The head as the visitor gets it."""
        self.answered = self.edge.reactor.now
        return self.edge.edit_response(self.slot.tunnel, head, added)

    def request_done(self) -> None:
        """The request is with the stream. What was read behind it is the next one; the port is re-armed."""
        if not self._reader.rest and self.state is _EXCHANGE:
            self._read_ahead()
        if self.down.phase is Phase.DONE and self.state is _EXCHANGE:
            self.response_done()

    def response_done(self) -> None:
        """The answer is with the visitor. When its request is complete too, the exchange is over."""
        self.slot.used = True
        if self.down.close_after:  # said so: while draining every answer that begins does
            self._finish()
        elif self.up.finished:
            self._next_exchange()
        elif self.slot.port is None:
            self._finish()

    def _next_exchange(self) -> None:
        self._record()
        self._served += 1
        self.state = _HEAD
        head = self.down.head
        if self.slot.poisoned or (head is not None and not head.keep_alive):
            self.slot.close()
        if self._reader.rest:
            self._head_begun = True
            self._timer.set(HEAD_SECONDS)
            self.edge.reactor.soon(self._pipelined)
        elif self._reader.ended:
            self.close()
        else:
            self._timer.set(IDLE_SECONDS)

    def _pipelined(self) -> None:
        if self.state is _HEAD and self._reader.rest:
            self._next_head()

    def _finish(self) -> None:
        """Nothing more comes from us. A visitor that may still be sending gets a moment to read the answer."""
        self._record()
        if self.up.done:
            self.slot.close()
        else:
            self.slot.abort()
        self._leave()
        if self.up.done and not self._reader.rest:
            self.port.close()
        else:
            linger(self.edge.reactor, self.port)

    def _record(self) -> None:
        """The exchange is over: bytes to the tunnel's counters, the rest to the observer."""
        self._patience.moved = 0
        up, down = self.up, self.down
        self.slot.add_traffic(up.count, down.count)
        observer = self.edge.observer
        if observer is not None and self.request is not None:
            head = down.head
            observer(self, self.slot.counted, head.status if head is not None else 0)
        up.count = down.count = 0

    # -- the stream's end
    def stream_spoke_unasked(self) -> None:
        """Bytes when nothing was expected: nobody's answer. They are dropped with their stream."""
        self.slot.abort()
        if self.state is _EXCHANGE and not self.up.finished:
            self._finish()

    def stream_ended(self, failure: str | None) -> None:
        """The stream ended (None: cleanly) or broke. What that means depends on how far the answer is."""
        down = self.down
        lost = self.slot.port is not None and self.slot.port.carrier_gone
        self.slot.close()
        if self.state is _HEAD:
            return  # between exchanges: the next request opens a new one
        if down.phase is Phase.DONE:
            if not self.up.finished:
                self._finish()
        elif not down.begun:
            self._ended_before_answer(failure, lost)
        else:
            self._ended_within_answer(failure)

    def _ended_within_answer(self, failure: str | None) -> None:
        try:
            if failure is None:
                self.down.end_of_stream()
                return
        except HttpError as error:
            failure = error.message
        self.edge.refused(self, "upstream_broke", failure)
        self.abort()

    def _ended_before_answer(self, failure: str | None, lost: bool) -> None:
        request, tunnel = self.request, self.slot.tunnel
        assert request is not None
        assert tunnel is not None
        # RFC 9112, 9.3.1: the service closed an idle connection while this request was on its way. Or a 1.7 agent got a
        # visitor for a tunnel whose NewTunnel it had not read yet: it closes that link without a byte.
        stale = self.slot.used or not tunnel.session.caps
        if stale and self.down.untouched and may_repeat(request) and not self._retried:
            self._retried = True
            self._follow(decide_again(self, request, tunnel), request)
        else:
            self.refuse("link_lost" if lost else "upstream_broke", failure or "the service closed without an answer")

    def upgrade(self, rest: bytes) -> None:
        """After 101 both sides own the connection; every byte passes as it is."""
        self._record()
        self.state = State.OVER
        self._timer.end()
        stream = self.slot.take()
        assert stream is not None
        self.port.unread(self._reader.rest)
        stream.unread(rest)
        self._relay = Upgraded(self.edge.reactor, self.port, stream, self._upgrade_ended, self.request)

    def _upgrade_ended(self, end: RelayEnd) -> None:
        self.slot.add_traffic(end.up, end.down)
        self.slot.uncount()
        self.edge.forget(self)

    # -- refusing and failing
    def refuse(self, code: str, detail: str = "", fields: bytes = b"") -> None:
        """Answer with the error page of `code` (`fields`: header lines of this one) and end the connection; the page says
        nothing that the request said."""
        self.edge.refused(self, code, detail)
        page = self.edge.page(self, code, fields)
        if self.state is _EXCHANGE:
            self.slot.abort()
            if self.down.begun:
                self.abort()
                return
        try:
            whole = self.port.write(page) == len(page)
        except PortBroken:
            whole = False
        if not whole:
            self.abort()
            return
        self.slot.close()
        self._leave()
        linger(self.edge.reactor, self.port)

    def fail_request(self, error: HttpError) -> None:
        """A fault within a streamed request body."""
        if self.down.phase is Phase.DONE:
            self._finish()
        else:
            self.refuse(error.code, error.message)

    def fail_visitor(self, reason: str) -> None:
        """The visitor is gone or broken."""
        self.edge.visitor_left(self, reason)
        self.abort()

    # -- time
    def _on_timer(self) -> None:
        if self.state is _EXCHANGE:
            self._check_progress()
        elif self.state is State.OPENING:
            self._timer.set(STALL_SECONDS)  # for the exchange
        elif self._reader.rest:
            self.refuse("request_timeout")
        else:
            self.close()

    def _check_progress(self) -> None:
        found = self._patience.look(self.up, self.down, self.edge.reactor.now, self.opened)
        if not isinstance(found, Enough):
            self._timer.set(found)
        elif found.code == "gone":
            self.fail_visitor(found.detail)
        elif found.code:
            self.refuse(found.code, found.detail)
        else:
            self._finish()

    # -- the end
    def close(self) -> None:
        """Orderly end between exchanges."""
        self.slot.close()
        self._leave()
        self.port.close()

    def abort(self) -> None:
        """End with a reset, at any time."""
        if self._relay is not None:
            self._relay.abort("the server ends")
            return
        self.slot.abort()
        self._leave()
        self.port.abort()

    def _leave(self) -> None:
        """This object's part is over; the port is closed by whoever called."""
        if self.state is not State.OVER:
            self.state = State.OVER
            self._timer.end()
            self.slot.add_traffic(self.up.count, self.down.count)  # of an exchange that was cut
            self.up.count = self.down.count = 0
            self.slot.uncount()
            self.port.on_readable = self.port.on_writable = ignore
            self.edge.forget(self)

    def untie(self) -> None:
        """After the end: let go of what holds this, so that nobody waits for the cycle collector, which looks rarely."""
        self._relay = None
        del self.up, self.down, self.slot

    def end_if_idle(self) -> None:
        """For the end of a drain: close when between exchanges, say goodbye to a WebSocket."""
        if self._relay is not None:
            self._relay.farewell()
        elif self.state is _HEAD and not self._reader.rest:
            self.close()

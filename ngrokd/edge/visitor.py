"""One visitor connection of the http or https edge: the exchange loop.

    head -> route -> admit -> head rewritten -> body up ... response head -> body down -> next head

Everything runs in callbacks of the reactor; nothing here waits. The request half is `upward`, the response half is
`downward`; this module joins them: it reads heads, decides, and owns the visitor's port and the stream to the agent.

Invariants (docs/architecture.md): every request is parsed, routed and authorised on its own; one parsed head decides all
three; a stream serves one visitor connection and is dropped when another tunnel's request comes; a bad head reaches no
agent. Whether what was sent so far can be mistaken for a complete answer decides between an error page, an orderly end
and a reset.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ngrokd.edge.downward import Downward, Phase
from ngrokd.edge.upward import Upward
from protocol.errors import Fault, HttpError
from protocol.head import RequestHead, ResponseHead, head_end, parse_request
from protocol.link.linger import linger
from protocol.link.port import Port, PortBroken, ignore
from protocol.link.relay import Relay, RelayEnd

if TYPE_CHECKING:
    from ngrokd.edge.http import HttpEdge
    from ngrokd.opener import Cancel
    from ngrokd.policy import Denial
    from ngrokd.tunnel import Tunnel

HEAD_SECONDS: Final = 10.0  # from the first byte of a head, or from accept, to its end; never re-armed by a trickle
IDLE_SECONDS: Final = 75.0  # a kept-alive connection between exchanges, nginx's figure
STALL_SECONDS: Final = 20.0  # how often progress is looked at while a body is under way
STALL_FLOOR: Final = 1024  # bytes that a visitor must send or take in that time while we wait for it alone
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110, 9.2.2 (TRACE is refused)


class State(enum.Enum):
    HEAD = "head"  # between exchanges, or within a request head
    OPENING = "opening"  # the request is parsed; its stream is not there yet
    EXCHANGE = "exchange"
    OVER = "over"  # upgraded, lingering or closed: the port belongs to somebody else


class VisitorConnection:
    """Serves `port` (attached; owned from here on) until it ends. `server_name` is the SNI of a TLS visitor, which every
    Host must agree with; None on the http edge."""

    __slots__ = (
        "_cancel_open",
        "_counted",
        "_down",
        "_edge",
        "_head_begun",
        "_in",
        "_poisoned",
        "_progress",
        "_relay",
        "_retried",
        "_seen",
        "_sent_head",
        "_served",
        "_stream_used",
        "_timer",
        "_up",
        "address",
        "conn_id",
        "port",
        "request",
        "server_name",
        "state",
        "stream",
        "tunnel",
    )

    def __init__(self, edge: HttpEdge, port: Port, address: tuple[str, int], server_name: str | None = None) -> None:
        self._edge = edge
        self.port = port
        self.address = address
        self.server_name = server_name
        self.conn_id = edge.next_conn_id()
        self.state = State.HEAD
        self.request: RequestHead | None = None
        self.tunnel: Tunnel | None = None  # the one that `stream` leads to
        self.stream: Port | None = None
        self._counted: Tunnel | None = None
        self._stream_used = False  # an answer came over it already: the service may have closed it meanwhile
        self._poisoned = False  # it said more than it was asked: not used again
        self._retried = False
        self._sent_head = b""
        self._served = 0
        self._in = b""  # read but not parsed: a partial head, or a pipelined request
        self._head_begun = False
        self._seen = 0  # bytes of `_in` that hold no end of a head: not searched again
        self._progress = 0
        self._cancel_open: Cancel | None = None
        self._relay: Relay | None = None
        self._up = Upward(self)
        self._down = Downward(self)
        self._timer = edge.reactor.timer(self._on_timer)

    def start(self) -> None:
        """Begin, within a turn; bytes that the port holds already are served at once."""
        self._timer.set(HEAD_SECONDS)
        self.port.on_readable = self._on_readable
        self.port.on_writable = self._down.pump
        self._on_readable()

    def __repr__(self) -> str:
        return f"<VisitorConnection {self.conn_id} {self.state.value} served={self._served}>"

    # -- the visitor's bytes
    def _on_readable(self) -> None:
        if self.state is State.EXCHANGE and not self._up.done:
            self._up.pump()
        elif self.state is State.HEAD or not self._in:
            self._read_ahead()

    def _read_ahead(self) -> None:
        """Read once. Between exchanges that is a head; within one it is how the visitor's end or reset is noticed, and a
        pipelined request waits in `_in` (more of it stays in the kernel)."""
        try:
            view = self.port.read()
        except PortBroken as error:
            self.fail_visitor(str(error))
            return
        if view is None:
            return
        if not view:
            self._visitor_ended()
            return
        self._in = self._in + bytes(view) if self._in else bytes(view)
        if self.state is State.HEAD:
            self._next_head()

    def _visitor_ended(self) -> None:
        if self.state is State.HEAD:
            self.close()
        elif self._up.done:
            # A half-closed visitor still wants its answer; the agent learns of it where that loses nothing.
            self._up.pass_end_on()

    def visitor_cut_short(self) -> None:
        """The visitor ended within a request body: the service must not take it for complete."""
        self._edge.refused(self, "body_cut_short")
        self.abort()

    def _next_head(self) -> None:
        data = self._in
        try:
            end = head_end(data, 0, self._seen)
            if end < 0:
                self._partial_head(len(data))
                return
            self._in = data[end:]
            self._seen = 0
            self._head_begun = False
            request = self.request = parse_request(data[:end])
        except HttpError as error:
            self.refuse(error.code, error.message)
            return
        self._retried = False
        self._decide(request)

    def _partial_head(self, seen: int) -> None:
        self._seen = seen
        if seen and not self._head_begun:
            self._head_begun = True
            if self._served:
                self._timer.set(HEAD_SECONDS)
        # The rest may be there already: an edge is not repeated.
        self._edge.reactor.soon(self._on_readable)

    # -- deciding
    def _decide(self, request: RequestHead) -> None:
        edge = self._edge
        tunnel = edge.registry.lookup(edge.scheme, request.host)
        if self.server_name is not None and self.server_name != request.host:
            self.refuse("misdirected")
            return
        if tunnel is None:
            self.refuse(edge.why_unknown(request.host))
            return
        policy = tunnel.policy
        if policy is not None and not policy.trivial:
            denial = policy.admit(self.address[0], request, edge.secure)
            if denial is not None:
                self._deny(denial)
                return
        if self.stream is not None and (self.tunnel is not tunnel or self._poisoned):
            self.drop_stream()
        if self.stream is None:
            self._open(tunnel)
        else:
            self._begin(tunnel, request)

    def _open(self, tunnel: Tunnel) -> None:
        self.state = State.OPENING
        self.tunnel = tunnel
        start = self._edge.start_proxy(tunnel, self.conn_id, self.address)
        self._cancel_open = None
        cancel = tunnel.session.opener.open(start, self._opened)
        if self.state is State.OPENING:
            self._cancel_open = cancel

    def _opened(self, outcome: Port | Fault) -> None:
        self._cancel_open = None
        tunnel, request = self.tunnel, self.request
        assert tunnel is not None
        assert request is not None
        if isinstance(outcome, Fault):
            self.tunnel = None
            self.refuse(outcome.code, outcome.message)
            return
        self.stream = outcome
        self._stream_used = self._poisoned = False
        outcome.on_readable = self._down.pump
        outcome.on_writable = self._up.pump
        self._count(tunnel)
        if self._retried:
            self._down.expect(request)
            self._down.attach("verdict" in tunnel.session.caps)
            self.state = State.EXCHANGE
            self._up.resend(self._sent_head)
        else:
            self._begin(tunnel, request)

    def _begin(self, tunnel: Tunnel, request: RequestHead) -> None:
        self.state = State.EXCHANGE
        self._down.expect(request)
        if not self._stream_used:
            self._down.attach("verdict" in tunnel.session.caps)
        if request.expect_continue and not tunnel.session.caps:
            # A 1.7 agent freezes on interim answers, so the edge gives this one.
            self._down.say_continue()
        head = self._sent_head = self._edge.rewrite(tunnel, request, self.address[0])
        if request.length:
            self._timer.set(STALL_SECONDS)
            self._progress = 0
        try:
            self._in = self._up.begin(head, request, self._in)
        except HttpError as error:
            self.fail_request(error)
            return
        if not self._up.done:
            self._up.pump()
        elif not self._in:
            self._read_ahead()

    def _count(self, tunnel: Tunnel) -> None:
        if self._counted is not tunnel:
            self._uncount()
            self._counted = tunnel
            tunnel.traffic.connections += 1
            tunnel.traffic.live += 1

    def _uncount(self) -> None:
        tunnel = self._counted
        if tunnel is not None:
            self._counted = None
            tunnel.traffic.live -= 1

    # -- for the two halves
    @property
    def request_id(self) -> str:
        """Stands on error pages and in the logs: the connection's id and the number of the request on it."""
        return f"{self.conn_id}.{self._served + 1}"

    @property
    def native(self) -> bool:
        return self.tunnel is not None and bool(self.tunnel.session.caps)

    @property
    def draining(self) -> bool:
        return self._edge.draining

    def reactor_soon(self, callback: Callable[[], None]) -> None:
        self._edge.reactor.soon(callback)

    def pump_down(self) -> None:
        self._down.pump()

    def edit_response(self, head: ResponseHead, added: bytes) -> bytes:
        """The head as the visitor gets it."""
        return self._edge.edit_response(self.tunnel, head, added)

    def request_done(self) -> None:
        """The request is with the stream. What was read behind it is the next one; the port is re-armed."""
        if not self._in and self.state is State.EXCHANGE:
            self._read_ahead()
        if self._down.phase is Phase.DONE and self.state is State.EXCHANGE:
            self.response_done()

    def response_done(self) -> None:
        """The answer is with the visitor. When its request is complete too, the exchange is over."""
        self._stream_used = True
        if self._down.close_after or self._edge.draining:
            self._finish()
        elif self._up.finished:
            self._next_exchange()
        elif self.stream is None:
            self._finish()

    def _next_exchange(self) -> None:
        self._record()
        self._served += 1
        self.state = State.HEAD
        head = self._down.head
        if self._poisoned or (head is not None and not head.keep_alive):
            self.drop_stream()
        if self._in:
            self._head_begun = True
            self._timer.set(HEAD_SECONDS)
            self._edge.reactor.soon(self._pipelined)
        else:
            self._timer.set(IDLE_SECONDS)

    def _pipelined(self) -> None:
        if self.state is State.HEAD and self._in:
            self._next_head()

    def _finish(self) -> None:
        """Nothing more comes from us. A visitor that may still be sending gets a moment to read the answer."""
        self._record()
        self.drop_stream()
        if self._up.done and not self._in:
            self.close()
        else:
            self._over()
            linger(self._edge.reactor, self.port)

    def _record(self) -> None:
        tunnel, head = self._counted, self._down.head
        if tunnel is not None:
            tunnel.traffic.up += self._up.take_count()
            tunnel.traffic.down += self._down.take_count()
        observer = self._edge.observer
        if observer is not None and self.request is not None:
            observer(self, tunnel, head.status if head is not None else 0)

    # -- the stream's end
    def drop_stream(self) -> None:
        """Let the stream go in an orderly way: between exchanges."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()
        self.tunnel = None

    def poison_stream(self) -> None:
        """It said more than it was asked (or is half dead): the exchange ends, the stream is not used again."""
        self._poisoned = True

    def stream_spoke_unasked(self) -> None:
        """Bytes when nothing was expected: nobody's answer. They are dropped with their stream."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.abort()
        if self.state is State.EXCHANGE and not self._up.finished:
            self._finish()

    def stream_ended(self, failure: str | None) -> None:
        """The stream ended (None: cleanly) or broke. What that means depends on how far the answer is."""
        down, stream, self.stream = self._down, self.stream, None
        if stream is not None:
            stream.close()
        if self.state is State.HEAD:
            return  # between exchanges: the next request opens a new one
        if down.phase is Phase.DONE:
            if not self._up.finished:
                self._finish()
            return
        if not down.begun:
            self._ended_before_answer(failure)
            return
        try:
            if failure is None:
                down.end_of_stream()
                return
        except HttpError as error:
            failure = error.message
        self._edge.refused(self, "upstream_broke", failure)
        self.abort()

    def _ended_before_answer(self, failure: str | None) -> None:
        request, tunnel = self.request, self.tunnel
        assert request is not None
        assert tunnel is not None
        retriable = self._stream_used and self._down.untouched and not request.length and request.method in IDEMPOTENT
        if retriable and not self._retried:
            # RFC 9112, 9.3.1: the service closed an idle connection while this request was on its way.
            self._retried = True
            self._open(tunnel)
        else:
            self.refuse("upstream_broke", failure or "the service closed the connection without an answer")

    def verdict(self, code: str, message: str) -> None:
        """The agent could not serve: it says why, the edge says it to the visitor."""
        self.refuse(code, message)

    def upgrade(self, rest: bytes) -> None:
        """After 101 both sides own the connection; every byte passes as it is."""
        stream = self.stream
        assert stream is not None
        self._record()
        self.stream = None
        self.state = State.OVER
        self._timer.clear()
        if self._in:
            self.port.unread(self._in)
        if rest:
            stream.unread(rest)
        self._relay = Relay(self._edge.reactor, self.port, stream, on_end=self._upgrade_ended)
        self._relay.start()

    def _upgrade_ended(self, end: RelayEnd) -> None:
        if self._counted is not None:
            self._counted.traffic.up += end.up
            self._counted.traffic.down += end.down
        self._uncount()
        self._edge.forget(self)

    # -- refusing and failing
    def refuse(self, code: str, detail: str = "") -> None:
        """Answer with the error page of `code` and end the connection; the page says nothing that the request said."""
        self._edge.refused(self, code, detail)
        self._answer_and_end(self._edge.page(self, code))

    def _deny(self, denial: Denial) -> None:
        self._edge.refused(self, denial.code, "")
        self._answer_and_end(self._edge.denial_page(self, denial))

    def _answer_and_end(self, page: bytes) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.abort() if self.state is State.EXCHANGE else stream.close()
        if self.state is State.EXCHANGE and self._down.begun:
            self.abort()
            return
        try:
            whole = self.port.write(page) == len(page)
        except PortBroken:
            whole = False
        if not whole:
            self.abort()
            return
        self._over()
        linger(self._edge.reactor, self.port)

    def fail_request(self, error: HttpError) -> None:
        """A fault within a streamed request body."""
        if self._down.phase is Phase.DONE:
            self._finish()
        else:
            self.refuse(error.code, error.message)

    def fail_response(self, reason: str) -> None:
        """The service broke HTTP. Nothing was sent: 502. Else a reset, so that nobody takes it for complete."""
        self.refuse("upstream_bad_response", reason)

    def fail_visitor(self, reason: str) -> None:
        """The visitor is gone or broken."""
        self._edge.visitor_left(self, reason)
        self.abort()

    # -- time
    def _on_timer(self) -> None:
        if self.state is State.HEAD:
            if self._head_begun or not self._served:
                self._head_late()
            else:
                self.close()
        elif self.state is State.EXCHANGE:
            self._check_progress()

    def _head_late(self) -> None:
        if self._in:
            self.refuse("request_timeout")
        else:
            self.close()

    def _check_progress(self) -> None:
        """A visitor that is waited for must move; an answer may take as long as it takes."""
        moved = self._up.count + self._down.count
        waits_for_visitor = self._down.blocked or not (self._up.done or self._up.blocked)
        if waits_for_visitor and moved - self._progress < STALL_FLOOR:
            self.refuse("request_timeout", "the visitor is too slow")
            return
        self._progress = moved
        self._timer.set(STALL_SECONDS)

    # -- the end
    def close(self) -> None:
        """Orderly end between exchanges."""
        self._let_go_of_stream()
        self._over()
        self.port.close()

    def abort(self) -> None:
        """End with a reset, at any time."""
        if self._relay is not None:
            self._relay.abort("the server ends")
            return
        self._let_go_of_stream()
        self._over()
        self.port.abort()

    def _let_go_of_stream(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close() if self.state is State.HEAD else stream.abort()

    def _over(self) -> None:
        if self.state is State.OVER:
            return
        self.state = State.OVER
        if self._cancel_open is not None:
            self._cancel_open()
            self._cancel_open = None
        self._timer.clear()
        self._uncount()
        self.port.on_readable = self.port.on_writable = ignore
        self._edge.forget(self)

    def end_if_idle(self) -> bool:
        """For a drain that has run out of grace, and for the reaper: close when between exchanges."""
        if self.state is State.HEAD and not self._in:
            self.close()
            return True
        return False

"""The response half of an exchange: from the stream to the visitor. The private service is not trusted: exactly one
response for a request, strictly framed, or the visitor gets an error page (nothing sent yet) or a reset (else)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from ngrokd.edge.old_page import OLD_PAGE, mend
from ngrokd.edge.reading import REMEMBERED_BYTES
from ngrokd.edge.verdict import take_verdict
from protocol.body import CHUNKED, NO_BODY
from protocol.errors import HttpError, WireError
from protocol.head import UNTIL_CLOSE, RequestHead, ResponseHead, head_end, parse_response
from protocol.link.port import PortBroken
from protocol.link.reactor import READS_PER_TURN, TURN_BYTES

if TYPE_CHECKING:
    from ngrokd.edge.visitor import VisitorConnection
    from ngrokd.tunnel import Tunnel
    from protocol.body import Body

INTERIM_CAP: Final = 32  # 1xx answers to one request; more is a flood
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE_LINE: Final = b"Connection: close\r\n"
KEEP_LINE: Final = b"Connection: keep-alive\r\n"  # what a 1.0 visitor waits for: without it the end is the end


class Phase(enum.Enum):
    VERDICT = "verdict"  # a new stream of a session with that capability: one frame comes first
    HEAD = "head"
    BODY = "body"
    DONE = "done"  # nothing is expected: a byte now poisons the stream


_AT_HEAD: Final = Phase.HEAD  # asked for with every read: see visitor
_BODY: Final = Phase.BODY


class Downward:
    """One per visitor connection, used again for each response."""

    __slots__ = (
        "_body",
        "_conn",
        "_interims",
        "_known",
        "_known_for",
        "_known_method",
        "_known_out",
        "_known_raw",
        "_known_size",
        "_out",
        "_partial",
        "_request",
        "_scanned",
        "begun",
        "close_after",
        "continued",
        "count",
        "head",
        "phase",
    )

    def __init__(self, conn: VisitorConnection) -> None:
        self._conn = conn
        self._request: RequestHead | None = None
        self._body: Body | None = None
        self._partial = b""  # an unfinished verdict or head
        self._out = b""  # what the visitor has not taken yet
        self._scanned = 0
        self._interims = 0
        self._known: ResponseHead | None = None  # the last head, and what the visitor was sent for it
        self._known_raw = self._known_method = self._known_out = b""
        self._known_for: Tunnel | None = None
        self._known_size = 0  # of that answer in all; 0: not known by its head
        self.phase = Phase.DONE
        self.head: ResponseHead | None = None
        self.begun = False
        """Bytes of the final answer are on their way: no error page can follow."""
        self.continued = False
        self.close_after = False
        self.count = 0
        """Bytes of this exchange so far."""

    def expect(self, request: RequestHead, *, verdict: bool) -> None:
        """The next request goes out; its answer is what comes next on the stream, after a verdict where one is due."""
        self._request = request
        self._body = self.head = None
        self._interims = 0
        self.begun = self.continued = self.close_after = False
        self._partial = b""
        self._scanned = 0
        self.phase = Phase.VERDICT if verdict else Phase.HEAD

    def say_continue(self) -> None:
        """Give the interim answer in place of an agent that can't."""
        self.continued = True
        self._send_or_keep(CONTINUE)

    @property
    def blocked(self) -> bool:
        """The visitor does not take what is there for it."""
        return bool(self._out) or self._scanned > 0

    @property
    def untouched(self) -> bool:
        """Not one byte of an answer has come."""
        return self.phase in (Phase.VERDICT, Phase.HEAD) and not self._partial and not self._interims

    def pump(self) -> None:
        """Move what can be moved: on a readable stream and on a visitor with room again."""
        conn = self._conn
        if self._out and not self._flush():
            return
        stream = conn.slot.port
        if stream is None:
            return
        limit = self.count + TURN_BYTES
        for _ in range(READS_PER_TURN):
            try:
                view = stream.read()
            except PortBroken as error:
                conn.stream_ended(str(error))
                return
            if view is None:
                return
            if not view:
                conn.stream_ended(None if stream.clean_end else "the link ended without a goodbye")
                return
            try:
                more = self._body_step(view) if self.phase is _BODY else self._head_step(bytes(view))
            except HttpError as error:
                conn.refuse("upstream_bad_response", error.message)
                return
            if not more or conn.slot.port is not stream or stream.settled():
                return
            if self.count >= limit:
                break
        conn.edge.reactor.later(self.pump)

    # -- towards the visitor
    def _send(self, data: bytes | memoryview) -> int:
        """Write; the count. A visitor that left ends the connection, and 0 is returned."""
        try:
            taken = self._conn.port.write(data)
        except PortBroken as error:
            self._conn.fail_visitor(str(error))
            return 0
        self.count += taken
        return taken

    def _send_or_keep(self, data: bytes) -> bool:
        taken = self._send(data)
        if taken == len(data):
            return True
        self._out = data[taken:]
        return False

    def _flush(self) -> bool:
        data, self._out = self._out, b""
        if not self._send_or_keep(data):
            return False
        if self.phase is Phase.BODY and self._body is not None and self._body.done and not self._scanned:
            self._finish()
        return True

    # -- verdicts and heads
    def _head_step(self, data: bytes) -> bool:
        if len(data) == self._known_size and self.phase is _AT_HEAD and self._repeats(data):
            return self._send_again(data)
        if self.phase is Phase.DONE:
            self._conn.stream_spoke_unasked()
            return False
        data = self._joined(data)
        if self.phase is Phase.VERDICT:
            after = self._verdict(data)
            if after is None:
                return self.phase is Phase.VERDICT and self._conn.slot.port is not None
            data = after
        while data and self.phase is Phase.HEAD:
            end = head_end(data)
            if end < 0:
                self._partial = data
                return True
            head = self._parse(data[:end])
            data = data[end:]
            if head.status == 101:
                return self._upgraded(head, data)
            if head.status >= 200:
                return self._answer(head, data)
            self._interim(head)
            stream = self._conn.slot.port
            if stream is None:
                return False  # the visitor left
            if self._out:
                stream.unread(data)  # the visitor is slow: what comes next waits where it is
                return False
        return self._conn.slot.port is not None

    def _joined(self, data: bytes) -> bytes:
        """With what was kept of an unfinished head; a 1.7 agent's own page as proper HTTP."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if data.startswith(OLD_PAGE) and not self._conn.slot.native:
            return mend(data)
        return data

    def _verdict(self, data: bytes) -> bytes | None:
        """The bytes behind the frame; None when there are none to look at (yet)."""
        try:
            found = take_verdict(data)
        except WireError as error:
            raise HttpError(502, "upstream_bad_response", f"the agent's verdict: {error.message}") from error
        if found is None:
            self._partial = data
            return None
        verdict, rest = found
        if verdict.code:
            self._conn.refuse(verdict.code, verdict.message)
            return None
        self.phase = Phase.HEAD
        return rest

    def _repeats(self, data: bytes) -> bool:
        """Whether `data` is a whole answer with the head of the last one, to a like request for the same tunnel."""
        request = self._request
        return (
            data.startswith(self._known_raw)
            and request is not None
            and request.method == self._known_method
            and request.keep_alive
            and request.minor == 1
            and not (request.expect_continue or self._partial or self._out or self._conn.edge.draining)
            and self._conn.slot.tunnel is self._known_for
            and bool(self._known_out)
        )

    def _send_again(self, data: bytes) -> bool:
        """What `_answer` comes to for such an answer: a fifth of ngrokd's time for a small exchange is saved."""
        conn = self._conn
        conn.answered = conn.edge.reactor.now
        self.head, self._body, self.begun, self.phase = self._known, NO_BODY, True, _BODY
        if self._send_or_keep(self._known_out + data[len(self._known_raw) :]):
            self._finish()
            return True
        return False

    def _parse(self, raw: bytes) -> ResponseHead:
        request = self._request
        assert request is not None
        if raw == self._known_raw and request.method == self._known_method:
            assert self._known is not None
            return (
                self._known
            )  # parsing is pure, see HeadReader; a service repeats itself for a second, until Date moves
        head = parse_response(raw, method=request.method, upgrade=request.upgrade)
        if head.status >= 200 and len(raw) <= REMEMBERED_BYTES:
            self._known, self._known_raw, self._known_method = head, raw, request.method
            self._known_out = b""
            self._known_size = len(raw) + head.length if head.length >= 0 else 0
        return head

    def _interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > INTERIM_CAP:
            raise HttpError(502, "upstream_bad_response", "too many interim answers")
        request = self._request
        assert request is not None
        if request.minor == 0:
            return  # RFC 9110, 15.2: never to a 1.0 visitor
        if head.status == 100:
            if self.continued or not request.expect_continue:
                return
            self.continued = True
        self._send_or_keep(head.forward(b""))

    def _upgraded(self, head: ResponseHead, rest: bytes) -> bool:
        if not self._conn.up.finished:
            # RFC 9110, 7.8. What still comes would be a body to one and raw bytes to another.
            raise HttpError(502, "upstream_bad_response", "a 101 before the request was complete")
        self.begun = True
        self.head = head
        if self._out or not self._send_or_keep(head.forward(b"")):
            self._conn.fail_visitor("does not read")
            return False
        self._conn.upgrade(rest)
        return False

    # -- the answer
    def _answer(self, head: ResponseHead, rest: bytes) -> bool:
        conn, request = self._conn, self._request
        assert request is not None
        if head.length == CHUNKED and request.minor == 0:
            # RFC 9112, 6.1. The service was told that it speaks to 1.0; the visitor could not read this.
            raise HttpError(502, "upstream_bad_response", "a chunked answer to HTTP/1.0")
        size = len(rest)
        # Most answers are small and come in one piece: nothing is left to scan then.
        body = self._body = NO_BODY if head.length == size else head.body()
        self.head = head
        self.close_after = (
            not request.keep_alive
            or head.length == UNTIL_CLOSE
            or conn.edge.draining
            # RFC 9110, 10.1.1: after a final answer without 100 nobody knows whether the body still comes
            or (request.expect_continue and not self.continued)
        )
        used = size if head.length == size else 0 if body.done else body.scan(rest, 0, size)
        out = self._outgoing(head)
        self.begun = True
        self.phase = Phase.BODY
        if used < size:
            conn.slot.poisoned = True
            rest = rest[:used]
        if not self._send_or_keep(out + rest):
            return False
        if body.done:
            self._finish()
        return True

    def _outgoing(self, head: ResponseHead) -> bytes:
        """The head as the visitor gets it."""
        if self.close_after:
            return self._conn.edit_response(head, CLOSE_LINE)
        if self._request is not None and not self._request.minor:
            return self._conn.edit_response(head, KEEP_LINE)
        tunnel = self._conn.slot.tunnel
        if head is not self._known:
            return self._conn.edit_response(head, b"")
        if not self._known_out or tunnel is not self._known_for:
            self._known_out, self._known_for = self._conn.edit_response(head, b""), tunnel
        self._conn.answered = self._conn.edge.reactor.now
        return self._known_out

    def _body_step(self, view: memoryview) -> bool:
        conn, body = self._conn, self._body
        stream = conn.slot.port
        assert body is not None
        assert stream is not None
        size, skip = len(view), self._scanned
        if skip >= size:
            end, ahead = size, skip - size
        else:
            end, ahead = (skip if body.done else body.scan(view, skip, size)), 0
        taken = self._send(view[:end])
        if conn.slot.port is not stream:
            return False  # the visitor left
        self._scanned = ahead + end - taken
        if taken < end:
            stream.unread(view[taken:])
            return False
        if body.done and not self._scanned:
            if end < size:
                conn.slot.poisoned = True
            self._finish()
        return True  # also when finished: reading to the end of what is there is what re-arms the port

    def _finish(self) -> None:
        self.phase = Phase.DONE
        self._conn.response_done()

    def end_of_stream(self) -> bool:
        """The stream ended cleanly: whether that completes the answer. Raises HttpError when it cuts it."""
        if self.phase is not Phase.BODY or self._body is None:
            return False
        self._body.eof()
        if self._out or self._scanned:
            return False
        self._finish()
        return True

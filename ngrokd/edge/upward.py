"""The request half of an exchange: a rewritten head and the body behind it, from the visitor to the stream.

A body stays where it was read: straight into the stream's own buffer where the stream lends room, else through the
reactor's scratch buffer. It is looked at only for where it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.errors import HttpError
from protocol.link.port import WOULD_BLOCK, PortBroken
from protocol.link.reactor import READS_PER_TURN, TURN_BYTES

if TYPE_CHECKING:
    from ngrokd.edge.visitor import VisitorConnection
    from protocol.body import Body
    from protocol.head import RequestHead
    from protocol.link.port import Port


class Upward:
    """One per visitor connection, used again for each request."""

    __slots__ = ("_body", "_conn", "_dead", "_end_owed", "_limit", "_pending", "_scanned", "blocked", "count", "done",
                 "holds_end")  # fmt: skip

    def __init__(self, conn: VisitorConnection) -> None:
        self._conn = conn
        self._body: Body | None = None
        self._pending = b""  # what the stream has not taken yet: a head with the start of its body
        self._scanned = 0  # bytes at the front of the visitor's port whose framing was checked already
        self._dead = False  # the stream takes no more; an early answer may still come
        self._end_owed = False
        self._limit = 0  # what `count` may reach while a chunked body is under way; 0: anything
        self.done = True
        self.holds_end = False
        """The visitor has ended its sending, and the agent is not to know yet."""
        self.blocked = False
        """The stream has no room: it is not the visitor who is slow."""
        self.count = 0
        """Bytes of this exchange so far."""

    def begin(self, head: bytes, request: RequestHead, rest: bytes) -> bytes:
        """Send `head` and what of `rest` (read behind the request's head) is its body. Returns what lies behind that:
        pipelined requests. Raises HttpError for bad framing; nothing of this request has left then."""
        self._dead = self._end_owed = self.blocked = self.holds_end = False
        self._scanned = self.count = 0
        self._pending = b""  # of a stream that died: the request is sent again
        self._body = None
        if request.length:
            body = self._body = request.body()
            limit = self._conn.edge.max_body
            self._limit = limit + len(head) if limit else 0
            end = body.scan(rest, 0, len(rest))
            head += rest[:end]
            rest = rest[end:]
            self.done = body.done
        else:
            self.done = True
        self._write(head)
        return rest

    def _write(self, data: bytes) -> None:
        stream = self._conn.slot.port
        assert stream is not None
        try:
            taken = stream.write(data)
        except PortBroken:
            self._gone()
            return
        self.count += taken
        if taken < len(data):
            self._pending = data[taken:]
            self.blocked = True

    def _gone(self) -> None:
        """The stream broke while writing. The answer, if there is one, is read first; reading tells how it ended."""
        self._dead = True
        self._pending = b""
        self._conn.edge.reactor.soon(self._conn.down.pump)

    @property
    def finished(self) -> bool:
        """The whole request was handed to the stream."""
        return self.done and not self._pending

    def pump(self) -> None:
        """Move what can be moved: on a readable visitor and on a stream with room again."""
        conn = self._conn
        stream = conn.slot.port
        if stream is None or self._dead:
            return
        if self._pending and not self._flush():
            return
        self.blocked = False
        if self.done:
            self._complete()
            return
        move = self._move_reserved if stream.reserves else self._move
        limit = self.count + TURN_BYTES
        try:
            for _ in range(READS_PER_TURN):
                if not move(stream):
                    return
                if self.count >= limit:
                    break
        except HttpError as error:
            conn.fail_request(error)
            return
        except PortBroken as error:
            conn.fail_visitor(str(error))
            return
        conn.edge.reactor.later(self.pump)

    def _flush(self) -> bool:
        data, self._pending = self._pending, b""
        self._write(data)
        return not self._pending and not self._dead

    def _complete(self) -> None:
        conn = self._conn
        if conn.down.begun:
            # The service answered before it had the whole body: it might take the rest for a request (RFC 9112, 9.3).
            conn.slot.poisoned = True
        if self._end_owed:
            self.pass_end_on()
        conn.request_done()

    def pass_end_on(self) -> None:
        """The visitor ended its sending behind a complete request: native agents hear of it at once, so a service that
        watches for it sees what it would see directly. A 1.7 agent would drop the answer, so there it is held."""
        conn = self._conn
        self.holds_end = not conn.slot.native
        if self._pending:
            self._end_owed = True
        elif conn.slot.port is not None and conn.slot.native and not self._dead:
            try:
                conn.slot.port.end_writing()
            except PortBroken:
                self._gone()

    # -- one step; whether there may be more
    def _move(self, stream: Port) -> bool:
        conn = self._conn
        view = conn.port.read()
        if view is None:
            return False
        if not view:
            conn.visitor_cut_short()
            return False
        size = len(view)
        end = self._scan(view, size)
        try:
            taken = stream.write(view[:end])
        except PortBroken:
            self._gone()
            return False
        self.count += taken
        if taken < end or end < size:
            conn.port.unread(view[taken:])
            self._scanned = end - taken
        if taken < end:
            self.blocked = True
            return False
        return self._after_step()

    def _move_reserved(self, stream: Port) -> bool:
        conn = self._conn
        try:
            room = stream.reserve()
        except PortBroken:
            self._gone()
            return False
        if room is None:
            self.blocked = True
            return False
        self.blocked = False
        count = end = 0
        try:
            count = conn.port.read_into(room)
            if count > 0:
                end = self._scan(room, count)
                if end < count:
                    conn.port.unread(room[end:count])
        finally:
            stream.commit(end)
        if count == WOULD_BLOCK:
            return False
        if count == 0:
            conn.visitor_cut_short()
            return False
        self.count += end
        return self._after_step()

    def _scan(self, view: memoryview, size: int) -> int:
        body, skip = self._body, self._scanned
        assert body is not None
        self._scanned = 0
        if skip >= size:
            self._scanned = skip - size
            return size
        return skip if body.done else body.scan(view, skip, size)

    def _after_step(self) -> bool:
        body = self._body
        assert body is not None
        if self._limit and self.count > self._limit:
            raise HttpError(413, "body_too_large", "the body is over -maxBody")
        if body.done and not self._scanned:
            self.done = True
            self._complete()
            return False
        return not self._conn.port.settled()

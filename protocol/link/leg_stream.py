"""A stream of a leg as a port. Born attached: its reactor is the leg's.

Sending: `reserve` lends a slice of the leg's batch buffer, `commit` puts the header in front of it; `write` copies into it.
The first frame carries the SYN, so opening costs no round trip. Receiving: payload is lent where it was decrypted, while
`on_readable` runs; only what the owner leaves is copied to this stream's queue, whose cap is the stream's window. Credit
goes back for bytes that were read and not given back, in quarters of the window.

An idle stream has no buffers: about 0.5 KiB in all.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from protocol.link.leg_face import FacedPort
from protocol.link.port import WOULD_BLOCK, Buffer, PortBroken, ignore
from protocol.mux import FIRST_WINDOW, GONE, HERE_ENDED, SYN, THERE_ENDED
from protocol.mux.budget import JUDGE_SECONDS, wanted_window

if TYPE_CHECKING:
    from protocol.link.leg import Leg
    from protocol.link.reactor import Reactor

CHUNK_BYTES: Final = (
    64 * 1024
)  # small parts are queued together up to this: many tiny frames must not cost many objects
SHARE: Final = 32 * 1024  # what a stream whose reads are small may put into one batch without queueing for it
BULK: Final = 16 * 1024  # one TLS record: a commit of that size makes a stream bulk, a smaller one makes it small again
MOST: Final = 1 << 30  # as much as share, window and batch allow

_EMPTY: Final = memoryview(b"")


class StreamPort(FacedPort):
    """One stream. Made by `Leg.open` and, for the peer's, by the leg. See the module's docstring."""

    __slots__ = (
        "_batch", "_consumed", "_credit_at", "_end_read", "_error", "_lent", "_measured",
        "_measured_since", "_out",
        "_queue", "_share", "_starved", "_told", "bulk", "id", "leg", "owes", "queued", "recv_window", "send_window",
        "state", "stuck_since", "waiting", "window",
    )  # fmt: skip

    reserves = True

    def __init__(self, leg: Leg, stream_id: int, owes: int) -> None:
        self.on_readable = self.on_writable = ignore
        self.leg = leg
        self._out = leg.out
        # what the machine knows of it
        self.id = stream_id
        self.state = 0
        self.owes = owes
        self.send_window = self.recv_window = self.window = FIRST_WINDOW
        # sending
        self._batch = -1  # the batch that `_share` is for
        self._share = 0
        self.bulk = False
        self.waiting = False  # in the sender's queue
        self._starved = False  # refused for want of window
        # receiving
        self._lent: memoryview | None = None
        self._queue: deque[bytes | bytearray | memoryview] | None = None
        self.queued = 0
        self.stuck_since = 0.0
        self._told = False  # on_readable was called and the owner has not yet read until None
        self._consumed = 0
        self._credit_at = FIRST_WINDOW // 4
        self._measured = 0  # bytes read since then
        self._measured_since = leg.reactor.now
        # the end
        self._end_read = False
        self._error: str | None = None
        self.closed = False
        self._face = None

    # -- reading
    def read(self) -> memoryview | None:
        view = self._lent
        if view is not None:
            self._lent = None
        elif self._queue is not None:
            view = self._from_queue()
        else:
            return self._nothing()
        consumed = self._consumed = self._consumed + len(view)
        if consumed >= self._credit_at:
            self._owe_credit()
        return view

    def settled(self) -> bool:
        if self._lent is None and self._queue is None and not self.state & (THERE_ENDED | GONE) and self._error is None:
            self._told = False
            return True
        return False

    def read_into(self, room: memoryview) -> int:
        view = self.read()
        if view is None:
            return WOULD_BLOCK
        count = len(view)
        if count > len(room):
            count = len(room)
            room[:] = view[:count]
            self.unread(view[count:])
        else:
            room[:count] = view
        return count

    def unread(self, rest: Buffer) -> None:
        count = len(rest)
        if not count or self.closed or self._error is not None:
            return
        self._consumed -= count
        self._told = True
        kept = rest if isinstance(rest, memoryview) and isinstance(rest.obj, bytes) else bytes(rest)
        if self._queue is None:
            self._queue = deque()
        self._queue.appendleft(kept)
        self._hold(self.queued + count)

    def _nothing(self) -> memoryview | None:
        """No bytes: the end of file, the error, or not yet."""
        if self.closed:
            raise PortBroken("the stream is closed")
        if self._end_read:
            return _EMPTY
        if self._error is not None:
            raise PortBroken(self._error)
        if self.state & THERE_ENDED:
            self._end_read = True
            return _EMPTY
        self._told = False
        return None

    def _from_queue(self) -> memoryview:
        queue = self._queue
        assert queue is not None
        chunk = queue.popleft()
        if not queue:
            self._queue = None
        self.stuck_since = self.leg.reactor.now
        self._hold(self.queued - len(chunk))
        return chunk if isinstance(chunk, memoryview) else memoryview(chunk)

    def _hold(self, count: int) -> None:
        if not self.queued:
            self.stuck_since = self.leg.reactor.now
        self.leg.shared.queues.change(self, count, self.leg.reactor.now)

    def _owe_credit(self) -> None:
        sender = self.leg.sender
        sender.credits.add(self)
        if not sender.scheduled:
            sender.schedule()

    # -- what the machine calls
    def deliver(self, part: memoryview) -> None:
        if self._told:
            self._keep(part)
            return
        self._lent = part
        self._told = True
        try:
            self.on_readable()
        except Exception as error:  # noqa: BLE001 - a defect of one owner must not leave the parser between two frames
            self.leg.reactor.crashed(self.on_readable, error)
            self.leg.machine.reset(self)
            self.leg.sender.schedule()
        if self._lent is not None:
            self._lent = None
            self._keep(part)

    def _keep(self, part: memoryview) -> None:
        """The owner is elsewhere: copy."""
        if self.state & GONE:
            return
        if self.closed:
            self.leg.machine.reset(self)  # nobody will read it; the peer had better know
            self.leg.sender.schedule()
            return
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        count = len(part)
        if count >= BULK:
            queue.append(bytes(part))
        else:
            last = queue[-1] if queue else None
            if isinstance(last, bytearray) and len(last) + count <= CHUNK_BYTES:
                last += part
            else:
                queue.append(bytearray(part))
        self._hold(self.queued + count)

    def window_opened(self) -> None:
        if self._starved:
            self._starved = False
            self.leg.sender.enqueue(self)

    def ended(self) -> None:
        if not self._told:
            self._told = True
            self.on_readable()

    def broke(self, reason: str) -> None:
        """Reset by the peer, or the leg is gone (then an answer that came whole can still be read)."""
        if self._error is None:
            self._error = reason
        if self.state & THERE_ENDED and self.leg.over:
            self._end_read = True
        else:
            self._drop_queue()
        if not self.closed:
            self._told = True
            self.on_readable()
            self.on_writable()

    def forgotten(self) -> None:
        if self.window != FIRST_WINDOW:
            self.leg.growth.give_back(self.window - FIRST_WINDOW)
            self.window = FIRST_WINDOW

    def pay(self, now: float) -> None:
        """Send the window update that is due, larger by the window's growth."""
        count = self._consumed
        if count < self._credit_at or self.state & (GONE | THERE_ENDED):
            return
        self._consumed = 0
        self._measured += count
        if self.leg.rtt is not None:
            count += self._grow(now, self.leg.rtt)
        self.leg.machine.credit(self, count)

    def _grow(self, now: float, rtt: float) -> int:
        """By how much the window grows now."""
        seconds = now - self._measured_since
        if seconds < max(rtt, JUDGE_SECONDS):
            return 0
        leg = self.leg
        window = wanted_window(self.window, self._measured, seconds, rtt, leg.shared.window_cap)
        self._measured = 0
        self._measured_since = now
        more = window - self.window
        if not more or not leg.growth.take(more):
            return 0
        self.window = window
        self._credit_at = window >> 2
        return more

    def overrun(self) -> None:
        """The server's budget for queued bytes is spent, and this stream has been stuck longest with the most."""
        leg = self.leg
        leg.machine.reset(self)
        leg.sender.schedule()
        self._drop_queue()
        if self._error is None:
            self._error = "nobody read what came: over the budget for queued bytes"
        leg.reactor.soon(self._tell_broken)

    def _tell_broken(self) -> None:
        if not self.closed:
            self.on_readable()
            self.on_writable()

    def _drop_queue(self) -> None:
        self._lent = self._queue = None
        if self.queued:
            self.leg.shared.queues.change(self, 0, self.leg.reactor.now)

    # -- writing
    def reserve(self) -> memoryview | None:
        return self._lend(MOST)

    def _lend(self, most: int) -> memoryview | None:
        """Room for up to `most` bytes, within the share, the window and the batch."""
        out = self._out
        if self._batch != out.number:
            self._batch = out.number
            self._share = 0 if self.bulk else SHARE
        if most > self._share:
            most = self._share
        if most > self.send_window:
            most = self.send_window
        if most > 0 and not self.state & (HERE_ENDED | GONE):
            room = out.lend(most)
            if room is not None:
                return room
            if not out.shut and not self.bulk:  # the batch is full of small ones: let it go and begin the next
                self.leg.sender.push()
                if not self.state & GONE and (room := out.lend(most)) is not None:
                    return room
        self._refused()
        return None

    def _refused(self) -> None:
        """Say why nothing is lent, or see to it that `on_writable` follows."""
        if self.state & (HERE_ENDED | GONE):
            raise PortBroken(self._error or ("the stream is closed" if self.closed else "write after the end"))
        if self.send_window <= 0:
            self._starved = True
        else:
            self.leg.sender.enqueue(self)

    def commit(self, count: int) -> None:
        if self.state & GONE:
            count = 0  # ended while its owner was reading into the room
        self._out.commit(self.id, self.owes, count)
        if count:
            self.owes = 0
            self.send_window -= count
            self._share -= count
            self.bulk = count >= BULK
            sender = self.leg.sender
            if not sender.scheduled:
                sender.schedule()

    def write(self, data: Buffer) -> int:
        total = len(data)
        taken = 0
        while taken < total:
            room = self._lend(total - taken)
            if room is None:
                break
            count = len(room)
            room[:] = data if count == total else memoryview(data)[taken : taken + count]
            self.commit(count)
            taken += count
        return taken

    def grant(self, share: int) -> None:
        """For the sender: `share` bytes of the batch that is open now."""
        self._batch = self._out.number
        self._share = share

    def end_writing(self) -> None:
        if self._error is not None:
            raise PortBroken(self._error)
        self.leg.machine.finish(self)
        self.leg.sender.schedule()

    @property
    def carrier_gone(self) -> bool:
        return self.leg.over

    # -- the end
    def close(self) -> None:
        """What was taken is still delivered, then the end. What the peer sends from now on is answered by a reset."""
        if self.closed:
            return
        self._let_go()
        self.stuck_since = self.leg.reactor.now
        if not self.state & GONE:
            if self.owes == SYN:  # the peer never heard of it
                self.leg.machine.reset(self)
            else:
                self.leg.machine.finish(self)
                self.leg.sender.schedule()

    def abort(self) -> None:
        if not self.closed:
            self._let_go()
        if not self.state & GONE:
            self.leg.machine.reset(self)
            self.leg.sender.schedule()

    def _let_go(self) -> None:
        self.closed = self._told = True
        self.on_readable = self.on_writable = ignore
        self._drop_queue()
        self.wake_tasks()

    # -- for the async face
    @property
    def reactor(self) -> Reactor:
        return self.leg.reactor

    def has_news(self) -> bool:
        return self._queue is not None or self._error is not None or bool(self.state & THERE_ENDED)

    def announce(self) -> None:
        self._told = True
        self.reactor.soon(self._announce)

    def wants_room(self) -> bool:
        blocked = self.waiting or self._starved or self.send_window <= 0 or self._out.writing
        if not blocked or self.closed or self.state & (HERE_ENDED | GONE):
            return False
        self._refused()
        return True

    @property
    def peer(self) -> tuple[str, int] | None:
        """None: a stream's other end is a program behind the leg; the visitor's address is in StartProxy."""
        return None

    def __repr__(self) -> str:
        words = [name for bit, name in ((HERE_ENDED, "ended here"), (THERE_ENDED, "ended there"), (GONE, "gone"))
                 if self.state & bit]  # fmt: skip
        return f"<StreamPort {self.id} {', '.join(words) or 'open'} queued={self.queued} window={self.window}>"

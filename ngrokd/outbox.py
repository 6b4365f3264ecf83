"""What waits to be sent on a control link: a bounded queue that anybody may fill and one task empties.

It is the session's ControlHandle. Putting a message in never waits and never fails for the caller; a link that does not
keep up is ended, since a peer that does not read control messages is of no use.
"""

from __future__ import annotations

from collections import deque

import trio

from protocol.errors import LinkError
from protocol.link.framed import FramedLink
from protocol.messages import Message
from protocol.session import ControlOrder

LIMIT = 2_000  # messages; a burst of a thousand new visitors asks for as many links at once
SEND_TIMEOUT = 10.0  # seconds for one message, as in 1.7


class Outbox:
    """Sends in order on `link`. `order` is told of each message and keeps what the agent does not understand away."""

    def __init__(self, link: FramedLink, order: ControlOrder) -> None:
        self._link = link
        self._order = order
        self._queue: deque[Message] = deque()
        self._changed = trio.Event()
        self.reason: str | None = None
        """Why the link is to be ended; None while it lives."""

    def __len__(self) -> int:
        return len(self._queue)

    def send(self, message: Message) -> None:
        """Queue `message`. Dropped when the link is ending, or when the agent did not agree to such messages."""
        if self.reason is not None or not self._order.may_send(type(message)):
            return
        if len(self._queue) >= LIMIT:
            self._queue.clear()
            self.end("the agent does not read its control link")
            return
        self._order.sent(message)
        self._queue.append(message)
        self._changed.set()

    def end(self, reason: str) -> None:
        """Nothing more is queued; `run` returns when what is queued has gone out. The first reason stays."""
        if self.reason is None:
            self.reason = reason
        self._changed.set()

    async def run(self) -> str:
        """Send until the end, and give its reason. Raises LinkError when the link is lost or stuck."""
        while True:
            while self._queue:
                message = self._queue.popleft()
                with trio.move_on_after(SEND_TIMEOUT) as scope:
                    await self._link.send(message)
                if scope.cancelled_caught:
                    raise LinkError("link_stuck", f"a {type(message).__name__} could not be sent in {SEND_TIMEOUT:g} s")
            if self.reason is not None:
                return self.reason
            self._changed = trio.Event()
            await self._changed.wait()

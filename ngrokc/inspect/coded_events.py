"""Server-sent events of a compressed answer: bytes wait here until a worker thread has undone the coding and read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ngrokc.inspect.backroom import Offload
from ngrokc.inspect.heads import Unreadable
from ngrokc.inspect.sse import EventReader, ServerEvent
from ngrokc.inspect.unpack import Unpacker

WAITING: Final = 256 * 1024  # bytes of one stream that may wait for the thread

Found = list[tuple[float, ServerEvent]]


class CodedEvents:
    """`feed` never waits. `tell` gets what was found, in the loop's thread, and why no more will be ("" while it will)."""

    def __init__(self, codings: list[bytes], cap: int, offload: Offload, tell: Callable[[Found, str], None]) -> None:
        """Raises Unreadable for codings that nobody knows."""
        self._unpacker = Unpacker(codings)
        self._events = EventReader(cap)
        self._offload = offload
        self._tell = tell
        self._waiting: list[tuple[float, bytes]] = []
        self._size = 0
        self._busy = False

    def feed(self, at: float, data: bytes) -> None:
        """The next bytes of the body. Raises Unreadable when the thread does not keep up."""
        if self._size + len(data) > WAITING:
            raise Unreadable("they came faster than they could be inflated")
        self._waiting.append((at, data))
        self._size += len(data)
        if not self._busy:
            self._start()

    def _start(self) -> None:
        """Hand over all that waits."""
        pieces, self._waiting, self._size = self._waiting, [], 0
        self._busy = True
        found: Found = []
        why = ""

        def work() -> None:
            nonlocal why
            try:
                for at, data in pieces:
                    found.extend((at, event) for event in self._events.feed(self._unpacker.feed(data)))
            except Unreadable as error:
                why = str(error)

        def then() -> None:
            self._busy = False
            self._tell(found, why)
            if self._waiting and not why:
                self._start()

        self._offload(work, then)

"""A small, tolerant HTTP/1.1 reader for tests: what really stood on the wire, in order and case, with nothing tidied up.

Used by both ends of a test (the visitor and the private service), so it must not share code with the programs.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

READ = 256 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request or an answer as it was received."""

    raw: bytes
    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def words(self) -> list[bytes]:
        """The start line: method, target, version; or version, status, reason."""
        return self.start.split(b" ", 2)

    @property
    def status(self) -> int:
        return int(self.words[1])

    @property
    def method(self) -> bytes:
        return self.words[0]

    @property
    def target(self) -> bytes:
        return self.words[1]

    def get(self, name: bytes) -> bytes | None:
        """The first field of that name, whatever its case."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def chunked(self) -> bool:
        return (self.get(b"transfer-encoding") or b"").lower() == b"chunked"

    @property
    def keep_alive(self) -> bool:
        option = (self.get(b"connection") or b"").lower()
        version = self.words[2] if not self.start.startswith(b"HTTP/") else self.words[0]
        return option != b"close" and (version == b"HTTP/1.1" or option == b"keep-alive")


def parse_head(raw: bytes) -> Head:
    """`raw` without its closing empty line."""
    lines = raw.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines[1:])
    return Head(raw, lines[0], tuple((name, value.strip()) for name, _, value in pairs))


@dataclass(slots=True)
class Answer:
    """A whole answer. `interim` are the 1xx heads before it."""

    head: Head
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]
    interim: list[Head]

    @property
    def status(self) -> int:
        return self.head.status


class Truncated(Exception):
    """The stream ended where more was promised."""


class Wire:
    """Buffered reading of heads and bodies over a trio stream. Owns nothing: whoever opened the stream closes it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.buffer = bytearray()
        self.received = 0
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()

    async def more(self) -> bool:
        """Read once; False at the end of file."""
        data = await self.stream.receive_some(READ)
        self.buffer += data
        self.received += len(data)
        return bool(data)

    async def until(self, mark: bytes) -> bytes | None:
        """What stands before `mark`, which is consumed. None when the stream ends before the first byte."""
        while (end := self.buffer.find(mark)) < 0:
            if not await self.more():
                if self.buffer:
                    raise Truncated(f"no {mark!r} after {bytes(self.buffer[:200])!r}")
                return None
        found = bytes(self.buffer[:end])
        del self.buffer[: end + len(mark)]
        return found

    async def exactly(self, count: int) -> bytes:
        return b"".join([part async for part in Body(self, count)])

    async def head(self) -> Head | None:
        """The next head; None at a clean end of file."""
        raw = await self.until(b"\r\n\r\n")
        return None if raw is None else parse_head(raw)

    def rest(self) -> Body:
        """Everything until the end of file."""
        return Body(self, None)

    def body(self, head: Head, *, method: bytes = b"GET") -> Body:
        """The body that belongs to `head`; `method` is the request's when `head` is an answer's."""
        self.trailers = ()
        answer = head.start.startswith(b"HTTP/")
        if answer and (method == b"HEAD" or head.status in (204, 304) or head.status < 200):
            return Body(self, 0)
        if head.chunked:
            return Body(self, 0, chunked=True)
        length = head.get(b"content-length")
        if length is not None or not answer:
            return Body(self, int(length or 0))
        return self.rest()

    async def answer(self, *, method: bytes = b"GET") -> Answer:
        """The next whole answer. Raises Truncated when the stream ends before or within it."""
        interim: list[Head] = []
        while True:
            head = await self.head()
            if head is None:
                raise Truncated("no answer")
            if head.status >= 200 or head.status == 101:
                break
            interim.append(head)
        body = b"".join([part async for part in self.body(head, method=method)])
        return Answer(head, body, self.trailers, interim)


class Body:
    """The parts of a body as they come, by `async for`. No generator, so a test may stop half-way without ado.

    `left` is what the length, or the current chunk, still promises; None: until the end of file.
    """

    def __init__(self, wire: Wire, left: int | None, *, chunked: bool = False) -> None:
        self._wire = wire
        self._left = left
        self._chunked = chunked
        self._first = True

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        wire = self._wire
        if self._chunked and not self._left:
            await self._next_chunk()
        if self._left == 0:
            raise StopAsyncIteration
        if not wire.buffer and not await wire.more():
            if self._left is None:
                raise StopAsyncIteration
            raise Truncated(f"{self._left} bytes short")
        part = bytes(wire.buffer[: self._left])
        del wire.buffer[: len(part)]
        if self._left is not None:
            self._left -= len(part)
        return part

    async def _next_chunk(self) -> None:
        wire = self._wire
        if not self._first and await wire.until(b"\r\n") != b"":
            raise Truncated("no line end after a chunk")
        self._first = False
        line = await wire.until(b"\r\n")
        if line is None:
            raise Truncated("no chunk size")
        self._left = int(line.partition(b";")[0], 16)
        if self._left:
            return
        self._chunked = False
        trailers = []
        while line := await wire.until(b"\r\n"):
            name, _, value = line.partition(b":")
            trailers.append((name, value.strip()))
        wire.trailers = tuple(trailers)

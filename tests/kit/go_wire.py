"""How a Go program of 2014 reads and writes ngrok frames: the ground that the two classic peers stand on.

Written from ngrok-1.x.md with struct and json alone, on purpose without protocol/: an error in our codec must not be
repeated here. Faithful where it hurts: header and body leave as two TLS records, a body is read with one read that stops
at the end of a record, unknown types are fatal, and whoever ends one direction ends both.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio
import trustme

GO_TYPES: Mapping[str, Mapping[str, type]] = {
    "Auth": dict.fromkeys(("Version", "MmVersion", "User", "Password", "OS", "Arch", "ClientId"), str),
    "AuthResp": dict.fromkeys(("Version", "MmVersion", "ClientId", "Error"), str),
    "ReqTunnel": {
        **dict.fromkeys(("ReqId", "Protocol", "Hostname", "Subdomain", "HttpAuth"), str),
        "RemotePort": int,
    },
    "NewTunnel": dict.fromkeys(("ReqId", "Url", "Protocol", "Error"), str),
    "ReqProxy": {},
    "RegProxy": {"ClientId": str},
    "StartProxy": {"Url": str, "ClientAddr": str},
    "Ping": {},
    "Pong": {},
}
Payload = dict[str, object]
CLOSED = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


LARGEST_SLICE = 2**31  # more panics in Go, or ends the process


class GoError(Exception):
    """Where the Go program gets an error (or panics and recovers): the connection is closed by whoever catches it."""


@dataclass
class Tricks:
    """How a peer may write differently from Go, to see whether the other side minds. Defaults: exactly as Go."""

    one_record: bool = False  # header and body in one write, as our own programs do
    pieces: int = 0  # cut everything into records of this many bytes (new Go cuts long writes too)
    extra: Payload = field(default_factory=dict)  # more keys in every payload


class Journal:
    """What happened, in order, as (who, what, payload); tests wait for it instead of sleeping."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, Payload]] = []
        self._news = trio.Event()

    def add(self, who: str, what: str, payload: Payload | None = None) -> None:
        self.entries.append((who, what, payload or {}))
        self._news.set()
        self._news = trio.Event()

    def count(self, who: str, what: str) -> int:
        return sum(1 for entry in self.entries if entry[:2] == (who, what))

    def last(self, who: str, what: str) -> Payload:
        return [payload for found, name, payload in self.entries if (found, name) == (who, what)][-1]

    async def until(self, condition: Callable[[], bool], *, within: float = 10.0) -> None:
        """Return when the condition holds; it is asked after each entry."""
        with trio.fail_after(within):
            while not condition():
                await self._news.wait()

    async def seen(self, who: str, what: str, times: int = 1, *, within: float = 10.0) -> Payload:
        """The payload of the last such entry, once there are that many."""
        await self.until(lambda: self.count(who, what) >= times, within=within)
        return self.last(who, what)


class GoConn:
    """One TLS connection as Go's msg package uses it. Whoever makes it closes it."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], tricks: Tricks, journal: Journal) -> None:
        self.stream = stream
        self.tricks = tricks
        self.journal = journal
        self._writing = trio.Lock()

    async def send_msg(self, kind: str, payload: Payload, then: bytes = b"") -> None:
        """One message as Go writes it. `then` follows in the same record as the body."""
        zero = {key: of() for key, of in GO_TYPES.get(kind, {}).items()}
        message = {"Type": kind, "Payload": {**zero, **payload, **self.tricks.extra}}
        self.journal.add("sent", kind, dict(payload))
        await self.send_frame(json.dumps(message, separators=(",", ":")).encode(), then)

    async def send_frame(self, body: bytes, then: bytes = b"", *, length: int | None = None) -> None:
        """Any body in a frame, also one that is no message; `length` may lie."""
        header = struct.pack("<q", len(body) if length is None else length)
        records = [header + body + then] if self.tricks.one_record else [header, body + then]
        if self.tricks.pieces:
            whole, size = b"".join(records), self.tricks.pieces
            records = [whole[at : at + size] for at in range(0, len(whole), size)]
        async with self._writing:
            for record in records:
                if record:
                    await self.stream.send_all(record)

    async def read_msg(self, into: str = "") -> tuple[str, Payload]:
        """The next message. With `into` its type is not even looked at, as where Go waits for one certain struct."""
        (length,) = struct.unpack("<q", await self._read_full(8))
        if not 0 <= length <= LARGEST_SLICE:
            raise GoError("makeslice: len out of range")
        body = bytes(await self.stream.receive_some(length)) if length else b""
        if len(body) != length:
            raise GoError(f"expected {length} bytes, but read {len(body)}")
        kind, payload = go_unmarshal(body, into)
        self.journal.add("got", kind, payload)
        return kind, payload

    async def _read_full(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self.stream.receive_some(count - len(data))
            if not more:
                raise GoError("EOF" if not data else "unexpected EOF")
            data += more
        return data

    async def close(self) -> None:
        """At once, with close_notify when it can be written, without waiting for the peer's."""
        with trio.move_on_after(0.5) as scope:
            scope.shield = True
            with contextlib.suppress(*CLOSED):
                await self.stream.aclose()


def go_unmarshal(body: bytes, into: str) -> tuple[str, Payload]:
    """Type and payload with all of Go's fields. Raises GoError."""
    try:
        envelope = json.loads(body.decode())
        kind = into or envelope["Type"]
        payload = envelope["Payload"] or {}
        if kind not in GO_TYPES:
            raise GoError(f"unsupported message type {kind!r}")
        found: Payload = {}
        for key, of in GO_TYPES[kind].items():
            value = payload.get(key)
            found[key] = of() if value is None else value
            if type(found[key]) is not of or (of is int and not 0 <= payload.get(key, 0) <= 65535):
                raise GoError(f"cannot unmarshal {key}")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise GoError(f"bad message: {error!r}") from None
    # What Go would not see, for tests that look at the extras of our dialect.
    found.update({key: value for key, value in payload.items() if key not in found})
    return kind, found


def unverified_context() -> ssl.SSLContext:
    """A client's context as that of a 1.7 debug build of the head: any certificate will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(*names: str) -> ssl.SSLContext:
    """A server's context with a fresh certificate for these names (127.0.0.1 without any)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    return context


async def connect(address: tuple[str, int], context: ssl.SSLContext, tricks: Tricks, journal: Journal) -> GoConn:
    """Dial and shake hands. Raises OSError or BrokenResourceError."""
    plain = await trio.open_tcp_stream(*address)
    stream = trio.SSLStream(plain, context, server_hostname=address[0])
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return GoConn(stream, tricks, journal)


async def join(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Copy both ways. The end of either direction closes both connections: there is no half-close in 1.7."""

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some(32 * 1024):
                await sink.send_all(data)
        except CLOSED:
            pass
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, one, other)
            nursery.start_soon(copy, other, one)
    finally:
        for stream in (one, other):
            with trio.move_on_after(0.5) as scope:
                scope.shield = True
                with contextlib.suppress(*CLOSED):
                    await stream.aclose()

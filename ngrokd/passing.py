"""Passing visitors on to a successor: after a hot restart kept-alive connections are still the old process's, and the
tunnels that they ask for may be the new one's.

    predecessor                                       successor
    a request for a tunnel that is not here (any more)
    connect to `visitors.sock` in the state directory
    who the visitor is, as a length and JSON  ------>  same user only
    the head as it came, then all other bytes <----->  a visitor like any other, whose answer says `Connection: close`

So nobody sees a 404 or 503 because of a restart. Nothing is decided here: the successor parses, routes and authorises the
request by itself. It takes the predecessor's word for who asks, as both are the same user's.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from ngrokd.edge.state import State
from ngrokd.handover import HEADER, same_user
from protocol.link.plain import PlainPort
from protocol.link.port import PortBroken

if TYPE_CHECKING:
    from ngrokd.edge.http import HttpEdge
    from ngrokd.edge.visitor import VisitorConnection
    from protocol.head import RequestHead
    from protocol.link.logs import Log
    from protocol.link.reactor import Reactor

SOCKET: Final = "visitors.sock"
BACKLOG: Final = 1024
DESCRIPTION_CAP: Final = 4096  # bytes; a name asked for has 255 at most
DESCRIBED_WITHIN: Final = 5.0  # seconds; it is sent in one piece
PATIENCE: Final = 5.0  # seconds until a successor has to take visitors: it opens its state first
TRY_EVERY: Final = 0.05  # seconds

Edges = Callable[[str], "HttpEdge | None"]


class Passer:
    """The predecessor's end, for the edges: called with a visitor and its request when no tunnel is here for it. All of them
    are passed on; who can't be within PATIENCE is told that the tunnel's agent is away."""

    def __init__(self, reactor: Reactor, state: Path) -> None:
        self._reactor = reactor
        self._path = str(state / SOCKET)

    def __call__(self, visitor: VisitorConnection, request: RequestHead) -> bool:
        """True: the visitor is told to wait, and passed on after this turn."""
        start, until = _describe(visitor) + request.raw, self._reactor.now + PATIENCE
        self._reactor.soon(lambda: self._pass(visitor, start, until))
        return True

    def _pass(self, visitor: VisitorConnection, start: bytes, until: float) -> None:
        if visitor.state is not State.OPENING:
            return  # it has left
        port = self._connect(start)
        if port is not None:
            visitor.slot.close()  # of the exchange before this one
            visitor.slot.port = port
            visitor.request = None  # the exchange is the successor's, also in the logs
            visitor.upgrade(b"")
        elif self._reactor.now < until:
            self._reactor.timer(lambda: self._pass(visitor, start, until)).set(TRY_EVERY)
        else:
            visitor.refuse("agent_offline", "no successor takes the visitor")

    def _connect(self, start: bytes) -> PlainPort | None:
        """Never waits: a unix socket takes a connection at once or not at all. None: there is no successor yet, or it has
        too much to do."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(self._path)
            if sock.send(start) == len(start):
                port = PlainPort(sock)
                port.attach(self._reactor)
                return port
        except OSError:
            pass
        sock.close()
        return None


def _describe(visitor: VisitorConnection) -> bytes:
    proxy = visitor.proxy
    address = visitor.address if proxy is None else (proxy.host, proxy.port)  # what a proxy says stands in the head
    body = json.dumps({"scheme": visitor.edge.scheme, "address": address, "name": visitor.server_name}).encode()
    return HEADER.pack(len(body)) + body


async def serve_passed(
    path: Path,
    edges: Edges,
    log: Log,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The successor's end: take visitors from a predecessor, until cancelled. `edges` gives the edge of a scheme, whose
    visitors leave after their answer. What lies at `path` is replaced; without a socket there a line is logged."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        try:
            _bind(sock, path)
        except OSError as error:
            log.warning("visitors can't be passed on here", reason=error.strerror or str(error))
            task_status.started()
            return
        sock.setblocking(False)
        task_status.started()
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(sock)
                try:
                    nursery.start_soon(_take, sock.accept()[0], edges, log)
                except BlockingIOError:
                    pass  # it has gone
                except OSError:
                    await trio.sleep(TRY_EVERY)  # out of descriptors: who waits there waits a little longer


def _bind(sock: socket.socket, path: Path) -> None:
    path.unlink(missing_ok=True)
    sock.bind(str(path))
    path.chmod(0o600)
    sock.listen(BACKLOG)


async def _take(sock: socket.socket, edges: Edges, log: Log) -> None:
    """One visitor, from its description to its edge. A failure, ours too, ends this visitor alone."""
    sock.setblocking(False)
    taken = False
    try:
        if same_user(sock):
            with trio.move_on_after(DESCRIBED_WITHIN):
                taken = _serve(sock, await _read_description(sock), edges)
    except (OSError, ValueError, KeyError, TypeError, PortBroken):
        pass  # nobody of ours
    except Exception:
        log.exception("a visitor was lost to a defect of the server")
    finally:
        if not taken:
            sock.close()


def _serve(sock: socket.socket, told: dict[str, Any], edges: Edges) -> bool:
    """Whether the edge has taken the visitor."""
    edge = edges(str(told["scheme"]))
    host, number = told["address"]
    address, name = (str(host), int(number)), told["name"]
    if edge is None:
        return False
    source = edge.crowd.source(address[0])
    if edge.crowd.enter(source, sock.fileno()) is not None:
        return False
    port = PlainPort(sock)
    port.attach(edge.reactor)
    with edge.reactor.turn():
        edge.serve(port, address, None if name is None else str(name), source=source)
    return True


async def _read_description(sock: socket.socket) -> dict[str, Any]:
    (length,) = HEADER.unpack(await _exactly(sock, HEADER.size))
    if length > DESCRIPTION_CAP:
        raise ValueError("the description is too long")
    found = json.loads(await _exactly(sock, length))
    if not isinstance(found, dict):
        raise ValueError("not a description")
    return found


async def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        await trio.lowlevel.wait_readable(sock)
        try:
            data = sock.recv(count - len(found))
        except BlockingIOError:
            continue
        if not data:
            raise ValueError("the other side has gone")
        found += data
    return found

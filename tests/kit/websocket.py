"""WebSockets for tests, by wsproto: the service's echo and a client that runs over any trio stream.

The echo is /ws of tests.kit.upstream. permessage-deflate is accepted when it is offered, so compressed frames cross too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

if TYPE_CHECKING:
    from tests.kit.upstream import Exchange


Frame = TextMessage | BytesMessage


def _join(parts: list[str | bytes]) -> str | bytes:
    """The parts of one message, all text or all bytes."""
    if parts and isinstance(parts[0], str):
        return "".join(part for part in parts if isinstance(part, str))
    return b"".join(part for part in parts if not isinstance(part, str))


def _frame(message: str | bytes) -> Frame:
    return TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)


def _part(event: Frame) -> str | bytes:
    return event.data if isinstance(event, TextMessage) else bytes(event.data)


async def echo(exchange: Exchange) -> None:
    """Answer every message with itself until the other side closes."""
    exchange.close = True
    connection = WSConnection(ConnectionType.SERVER)
    wire = exchange.wire
    connection.receive_data(exchange.head.raw + b"\r\n\r\n" + bytes(wire.buffer))
    wire.buffer.clear()
    parts: list[str | bytes] = []
    while True:
        for event in connection.events():
            reply = _reply(event, parts)
            if reply is not None:
                await exchange.send(connection.send(reply))
            if isinstance(event, Request) and "greet" in exchange.query:
                await exchange.send(connection.send(TextMessage(data=exchange.query["greet"])))
            if isinstance(event, CloseConnection):
                return
        if not await wire.more():
            return
        connection.receive_data(bytes(wire.buffer))
        wire.buffer.clear()


def _reply(event: Event, parts: list[str | bytes]) -> Event | None:
    if isinstance(event, Request):
        offered = [name.partition(";")[0].strip() for name in event.extensions if isinstance(name, str)]
        return AcceptConnection(
            subprotocol=event.subprotocols[0] if event.subprotocols else None,
            extensions=[PerMessageDeflate()] if "permessage-deflate" in offered else [],
        )
    if isinstance(event, Frame):
        parts.append(_part(event))
        if not event.message_finished:
            return None
        whole = _frame(_join(parts))
        parts.clear()
        return whole
    if isinstance(event, Ping | CloseConnection):
        return event.response()
    return None


class WebSocketRefused(Exception):
    """The handshake was answered with another status, which `status` holds."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class WebSocketClient:
    """A visitor with a WebSocket over `stream`, which stays the caller's to close."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.connection = WSConnection(ConnectionType.CLIENT)
        self._deflate = PerMessageDeflate()

    async def open(self, host: str, target: str = "/ws", *, compress: bool = False, subprotocol: str = "") -> None:
        """The handshake. Raises WebSocketRefused."""
        request = Request(
            host=host,
            target=target,
            extensions=[self._deflate] if compress else [],
            subprotocols=[subprotocol] if subprotocol else [],
        )
        await self.stream.send_all(self.connection.send(request))
        while self.connection.state is ConnectionState.CONNECTING:
            await self._receive()
            for event in self.connection.events():
                if isinstance(event, RejectConnection):
                    raise WebSocketRefused(event.status_code)
                if isinstance(event, AcceptConnection):
                    return

    @property
    def compressed(self) -> bool:
        return self._deflate.enabled()

    async def send(self, message: str | bytes) -> None:
        await self.stream.send_all(self.connection.send(_frame(message)))

    async def receive(self) -> str | bytes:
        """The next whole message. Raises EOFError when the other side closed."""
        parts: list[str | bytes] = []
        while True:
            for event in self.connection.events():
                if isinstance(event, Frame):
                    parts.append(_part(event))
                    if event.message_finished:
                        return _join(parts)
                if isinstance(event, CloseConnection):
                    raise EOFError(event.reason)
            await self._receive()

    async def close(self) -> None:
        """The closing handshake, to its end."""
        await self.stream.send_all(self.connection.send(CloseConnection(code=1000)))
        while self.connection.state is not ConnectionState.CLOSED:
            await self._receive()
            for _ in self.connection.events():
                pass

    async def _receive(self) -> None:
        data = await self.stream.receive_some()
        if not data and self.connection.state is not ConnectionState.CLOSED:
            raise EOFError("the connection ended without a close frame")
        self.connection.receive_data(bytes(data))

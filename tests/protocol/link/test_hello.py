"""The hint in a ClientHello is seen, and looking at it takes nothing away."""

from __future__ import annotations

import ssl

import trio

from protocol.link.hello import LEG_PROTOCOL, announces_leg
from protocol.link.tls import TlsPort
from tests.kit.ports import SERVER_NAME, contexts, tcp_sockets


async def look(alpn: list[str]) -> bool:
    """What the server sees of a client with these protocols; the handshake must succeed after it."""
    _, server_context = contexts()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    near, far = tcp_sockets()
    near.setblocking(False)
    far.setblocking(False)
    client = TlsPort(near, context, server_name=SERVER_NAME)
    seen: list[bool] = []

    async def serve() -> None:
        seen.append(await announces_leg(far))
        server = TlsPort(far, server_context, server_side=True)
        await server.handshake()
        server.close()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(client.handshake)
    client.close()
    return seen[0]


async def test_a_leg_is_announced_and_others_are_not() -> None:
    assert await look([LEG_PROTOCOL])
    assert await look(["h2", LEG_PROTOCOL])
    assert not await look([])
    assert not await look(["http/1.1"])


async def test_a_socket_that_ended_or_failed_announces_nothing() -> None:
    near, far = tcp_sockets()
    far.setblocking(False)
    near.close()
    assert not await announces_leg(far)
    far.close()
    assert not await announces_leg(far)

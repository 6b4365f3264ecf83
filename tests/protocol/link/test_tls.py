"""What is particular to TLS ports; the common contract is in test_port."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trio.testing

from protocol.link.faults import TlsError
from protocol.link.plain import PlainPort
from protocol.link.port import PortBroken
from protocol.link.tls import LINGER_SECONDS, TlsPort
from tests.kit.ports import PAIRS, REACTORS, Collector, contexts, running, tcp_sockets

on_both = pytest.mark.parametrize("kind", list(REACTORS))


async def shake(client: TlsPort, server: TlsPort) -> list[str]:
    """Both handshakes; the reasons of those that failed."""
    reasons: list[str] = []

    async def one(port: TlsPort) -> None:
        try:
            await port.handshake()
        except TlsError as error:
            reasons.append(str(error))
            port.close()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, client)
            nursery.start_soon(one, server)
    return reasons


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions(version: ssl.TLSVersion) -> None:
    _, server_context = contexts()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    near, far = tcp_sockets()
    client, server = TlsPort(near, context), TlsPort(far, server_context, server_side=True)
    assert await shake(client, server) == []
    await client.stream().send_all(b"hello")
    assert await server.stream().receive_some() == b"hello"
    assert client.tls.version() == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
    client.close()
    server.close()


async def test_a_wrong_name_is_refused_with_a_reason() -> None:
    client_context, server_context = contexts()
    near, far = tcp_sockets()
    client = TlsPort(near, client_context, server_name="other.test")
    server = TlsPort(far, server_context, server_side=True)
    reasons = await shake(client, server)
    assert any("certificate not accepted" in reason for reason in reasons)
    client.close()
    server.close()


async def test_plain_bytes_are_no_handshake() -> None:
    _, server_context = contexts()
    near, far = tcp_sockets()
    plain, server = PlainPort(near), TlsPort(far, server_context, server_side=True)
    plain.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(TlsError, match="TLS handshake"):
        await server.handshake()
    plain.close()
    server.close()


async def test_an_end_within_the_handshake() -> None:
    _, server_context = contexts()
    near, far = tcp_sockets()
    server = TlsPort(far, server_context, server_side=True)
    near.close()
    with pytest.raises(TlsError):
        await server.handshake()
    server.close()


@on_both
async def test_an_end_without_goodbye_is_told_from_a_clean_one(kind: str) -> None:
    near, far = await PAIRS["tls-client"]()
    async with running(kind) as reactor:
        far.attach(reactor)
        at_far = Collector(far)
        near.sock.shutdown(1)  # type: ignore[attr-defined]  # the TCP end alone
        await at_far.until(lambda it: it.ended)
        assert not far.clean_end
        near.close()
        far.close()


@on_both
async def test_garbage_instead_of_records_breaks_the_port(kind: str) -> None:
    near, far = await PAIRS["tls-client"]()
    async with running(kind) as reactor:
        far.attach(reactor)
        at_far = Collector(far)
        near.sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))  # type: ignore[attr-defined]
        await at_far.until(lambda it: it.broken is not None)
        near.close()
        far.close()


async def test_a_closed_port_with_a_full_socket_is_let_go_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    near, far = await PAIRS["tls-client"]()
    async with running("epoll") as reactor:
        near.attach(reactor)
        while near.write(bytes(256 * 1024)):
            pass
        near.close()
        await trio.sleep(LINGER_SECONDS - 1)
        assert near.sock.fileno() >= 0  # type: ignore[attr-defined]
        await trio.sleep(2)
        assert near.sock.fileno() < 0  # type: ignore[attr-defined]
        far.close()


@pytest.mark.parametrize("kind", list(REACTORS))
async def test_a_closed_port_with_a_full_socket_does_not_outlive_its_reactor(kind: str) -> None:
    near, far = await PAIRS["tls-client"]()
    async with running(kind) as reactor:
        near.attach(reactor)
        while near.write(bytes(256 * 1024)):
            pass
        near.close()
        assert near.sock.fileno() >= 0  # type: ignore[attr-defined]
    assert near.sock.fileno() < 0  # type: ignore[attr-defined]
    assert not reactor.lingering
    far.close()


async def test_writing_after_the_end_of_writing_is_an_error() -> None:
    near, far = await PAIRS["tls-client"]()
    near.end_writing()
    with pytest.raises(ConnectionError):
        near.write(b"x")
    near.close()
    far.close()


@on_both
async def test_a_reset_while_a_write_waits_for_room_is_told_to_the_writer_and_never_an_end(kind: str) -> None:
    near, far = await PAIRS["tls-client"]()
    async with running(kind) as reactor:
        near.attach(reactor)
        owner = Collector(near)
        failed: list[str] = []

        def write_on() -> None:
            try:
                near.write(b"more")
            except PortBroken as error:
                failed.append(str(error))

        near.on_writable = write_on
        while near.write(bytes(256 * 1024)):
            pass
        far.abort()
        await owner.until(lambda it: it.broken is not None)
        assert failed
        assert not owner.ended
        near.close()


@on_both
async def test_what_came_before_a_reset_can_be_read(kind: str) -> None:
    near, far = await PAIRS["tls-server"]()
    await far.stream().send_all(b"the last words")
    far.abort()
    await trio.testing.wait_all_tasks_blocked(0.05)
    async with running(kind) as reactor:
        near.attach(reactor)
        owner = Collector(near)
        await owner.until(lambda it: it.broken is not None)
        assert bytes(owner.data) == b"the last words"
        near.close()


async def test_a_task_has_sent_only_when_nothing_is_left_in_the_port() -> None:
    near, far = await PAIRS["tls-client"]()
    for sock in (near.sock, far.sock):  # type: ignore[attr-defined]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    received = 0

    async def read_late() -> None:
        nonlocal received
        await trio.testing.wait_all_tasks_blocked(0.05)
        stream = far.stream()
        while received < 200_000:  # less than one write of the port
            received += len(await stream.receive_some(1 << 16))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_late)
            await near.stream().send_all(bytes(200_000))
    near.close()
    far.close()

"""Listening: both families, real ports, calm without descriptors, handing the socket on."""

from __future__ import annotations

import contextlib
import errno
import socket

import pytest
import trio
import trio.testing

from protocol.link.listener import CALM_SECONDS, Listener, bind, set_options
from protocol.link.plain import PlainPort
from tests.kit.ports import REACTORS, running

on_both = pytest.mark.parametrize("kind", list(REACTORS))


class Arrivals:
    """What a listener brought."""

    def __init__(self) -> None:
        self.ports: list[PlainPort] = []
        self.addresses: list[tuple[str, int]] = []
        self.more = trio.Event()

    def accepted(self, port: PlainPort, address: tuple[str, int]) -> None:
        self.ports.append(port)
        self.addresses.append(address)
        self.more.set()
        self.more = trio.Event()

    async def until(self, count: int) -> None:
        with trio.fail_after(5):
            while len(self.ports) < count:
                await self.more.wait()

    def close(self) -> None:
        for port in self.ports:
            port.close()


@on_both
async def test_both_families_arrive_with_plain_addresses(kind: str) -> None:
    arrivals = Arrivals()
    async with running(kind) as reactor:
        listener = Listener(reactor, bind("", 0), arrivals.accepted)
        listener.start()
        hosts = ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]
        clients = [await trio.open_tcp_stream(host, listener.port) for host in hosts]
        await arrivals.until(len(hosts))
        assert sorted(address for address, _ in arrivals.addresses) == sorted(hosts)
        assert arrivals.ports[0].sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        listener.close()
        listener.close()
        with pytest.raises(OSError):
            await trio.open_tcp_stream("127.0.0.1", listener.port)
        arrivals.close()
        for client in clients:
            await client.aclose()


@on_both
async def test_more_visitors_than_a_turn_takes(kind: str) -> None:
    arrivals = Arrivals()
    async with running(kind) as reactor:
        listener = Listener(reactor, bind("127.0.0.1", 0), arrivals.accepted)
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(150)]
        listener.start()
        await arrivals.until(150)
        listener.close()
        arrivals.close()
        for client in clients:
            client.close()


@on_both
async def test_a_defect_in_the_callback_loses_no_other_visitor(kind: str) -> None:
    arrivals = Arrivals()
    crashes: list[Exception] = []
    calls = 0

    def accepted(port: PlainPort, address: tuple[str, int]) -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise RuntimeError("a defect")
        arrivals.accepted(port, address)

    reactor = REACTORS[kind](lambda _callback, error: crashes.append(error))
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        listener = Listener(reactor, bind("127.0.0.1", 0), accepted)
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(5)]
        listener.start()
        await arrivals.until(2)
        with trio.fail_after(5):
            while calls < 5:
                await trio.testing.wait_all_tasks_blocked()
        assert len(crashes) == 3
        for client in clients[::2]:  # nobody owns their ports: they don't wait for ever
            client.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        listener.close()
        arrivals.close()
        for client in clients:
            client.close()
        nursery.cancel_scope.cancel()


class FakeSocket:
    """A listening socket that is out of descriptors a few times, then gives one connection."""

    def __init__(self, real: socket.socket, failures: int) -> None:
        self.real = real
        self.failures = failures
        self.asked: list[float] = []

    def accept(self) -> tuple[socket.socket, object]:
        self.asked.append(trio.current_time())
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.real.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


async def test_out_of_descriptors_it_rests_and_recovers() -> None:
    arrivals = Arrivals()
    complaints: list[int] = []
    async with running("epoll") as reactor:
        fake = FakeSocket(bind("127.0.0.1", 0), failures=6)
        listener = Listener(reactor, fake, arrivals.accepted, complaints.append)  # type: ignore[arg-type]
        listener.start()
        start = trio.current_time()
        client = await trio.open_tcp_stream("127.0.0.1", listener.port)
        await arrivals.until(1)
        # Two failures a rest: the try, and the one with the spare descriptor given up.
        assert len(complaints) == 3
        assert trio.current_time() - start >= 3 * CALM_SECONDS * 0.9
        listener.close()
        arrivals.close()
        await client.aclose()


async def test_a_paused_listener_gives_its_socket_to_a_successor() -> None:
    arrivals = Arrivals()
    async with running("epoll") as reactor:
        first = Listener(reactor, bind("127.0.0.1", 0), arrivals.accepted)
        first.start()
        sock = first.pause()
        client = socket.create_connection(("127.0.0.1", first.port))  # nobody is refused in between
        second = Listener(reactor, sock, arrivals.accepted)
        second.start()
        await arrivals.until(1)
        second.close()
        arrivals.close()
        client.close()


def test_a_taken_port_is_an_error() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(OSError):
        bind("127.0.0.1", taken.getsockname()[1])


def test_unix_sockets_have_no_tcp_options() -> None:
    near, far = socket.socketpair()
    set_options(near)
    assert not near.getblocking()
    near.close()
    far.close()

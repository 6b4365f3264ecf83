"""Dialling: the server with its checks and proxies, and the private service."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from protocol.address import HostPort, Upstream, parse_upstream
from protocol.errors import LinkError
from protocol.link.dial import ServerDialer, dial_tcp, dial_upstream
from protocol.link.epoll import EpollReactor
from protocol.link.proxy_connect import parse_proxy
from protocol.link.tls_socket import TlsSocketPort
from protocol.link.trust import ClientTls, fingerprint


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def leaf(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


async def echo(stream: trio.abc.Stream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except (trio.BrokenResourceError, ssl.SSLError):
        pass


@asynccontextmanager
async def tls_server(leaf: trustme.LeafCert) -> AsyncIterator[HostPort]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        await echo(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

    async with listening(serve) as port:
        yield HostPort("127.0.0.1", port)


@asynccontextmanager
async def listening(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def closed_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


async def says_back(dialer: ServerDialer, *, leg: bool = False) -> None:
    port = await dialer.dial(timeout=10, leg=leg)
    assert isinstance(port, TlsSocketPort) is leg
    stream = port.stream()
    await stream.send_all(b"hello")
    assert await stream.receive_some() == b"hello"
    await stream.aclose()


def dialer(address: HostPort, tls: ClientTls, proxy: str = "") -> ServerDialer:
    return ServerDialer(address, tls, parse_proxy(proxy) if proxy else None, EpollReactor())


@pytest.mark.parametrize("leg", [False, True])
async def test_by_ca_and_by_pin(authority: trustme.CA, leaf: trustme.LeafCert, tmp_path: Path, leg: bool) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    pin = fingerprint(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode()))
    async with tls_server(leaf) as address:
        await says_back(dialer(address, ClientTls(ca=str(tmp_path / "ca"))), leg=leg)
        await says_back(dialer(address, ClientTls(pin=pin)), leg=leg)
        with pytest.raises(LinkError) as caught:
            await dialer(address, ClientTls(pin="ab" * 32)).dial(timeout=10)
        assert caught.value.code == "pin_mismatch"


async def test_loopback_is_excused_only_when_allowed(leaf: trustme.LeafCert) -> None:
    told: list[str] = []
    async with tls_server(leaf) as address:
        with pytest.raises(LinkError) as caught:
            await dialer(address, ClientTls()).dial(timeout=10)
        assert (caught.value.code, "-pin" in caught.value.hint) == ("certificate", True)
        relaxed = dialer(address, ClientTls(loopback=True, notify=told.append))
        await says_back(relaxed)
        await says_back(relaxed)
        assert len(told) == 1


async def test_no_tls_there() -> None:
    async with listening(echo) as port:
        with pytest.raises(LinkError) as caught:
            await dialer(HostPort("127.0.0.1", port), ClientTls()).dial(timeout=10)
    assert caught.value.code == "tls"


async def test_nothing_there_and_no_name() -> None:
    with pytest.raises(LinkError) as caught:
        await dialer(HostPort("127.0.0.1", await closed_port()), ClientTls()).dial(timeout=10)
    assert caught.value.code == "refused"
    with pytest.raises(LinkError) as caught:
        await dial_tcp("no such name.invalid", 1, timeout=10)
    assert caught.value.code == "unresolved"
    with pytest.raises(LinkError) as caught:
        await dial_tcp("a" * 70 + ".example", 1, timeout=10)
    assert caught.value.code == "unresolved"


async def test_a_silent_server_is_left_in_time() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with listening(silent) as port:
        with pytest.raises(LinkError) as caught:
            await dialer(HostPort("127.0.0.1", port), ClientTls()).dial(timeout=0.05)
    assert caught.value.code == "dial_timeout"


async def connect_proxy(stream: trio.SocketStream) -> None:
    """A CONNECT proxy that wants credentials."""
    request = await stream.receive_some()
    if b"Proxy-Authorization: Basic dTpw" not in request:
        await stream.send_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        return
    host, _, port = request.split()[1].decode().rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as server, trio.open_nursery() as nursery:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")

        async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
            try:
                async for data in source:
                    await sink.send_all(data)
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(pump, stream, server)
        await pump(server, stream)


async def test_through_a_proxy(authority: trustme.CA, leaf: trustme.LeafCert, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    tls = ClientTls(ca=str(tmp_path / "ca"))
    async with tls_server(leaf) as address, listening(connect_proxy) as port:
        await says_back(dialer(address, tls, f"http://u:p@127.0.0.1:{port}"))
        with pytest.raises(LinkError) as caught:
            await dialer(address, tls, f"http://127.0.0.1:{port}").dial(timeout=10)
        assert caught.value.code == "proxy_auth"
        with pytest.raises(LinkError) as caught:
            await dialer(address, tls, f"http://127.0.0.1:{await closed_port()}").dial(timeout=10)
        assert caught.value.code == "proxy_refused"


async def test_through_a_proxy_that_speaks_tls(
    authority: trustme.CA, leaf: trustme.LeafCert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)

    async def secure_proxy(stream: trio.SocketStream) -> None:
        await connect_proxy(trio.SSLStream(stream, context, server_side=True, https_compatible=True))  # type: ignore[arg-type]

    async with tls_server(leaf) as address, listening(secure_proxy) as port, trio.open_nursery() as nursery:
        reactor = EpollReactor()
        await nursery.start(reactor.run)
        proxy = parse_proxy(f"https://u:p@127.0.0.1:{port}")
        await says_back(ServerDialer(address, ClientTls(ca=str(tmp_path / "ca")), proxy, reactor))
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_upstreams_by_tcp(host: str) -> None:
    async with listening(echo) as port:
        found = await dial_upstream(parse_upstream(f"{host}:{port}"), timeout=10)
        await found.stream().send_all(b"x")
        assert await found.stream().receive_some() == b"x"
        found.close()


async def test_upstreams_by_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(path))
        sock.listen()
        found = await dial_upstream(Upstream("unix", path=str(path)), timeout=10)
        found.close()
    with pytest.raises(LinkError) as caught:
        await dial_upstream(Upstream("unix", path=str(tmp_path / "none")), timeout=10)
    assert caught.value.code == "refused"


async def test_upstreams_by_tls(leaf: trustme.LeafCert) -> None:
    async with tls_server(leaf) as address:
        found = await dial_upstream(Upstream("tcp", address.host, address.port, tls=True, verify=False), timeout=10)
        await found.stream().send_all(b"x")
        assert await found.stream().receive_some() == b"x"
        found.close()
        with pytest.raises(LinkError) as caught:
            await dial_upstream(Upstream("tcp", address.host, address.port, tls=True), timeout=10)
        assert (caught.value.code, "verify: false" in caught.value.hint) == ("tls", True)

"""Certificates by name from a directory: chosen, swapped while handshakes go on, and kept when the new pair is broken."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
import structlog.testing
import trio
import trustme

from ngrokd import certs
from ngrokd.certdir import CertificateDirectory
from ngrokd.edge.http import EdgeWorld
from ngrokd.edge.pages import Pages
from ngrokd.public import PublicEdges
from ngrokd.registry import Registry
from ngrokd.state import StateDirectory
from protocol.errors import ConfigError
from protocol.link.listener import bind
from protocol.secret import new_request_id
from tests.kit.ports import running

# Mozilla, "Server Side TLS", intermediate, version 5.7
INTERMEDIATE = {
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    *("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
}
AUTHORITY = trustme.CA()


def write(directory: Path, name: str, *hosts: str, authority: trustme.CA = AUTHORITY) -> bytes:
    """A pair NAME.crt, NAME.key for these hosts; the key."""
    pair = authority.issue_cert(*hosts)
    chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
    (directory / f"{name}.key").write_bytes(pair.private_key_pem.bytes())
    (directory / f"{name}.crt").write_bytes(chain)
    return pair.private_key_pem.bytes()


def directory(path: Path) -> CertificateDirectory:
    found = CertificateDirectory(path, structlog.get_logger())
    found.load(strict=True)
    return found


def test_names_exact_and_below_a_wildcard(tmp_path: Path) -> None:
    write(tmp_path, "one", "one.test", "*.one.test")
    write(tmp_path, "two", "a.one.test")
    (tmp_path / "one.issuer.crt").write_text("lego leaves these")
    (tmp_path / "notes.txt").write_text("ours")
    found = directory(tmp_path)
    assert found.names == ["*.one.test", "a.one.test", "one.test"]
    assert found.choose("one.test") is found.choose("b.one.test") is not None
    assert found.choose("a.one.test") not in (None, found.choose("one.test"))
    assert found.choose("a.b.one.test") is None
    assert found.choose("other.test") is None


def test_certbots_layout(tmp_path: Path) -> None:
    live = tmp_path / "one.test"
    live.mkdir()
    write(live, "x", "one.test")
    (live / "x.crt").rename(live / "fullchain.pem")
    (live / "x.key").rename(live / "privkey.pem")
    assert directory(tmp_path).names == ["one.test"]


def test_a_changed_pair_is_taken_a_broken_one_is_not(tmp_path: Path) -> None:
    write(tmp_path, "one", "one.test")
    found = directory(tmp_path)
    first = found.choose("one.test")
    assert found.load() == []
    write(tmp_path, "one", "one.test", "more.test")
    assert found.load() == ["certificate one.crt"]
    second = found.choose("one.test")
    assert second not in (None, first)
    (tmp_path / "one.key").write_bytes(AUTHORITY.issue_cert("one.test").private_key_pem.bytes())
    with structlog.testing.capture_logs() as logs:
        assert found.load() == []
        assert found.load() == []
    assert [line["log_level"] for line in logs] == ["error"]  # said once for each state of the files
    assert "don't make a pair" in logs[0]["reason"]
    assert found.choose("one.test") is found.choose("more.test") is second
    write(tmp_path, "one", "one.test")
    assert found.load() == ["certificate one.crt"]
    assert found.choose("more.test") is None
    (tmp_path / "one.key").unlink()
    assert found.load() == ["certificate one.crt is gone"]
    assert found.names == []


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_broken_pair_at_the_start_is_an_error(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "one", "one.test")
    (tmp_path / "one.crt").write_bytes(content)
    with pytest.raises((ConfigError, ValueError)):
        CertificateDirectory(tmp_path, structlog.get_logger()).load(strict=True)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-certDir"):
        CertificateDirectory(tmp_path / "none", structlog.get_logger()).load(strict=True)


def test_a_directory_that_goes_away_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "certs"
    path.mkdir()
    write(path, "one", "one.test")
    found = directory(path)
    path.rename(tmp_path / "elsewhere")
    with structlog.testing.capture_logs():
        found.load()
    assert found.names == ["one.test"]


def trusting(*authorities: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for authority in authorities:
        authority.configure_trust(context)
    return context


@contextlib.asynccontextmanager
async def https(tmp_path: Path) -> AsyncIterator[tuple[CertificateDirectory, int]]:
    """The https edge with the server's own certificate and a directory beside it; its port."""
    own = certs.own(StateDirectory(tmp_path / "state"), "usual.test")
    path = tmp_path / "certs"
    path.mkdir()
    write(path, "one", "one.test")
    async with running("epoll") as reactor, trio.open_nursery() as handshakes:
        log = structlog.get_logger()
        world = EdgeWorld(reactor, Registry(new_request_id), Pages(), lambda _scheme, _host: False, log=log)
        found = directory(path)
        edges = PublicEdges(world, certs.server_context(own), log, found)
        sock = bind("127.0.0.1", 0)
        port = sock.getsockname()[1]
        edges.listen("https", sock, handshakes)
        with trio.fail_after(30):
            yield found, port
        edges.drain()
        edges.abort()
        handshakes.cancel_scope.cancel()


async def ask(port: int, context: ssl.SSLContext, name: str, host: str) -> tuple[bytes, bytes | None]:
    """(status line, certificate) of one request."""
    stream = trio.SSLStream(
        await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname=name, https_compatible=True
    )
    try:
        await stream.send_all(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = await stream.receive_some()
        return bytes(answer.partition(b"\r\n")[0]), stream.getpeercert(binary_form=True)
    finally:
        await trio.aclose_forcefully(stream)


async def test_sni_and_host_must_agree_and_no_sni_is_allowed(tmp_path: Path) -> None:
    async with https(tmp_path) as (_, port):
        context = trusting(AUTHORITY)
        assert (await ask(port, context, "one.test", "one.test"))[0] == b"HTTP/1.1 404 Not Found"
        assert (await ask(port, context, "one.test", "ONE.test.:443"))[0] == b"HTTP/1.1 404 Not Found"
        assert (await ask(port, context, "one.test", "two.test"))[0] == b"HTTP/1.1 421 Misdirected Request"
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        assert (await ask(port, context, "127.0.0.1", "two.test"))[
            0
        ] == b"HTTP/1.1 404 Not Found"  # an address sends no SNI


async def test_fifty_swaps_under_handshakes_fail_none(tmp_path: Path) -> None:
    context = trusting(AUTHORITY)
    seen: set[bytes | None] = set()
    async with https(tmp_path) as (found, port):
        done = trio.Event()

        async def visit() -> None:
            while not done.is_set():
                status, certificate = await ask(port, context, "one.test", "one.test")
                assert status == b"HTTP/1.1 404 Not Found"
                seen.add(certificate)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(visit)
            for number in range(50):
                write(found.path, "one", "one.test")
                if number % 10 == 5:
                    (found.path / "one.key").write_text("broken")
                with structlog.testing.capture_logs():
                    await found.reload()
                before = len(seen)
                while number % 10 != 5 and len(seen) == before:
                    await trio.sleep(0.001)  # until a visitor has met this one
            done.set()
    assert len(seen) >= 45


async def test_watching_takes_a_new_pair_within_seconds(tmp_path: Path) -> None:
    write(tmp_path, "one", "one.test")
    found = directory(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.watch)
        await trio.sleep(0.05)
        write(tmp_path, "two", "two.test")
        with trio.fail_after(10):
            while found.choose("two.test") is None:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """In a thread with blocking sockets: only those give the client its session."""
    async with https(tmp_path) as (_, port):
        context = trusting(AUTHORITY)
        context.minimum_version = context.maximum_version = version

        def visit(session: ssl.SSLSession | None) -> tuple[bool | None, ssl.SSLSession | None]:
            import socket

            with (
                socket.create_connection(("127.0.0.1", port), 10) as sock,
                context.wrap_socket(sock, server_hostname="one.test", session=session) as tls,
            ):
                tls.sendall(b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n")
                assert tls.recv(12) == b"HTTP/1.1 404"
                return tls.session_reused, tls.session

        reused, session = await trio.to_thread.run_sync(visit, None)
        assert not reused
        reused, _ = await trio.to_thread.run_sync(visit, session)
        assert reused


def test_ciphers_and_versions_are_mozillas_intermediate(tmp_path: Path) -> None:
    context = certs.server_context(certs.own(StateDirectory(tmp_path / "state"), "usual.test"))
    assert {cipher["name"] for cipher in context.get_ciphers()} <= INTERMEDIATE
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
        assert context.options & option

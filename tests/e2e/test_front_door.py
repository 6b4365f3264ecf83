"""The flags of the public listeners, on the real ngrokd: trusted proxies, limits, certificates by name and their reload."""

from __future__ import annotations

import json
import signal
import ssl
from pathlib import Path

import trio
import trustme

from protocol.proxy_header import encode
from tests.kit.programs import World, free_port
from tests.kit.upstream import Upstream
from tests.kit.visitor import open_visitor


def write(path: Path, authority: trustme.CA, *hosts: str) -> None:
    pair = authority.issue_cert(*hosts)
    (path / "pair.key").write_bytes(pair.private_key_pem.bytes())
    (path / "pair.crt").write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))


async def test_a_trusted_proxy_is_believed(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd("-trustedProxies=127.0.0.1", https=False)
    await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server)
    async with open_visitor(server.http_port, "test.localhost") as proxy:
        answer = await proxy.ask("/", "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "X-Forwarded-Proto: https")
    fields = dict(json.loads(answer.body)["fields"])
    assert (fields["X-Forwarded-For"], fields["X-Forwarded-Proto"]) == ("203.0.113.9", "https")


async def test_a_proxy_before_a_tcp_tunnel_is_believed(world: World, upstream: Upstream) -> None:
    """Both versions of the header; without one, or with one from elsewhere, nobody gets through under another name."""
    server = await world.ngrokd("-tcpProxies=127.0.0.2", https=False)
    public = free_port()
    tunnel: dict[str, object] = {
        "proto": {"tcp": upstream.echo_port}, "remote_port": public, "allow_ips": ["203.0.113.0/24", "127.0.0.1/32"],
    }  # fmt: skip
    await world.ngrokc({"echo": tunnel}, server)

    async def ask(source: str, data: bytes) -> bytes:
        stream = await trio.open_tcp_stream("127.0.0.1", public, local_address=source)
        async with stream:
            await stream.send_all(data)
            try:
                with trio.fail_after(5):
                    return await stream.receive_some()
            except trio.BrokenResourceError:
                return b""

    for version in (1, 2):
        assert await ask("127.0.0.2", encode(version, ("203.0.113.9", 1)) + b"hello") == b"hello"
        assert await ask("127.0.0.2", encode(version, ("198.51.100.1", 1)) + b"hello") == b""
    assert await ask("127.0.0.2", b"hello") == b""
    assert await ask("127.0.0.1", b"hello") == b"hello"
    assert (await ask("127.0.0.1", encode(1, ("198.51.100.1", 1)))).startswith(b"PROXY ")


async def test_limits_are_kept(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd("-maxVisitors=2", "-visitorRate=5", "-maxBody=10", https=False)
    await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server)
    async with open_visitor(server.http_port, "test.localhost") as first:
        statuses: list[int] = []
        while 429 not in statuses:  # two seconds' worth at once, and what a busy machine's time adds
            statuses.append((await first.ask("/")).status)
        assert 10 <= statuses.index(429) < 50
    async with (
        open_visitor(server.http_port, "test.localhost") as one,
        open_visitor(server.http_port, "test.localhost"),
    ):
        async with open_visitor(server.http_port, "test.localhost") as third:
            assert (await third.wire.answer()).status == 503
        await trio.sleep(0.5)  # two more requests of the rate
        assert (await one.ask("/", method="POST", body=b"x" * 11)).status == 413


async def test_certificates_by_name_and_their_reload(world: World, upstream: Upstream, tmp_path: Path) -> None:
    path, authority, other = tmp_path / "certs", trustme.CA(), trustme.CA()
    path.mkdir()
    write(path, authority, "test.localhost")
    server = await world.ngrokd(f"-certDir={path}")
    await world.ngrokc({"test": {"proto": {"https": upstream.http_port}}}, server)
    believed = ssl.create_default_context()
    authority.configure_trust(believed)
    async with open_visitor(server.https_port, "test.localhost", tls=believed) as visitor:
        assert (await visitor.ask("/")).status == 200
        assert (await visitor.ask("/", host="other.localhost")).status == 421
    write(path, other, "test.localhost")
    server.process.send_signal(signal.SIGHUP)
    await server.line("certificates of visitors read again")
    believed = ssl.create_default_context()
    other.configure_trust(believed)
    async with open_visitor(server.https_port, "test.localhost", tls=believed) as visitor:
        assert (await visitor.ask("/")).status == 200
    (path / "pair.key").write_text("broken")
    await server.line("the old one serves on")
    async with open_visitor(server.https_port, "test.localhost", tls=believed) as visitor:
        assert (await visitor.ask("/")).status == 200

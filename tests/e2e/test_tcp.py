"""tcp tunnels through the real programs: bytes, half-closes, services that speak first, and a whole ssh session."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.kit.patterns import blocks, digest
from tests.kit.programs import Program, Server, World, free_port
from tests.kit.upstream import Upstream
from tests.kit.visitor import open_visitor

Dialect = dict[str, object]
MIB = 1 << 20


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_bytes_pass_and_half_closes_too(world: World, upstream: Upstream, dialect: Dialect) -> None:
    server = await world.ngrokd()
    echo, digesting = free_port(), free_port()
    tunnels: dict[str, dict[str, object]] = {
        "echo": {"proto": {"tcp": upstream.echo_port}, "remote_port": echo},
        "digest": {"proto": {"tcp": upstream.digest_port}, "remote_port": digesting},
        "greeting": {"proto": {"tcp": upstream.greeting_port}},
    }
    agent = await world.ngrokc(tunnels, server, settings=dialect)
    ports = {port_of(url) for url in agent.url_list}
    (greeting,) = ports - {echo, digesting}
    size = 4 * MIB + 17

    stream = await trio.open_tcp_stream("127.0.0.1", echo)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(_send, stream, size)
        sha = hashlib.sha256()
        async for data in stream:
            sha.update(data)
        assert sha.hexdigest() == digest(size)

    stream = await trio.open_tcp_stream("127.0.0.1", digesting)
    async with stream:
        await _send(stream, size)
        assert b"".join([data async for data in stream]).decode().strip() == digest(size)

    stream = await trio.open_tcp_stream("127.0.0.1", greeting)
    async with stream:
        assert (await stream.receive_some()).startswith(b"220 ")


@dataclass
class Gauges:
    """ngrokd's metrics, as Prometheus reads them."""

    server: Server
    admin: int

    async def read(self, name: str) -> int:
        """The sum over all labels."""
        token = (self.server.state / "admin-token").read_text().strip()
        async with open_visitor(self.admin, f"127.0.0.1:{self.admin}") as visitor:
            answer = await visitor.ask("/metrics", f"Authorization: Bearer {token}", "Connection: close")
        lines = re.findall(rf"^ngrokd_{name}(?:\{{[^}}]*\}})? (\S+)$", answer.body.decode(), re.MULTILINE)
        return sum(int(float(value)) for value in lines)

    async def until(self, name: str, wanted: Callable[[int], bool]) -> None:
        with trio.fail_after(10):
            while not wanted(await self.read(name)):
                await trio.sleep(0.02)


async def test_a_tcp_visitor_has_a_link_of_its_own_and_the_legs_take_over(world: World, upstream: Upstream) -> None:
    """Bytes pass the same on both; a crowd that leaves no parked link does not wait."""
    admin = free_port()
    server = await world.ngrokd(f"-adminAddr=127.0.0.1:{admin}")
    agent = await world.ngrokc({"digest": {"proto": {"tcp": upstream.digest_port}}}, server)
    port = port_of(agent.urls["tcp"])
    gauges = Gauges(server, admin)
    await gauges.until("links_parked", lambda count: count >= 2)
    streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(20)]
    await gauges.until("visitors", lambda count: count >= len(streams))
    own = await gauges.read("links_own")
    assert 2 <= own < len(streams)
    assert await gauges.read("streams") == len(streams) - own

    async def check(stream: trio.SocketStream) -> None:
        async with stream:
            await _send(stream, MIB + 17)
            assert b"".join([data async for data in stream]).decode().strip() == digest(MIB + 17)

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(check, stream)
    await gauges.until("links_own", lambda count: count == 0)


async def _send(stream: trio.SocketStream, size: int) -> None:
    for block in blocks(size):
        await stream.send_all(block)
    await stream.send_eof()


@pytest.mark.skipif(not (Path("/usr/sbin/sshd").exists() and shutil.which("ssh")), reason="no sshd and ssh here")
async def test_ssh(world: World, dialect: Dialect) -> None:
    """A login and a megabyte each way through an unprivileged sshd of the test's own."""
    server = await world.ngrokd(https=False)
    home = world.path / "ssh"
    home.mkdir(mode=0o700)
    for name in ("host", "user"):
        await trio.run_process(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)])
    shutil.copy(home / "user.pub", home / "authorized_keys")
    port = free_port()
    (home / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized_keys\n"
        f"PidFile {home}/pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    sshd = await world.start(Program, "sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(home / "sshd_config")])
    sshd.expected_code = None
    await sshd.line("listening on")
    agent = await world.ngrokc({"ssh": {"proto": {"tcp": port}}}, server, settings=dialect)

    data = b"".join(blocks(MIB))
    result = await trio.run_process(
        [
            *("ssh", "-F", "none", "-i", str(home / "user"), "-p", str(port_of(agent.urls["tcp"]))),
            *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={home}/known", "-o", "BatchMode=yes"),
            f"{getpass.getuser()}@127.0.0.1",
            "cat",
        ],
        stdin=data,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout[-500:]!r}\n{sshd.log}"
    assert result.stdout.endswith(data)

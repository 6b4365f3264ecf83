"""Two machines in network namespaces: the server in one, the agent and its private service in another, a visitor in a third.

Needs root and `ip netns`; elsewhere it skips. Nothing but the tunnel connects the visitor with the private service.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.kit.programs import ROOT, Agent, Program, Server, World, script

SERVER, AGENT, VISITOR = "ngt-server", "ngt-agent", "ngt-visitor"


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


def inside(namespace: str, *words: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *words]


@contextmanager
def machine(name: str, net: int | None) -> Iterator[None]:
    """A namespace; with `net` it has a cable to the server's: 10.77.NET.2 here, 10.77.NET.1 there."""
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        if net is not None:
            near, far = f"ngt{net}a", f"ngt{net}b"
            ip("link", "add", near, "netns", name, "type", "veth", "peer", "name", far, "netns", SERVER)
            for where, link, last in ((name, near, 2), (SERVER, far, 1)):
                ip("-n", where, "addr", "add", f"10.77.{net}.{last}/24", "dev", link)
                ip("-n", where, "link", "set", link, "up")
        yield
    finally:
        ip("netns", "del", name, check=False)


@pytest.fixture
def machines() -> Iterator[None]:
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("curl"):
        pytest.skip("needs root, ip and curl")
    with ExitStack() as stack:
        try:
            stack.enter_context(machine(SERVER, None))
            stack.enter_context(machine(AGENT, 1))
            stack.enter_context(machine(VISITOR, 2))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr!r}")
        yield


async def start_server(world: World, *flags: str) -> Server:
    flags = ("-domain=ngt.test", "-httpAddr=:80", "-httpsAddr=:443", f"-stateDir={world.path}/state", *flags)
    server = await world.start(Server, "ngrokd", inside(SERVER, script("ngrokd"), *flags, "-logFormat=json"))
    server.pin = json.loads(await server.line("ngrokd is up"))["fingerprint"]
    return server


async def test_from_machine_to_machine(machines: None, world: World) -> None:
    server = await start_server(world)
    done = subprocess.run(
        inside(SERVER, script("ngrokd"), f"-stateDir={world.path}/state", "token", "add", "alice", "--json"),
        capture_output=True,
        text=True,
        check=True,
    )
    token = next(word for word in done.stdout.replace('"', " ").replace(",", " ").split() if word.startswith("nt_"))
    path = ["env", f"PYTHONPATH={ROOT}", script("python")]
    service = await world.start(Program, "service", inside(AGENT, *path, "-m", "tests.kit.upstream", "--port", "8080"))
    service.expected_code = None
    await service.line("8080")
    words = [
        script("ngrokc"),
        "-server=10.77.1.1",
        "-log=stdout",
        "-proto=http",
        "-subdomain=web",
        "-inspectAddr=disabled",
    ]

    doubter = await world.start(Agent, "doubter", inside(AGENT, *words, "8080"))
    await doubter.line("certificate not accepted")
    await doubter.stop()
    stranger = await world.start(Agent, "stranger", inside(AGENT, *words, f"-pin={server.pin}", "8080"))
    stranger.expected_code = None
    await stranger.line("(?i)token")
    await stranger.stop()

    (world.path / "token").write_text(token)
    with_token = ["env", f"NGROK_AUTHTOKEN={token}"]
    agent = await world.start(Agent, "ngrokc", inside(AGENT, *with_token, *words, "8080"))
    assert await agent.online(1) == ["http://web.ngt.test"]

    visit = inside(VISITOR, "curl", "-sS", "--max-time", "10", "--resolve", "web.ngt.test:80:10.77.2.1")
    seen = subprocess.run([*visit, "http://web.ngt.test/hello"], capture_output=True, text=True, check=True).stdout
    assert '"target": "/hello"' in seen
    assert '["X-Forwarded-For", "10.77.2.2"]' in seen
    assert not any(token in line for program in (server, agent, stranger) for line in program.lines)

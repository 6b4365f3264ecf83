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
from pathlib import Path

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


@pytest.fixture
def developer() -> Iterator[str]:
    """One machine with the two lines of the README in its /etc/hosts."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("curl"):
        pytest.skip("needs root, ip and curl")
    name = "ngt-developer"
    hosts = Path("/etc/netns", name)
    with ExitStack() as stack:
        try:
            stack.enter_context(machine(name, None))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr!r}")
        hosts.mkdir(parents=True)
        stack.callback(shutil.rmtree, hosts)
        (hosts / "hosts").write_text("127.0.0.1 localhost\n127.0.0.1 ngrok.me\n127.0.0.1 test.ngrok.me\n")
        yield name


async def test_the_loop_of_the_developer_guide(developer: str, world: World) -> None:
    """The commands of the README as they stand, certificates included."""
    state = ("env", f"STATE_DIRECTORY={world.path}/state")  # not /var/lib/ngrokd, which may be in use
    server = await world.start(Server, "ngrokd", inside(developer, *state, script("ngrokd"), "-domain", "ngrok.me"))
    await server.line("ngrokd is up")
    python = inside(developer, "env", f"PYTHONPATH={ROOT}", script("python"))
    service = await world.start(Program, "service", [*python, "-m", "tests.kit.upstream", "--port", "8080"])
    service.expected_code = None
    await service.line("8080")
    shutil.copy(ROOT / "debug.yml", world.path)
    for words in (("start", "test"), ("-subdomain=test", "8080")):
        command = inside(developer, script("ngrokc"), "-config=debug.yml", "-log=ngrok.log", *words)
        agent = await world.start(Agent, "ngrokc", command)
        await agent.line("http://test.ngrok.me")
        for url in ("http://test.ngrok.me/a", "https://test.ngrok.me/a")[: 1 if words[0] == "start" else 2]:
            visit = inside(developer, "curl", "-sSk", "--max-time", "10", url)
            seen = subprocess.run(visit, capture_output=True, text=True, check=True).stdout
            assert '"target": "/a"' in seen
        await agent.stop()
    assert (world.path / "ngrok.log").read_text()


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

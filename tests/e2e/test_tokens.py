"""Tokens with the real programs: who gets in, what is refused and why, revocation, takeover, names that stay."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.kit.programs import Agent, Server, World, script
from tests.kit.upstream import Upstream
from tests.kit.visitor import open_visitor

Dialect = dict[str, object]


async def command(server: Server, *words: str, fails: bool = False) -> Any:
    """`ngrokd WORDS --json` on this server's state; the answer, or the line on stderr when it `fails`."""
    done = await trio.run_process(
        [script("ngrokd"), f"-stateDir={server.state}", *words, "--json"],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    if fails:
        assert done.returncode == 1
        return done.stderr.decode()
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def web(upstream: Upstream, **more: object) -> dict[str, dict[str, object]]:
    return {"test": {"proto": {"http": upstream.http_port}, **more}}


def other_secret(token: str) -> str:
    """A token for the same server with the same id that is not the right one."""
    prefix, token_id, secret, pin = token.split("_", 3)
    return "_".join((prefix, token_id, secret[::-1], pin))


async def answers(server: Server, host: str) -> int:
    async with open_visitor(server.http_port, host) as visitor:
        return (await visitor.ask("/x")).status


async def test_with_a_token_on_the_books_everybody_needs_one(
    world: World, upstream: Upstream, dialect: Dialect
) -> None:
    server = await world.ngrokd()
    await world.ngrokc(web(upstream), server, settings=dialect, name="before")  # loopback, and no token yet
    made = await command(server, "token", "add", "alice")
    assert made["server"] == f"localhost:{server.tunnel_port}"
    without = await world.ngrokc(web(upstream), server, settings=dialect, name="without", online=0)
    without.expected_code = None
    await without.line("needs a token.*ngrokd token add NAME")
    assert await without.wait() != 0
    wrong = other_secret(made["token"])
    stranger = await world.ngrokc(
        web(upstream), server, settings={**dialect, "auth_token": wrong}, name="wrong", online=0
    )
    stranger.expected_code = None
    await stranger.line("not known here")
    assert await stranger.wait() != 0
    agent = await world.ngrokc(
        {"own": {"proto": {"http": upstream.http_port}}},
        server,
        settings={**dialect, "auth_token": made["token"]},
        name="with",
    )
    assert await answers(server, "own.localhost") == 200
    assert agent.urls
    (listed,) = await command(server, "token", "list")
    assert listed["last_source"] == "127.0.0.1"
    for program in (server, agent, without):
        assert not any(made["token"] in line for line in program.lines), "a token in a log"
    secret = made["token"].split("_")[2].encode()
    assert not any(secret in path.read_bytes() for path in server.state.iterdir() if path.is_file())


@pytest.mark.parametrize("way", ["file", "environment", "flag"])
@pytest.mark.parametrize("right", [True, False])
async def test_each_documented_way_counts(world: World, upstream: Upstream, way: str, right: bool) -> None:
    """The right token gets in and a wrong one does not, whichever way it comes; the two stronger ways win over the file."""
    server = await world.ngrokd()
    token = (await command(server, "token", "add", "alice"))["token"]
    given, other = (token, other_secret(token)) if right else (other_secret(token), token)
    file = world.path / "agent.yml"
    file.write_text(json.dumps({"auth_token": given if way == "file" else other, "inspect_addr": "disabled"}))
    words = [
        script("ngrokc"),
        f"-config={file}",
        f"-server=127.0.0.1:{server.tunnel_port}",
        "-log=stdout",
        "-proto=http",
    ]
    if way == "flag":
        words.append(f"-authtoken={given}")
    environment = world.environment
    if way == "environment":
        world.environment = lambda name: {**environment(name), "NGROK_AUTHTOKEN": given}  # type: ignore[method-assign]
    agent = await world.start(Agent, "agent", [*words, str(upstream.http_port)])
    if right:
        await agent.online(1)
        return
    agent.expected_code = None
    await agent.line("not known here")
    assert await agent.wait() != 0


async def test_revoking_ends_sessions_and_visitors_within_a_second(
    world: World, upstream: Upstream, dialect: Dialect
) -> None:
    server = await world.ngrokd()
    token = (await command(server, "token", "add", "alice"))["token"]
    await command(server, "token", "add", "operator")
    tunnels = {**web(upstream), "echo": {"proto": {"tcp": upstream.echo_port}}}
    agent = await world.ngrokc(tunnels, server, settings={**dialect, "auth_token": token})
    agent.expected_code = None
    stream = await trio.open_tcp_stream("127.0.0.1", int(agent.urls["tcp"].rpartition(":")[2]))
    async with stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        assert (await command(server, "token", "revoke", "alice"))["sessions_ended"] == 1
        with trio.fail_after(1):
            try:
                assert await stream.receive_some() == b""
            except trio.BrokenResourceError:
                pass  # a reset is as good an end
    assert await answers(server, "test.localhost") == 404
    await agent.line("was revoked")
    assert await agent.wait() != 0


async def test_rights_are_checked_for_each_tunnel(world: World, upstream: Upstream, dialect: Dialect) -> None:
    server = await world.ngrokd()
    made = await command(
        server,
        "token",
        "add",
        "ci",
        "--allow-host",
        "*.ci.localhost",
        "--allow-port",
        "2000-2001",
        "--max-tunnels",
        "2",
    )
    tunnels = {
        "good": {"hostname": "a.ci.localhost", "proto": {"http": upstream.http_port}},
        "tcp": {"proto": {"tcp": upstream.echo_port}},
    }
    try_too = {
        "host": {"subdomain": "other", "proto": {"http": upstream.http_port}},
        "port": {"remote_port": 5999, "proto": {"tcp": upstream.echo_port}},
        "third": {"hostname": "b.ci.localhost", "proto": {"http": upstream.http_port}},
    }
    settings = {**dialect, "auth_token": made["token"]}
    agent = await world.ngrokc({**tunnels, **try_too}, server, settings=settings, online=2)
    for words in (r"may not have this name.*\*\.ci\.localhost", "may not have tcp port 5999", "may have 2 tunnels"):
        assert any(re.search(words, line) for line in agent.lines) or await agent.line(words)
    assert 2000 <= int(agent.urls["tcp"].rpartition(":")[2]) <= 2001


async def test_reserved_names_are_for_their_owner(world: World, upstream: Upstream, dialect: Dialect) -> None:
    server = await world.ngrokd()
    alice = (await command(server, "token", "add", "alice"))["token"]
    bob = (await command(server, "token", "add", "bob"))["token"]
    await command(server, "reserve", "*.demo.localhost", "--for", "alice")
    await command(server, "reserve", "x.demo.localhost", "--for", "bob")
    assert "no such token" in await command(server, "reserve", "shop", "--for", "carol", fails=True)
    assert "reserved on every server" in await command(server, "reserve", "www", "--for", "alice", fails=True)
    wild = {"wild": {"hostname": "*.demo.localhost", "proto": {"http": upstream.http_port}}}
    owner = await world.ngrokc(wild, server, settings={**dialect, "auth_token": alice}, name="alice", online=0)
    await owner.line(r"tunnel online.*\*\.demo\.localhost")
    refused = await world.ngrokc(
        {"y": {"hostname": "y.demo.localhost", "proto": {"http": upstream.http_port}}},
        server, settings={**dialect, "auth_token": bob}, name="bob", online=0,
    )  # fmt: skip
    await refused.line("reserved for another token")
    mine = {"x": {"hostname": "x.demo.localhost", "proto": {"http": upstream.http_port}}}
    await world.ngrokc(mine, server, settings={**dialect, "auth_token": bob}, name="bob2")
    for host in ("x.demo.localhost", "any.demo.localhost"):
        assert await answers(server, host) == 200
    assert [row["name"] for row in await command(server, "reservations")] == ["*.demo.localhost", "x.demo.localhost"]


async def test_on_conflict(world: World, upstream: Upstream) -> None:
    """Another agent of the same token: refused by default, evicts with takeover (and the evicted stays out), random helps."""
    server = await world.ngrokd()
    token = (await command(server, "token", "add", "alice"))["token"]
    other = (await command(server, "token", "add", "bob"))["token"]
    first = await world.ngrokc(web(upstream), server, settings={"auth_token": token}, name="first")
    second = await world.ngrokc(
        web(upstream, auth="a:b"), server, settings={"auth_token": token}, name="second", online=0
    )
    await second.line("in use by another session of this token.*on_conflict: takeover")
    await second.stop()
    thief = await world.ngrokc(
        web(upstream), server, settings={"auth_token": other, "on_conflict": "takeover"}, name="thief", online=0
    )
    await thief.line("belongs to another token|taken by another token")
    await thief.stop()
    settings: dict[str, object] = {"auth_token": token, "on_conflict": "random"}
    another = await world.ngrokc(web(upstream, auth="c:d"), server, settings=settings, name="random")
    assert another.urls["http"] != first.urls["http"]
    settings["on_conflict"] = "takeover"
    winner = await world.ngrokc(web(upstream, auth="u:p"), server, settings=settings, name="winner")
    assert winner.urls == first.urls
    await first.line("took the name over|taken_over")
    assert await answers(server, "test.localhost") == 401  # the winner's password


async def test_a_killed_server_gives_the_same_names_to_the_same_tokens(
    world: World, upstream: Upstream, dialect: Dialect
) -> None:
    server = await world.ngrokd()
    alice = (await command(server, "token", "add", "alice"))["token"]
    bob = (await command(server, "token", "add", "bob"))["token"]
    tunnels = {**web(upstream), "rnd": {"subdomain": "", "proto": {"tcp": upstream.echo_port}}}
    agent = await world.ngrokc(tunnels, server, settings={**dialect, "auth_token": alice})
    before = agent.urls
    await agent.stop()
    await trio.sleep(0.3)  # the keeper's write
    await server.kill()
    again = await world.ngrokd(name="again", like=server)
    thief = await world.ngrokc(web(upstream), again, settings={**dialect, "auth_token": bob}, name="thief", online=0)
    await thief.line("belongs to another token")
    back = await world.ngrokc(tunnels, again, settings={**dialect, "auth_token": alice}, name="back")
    assert back.urls == before


async def test_two_servers_never_share_a_state(world: World) -> None:
    server = await world.ngrokd()
    words = [
        script("ngrokd"),
        f"-stateDir={server.state}",
        "-httpAddr=127.0.0.1:0",
        "-httpsAddr=",
        "-tunnelAddr=127.0.0.1:0",
    ]
    done = await trio.run_process(words, capture_stderr=True, capture_stdout=True, check=False)
    assert done.returncode == 1
    assert f"another ngrokd (process {server.pid}) uses the state directory" in done.stderr.decode()


async def test_backup_of_a_running_server_is_that_server(world: World, upstream: Upstream, tmp_path: Path) -> None:
    server = await world.ngrokd()
    made = await command(server, "token", "add", "alice")
    await command(server, "backup", str(tmp_path / "copy.tar"))
    await server.kill()
    subprocess.run(["rm", "-rf", str(server.state)], check=True)
    os.mkdir(server.state, 0o700)
    subprocess.run(["tar", "-xf", str(tmp_path / "copy.tar"), "-C", str(server.state)], check=True)
    again = await world.ngrokd(name="again", like=server)
    await world.ngrokc(web(upstream), again, settings={"auth_token": made["token"]})  # the pin fits, too
    assert await answers(again, "test.localhost") == 200


async def stay(server: Server, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """A visitor that has been served and keeps its connection."""
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        assert (await visitor.ask("/x")).status == 200
        task_status.started()
        await trio.sleep_forever()


async def test_limits_of_a_token(world: World, upstream: Upstream, dialect: Dialect) -> None:
    """Requests per second: 429. Connections: 503. Bandwidth: slower, and whole. The log names the token, the owner is told."""
    server = await world.ngrokd()
    limits = ("--max-requests", "5", "--max-connections", "2", "--max-bandwidth", "200KB/s")
    token = (await command(server, "token", "add", "busy", *limits))["token"]
    agent = await world.ngrokc(web(upstream), server, settings={**dialect, "auth_token": token})
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        assert [(await visitor.ask("/x")).status for _ in range(5)] == [200] * 5
        assert (await visitor.ask("/x")).status == 429
        await server.line("tunnel_rate_limited.*busy|busy.*tunnel_rate_limited")
        await agent.line(r"the token busy may have 5 requests a second .*1 refused so far \(tunnel_rate_limited\)")
    await trio.sleep(1)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            await nursery.start(stay, server)
        assert await answers(server, "test.localhost") == 503
        await server.line("a token is over its limit")
        await agent.line(r"busy may have 2 visitors at a time .*\(limit_reached\)")
        nursery.cancel_scope.cancel()
    await trio.sleep(1)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        began = trio.current_time()
        answer = await visitor.ask("/bytes/400000")
        assert (answer.status, len(answer.body)) == (200, 400_000)
        assert 1.5 < trio.current_time() - began < 4

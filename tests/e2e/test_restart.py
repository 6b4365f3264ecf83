"""Either program may die and come back: the same names, ports and services are there again."""

from __future__ import annotations

import json

import pytest
import trio

from tests.kit.programs import World
from tests.kit.upstream import Upstream
from tests.kit.visitor import open_visitor

Dialect = dict[str, object]


def tunnels(upstream: Upstream) -> dict[str, dict[str, object]]:
    """A name that was asked for, a random name, a random port."""
    return {
        "test": {"proto": {"http": upstream.http_port}},
        "tcp": {"proto": {"tcp": upstream.echo_port}},
    }


async def works(urls: dict[str, str]) -> None:
    host, _, port = urls["http"].removeprefix("http://").partition(":")
    async with open_visitor(int(port), host) as visitor:
        assert json.loads((await visitor.ask("/again")).body)["target"] == "/again"
    stream = await trio.open_tcp_stream("127.0.0.1", int(urls["tcp"].rpartition(":")[2]))
    async with stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_the_server_comes_back(world: World, upstream: Upstream, dialect: Dialect, how: str) -> None:
    server = await world.ngrokd("-grace=1")
    agent = await world.ngrokc(tunnels(upstream), server, settings=dialect)
    before = agent.urls
    await works(before)
    await (server.stop() if how == "stop" else server.kill())
    agent.url_list.clear()
    again = await world.ngrokd("-grace=1", name="ngrokd-again", like=server)
    await agent.online(2)
    assert agent.urls == before
    assert again.http_port == server.http_port
    await works(before)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_the_agent_comes_back(world: World, upstream: Upstream, dialect: Dialect, how: str) -> None:
    """Its state directory is the same, so the random port is too, and the name is its own although nobody said goodbye."""
    server = await world.ngrokd()
    agent = await world.ngrokc(tunnels(upstream), server, settings=dialect)
    before = agent.urls
    await (agent.stop() if how == "stop" else agent.kill())
    again = await world.ngrokc(tunnels(upstream), server, settings=dialect)
    assert again.urls == before
    await works(before)


async def test_a_random_name_stays(world: World, upstream: Upstream) -> None:
    """Over a restart of both sides."""
    server = await world.ngrokd()
    agent = await world.start_plain(server, str(upstream.http_port))
    first = agent.urls
    await agent.stop()
    await server.stop()
    again = await world.ngrokd(name="ngrokd-again", like=server)
    assert (await world.start_plain(again, str(upstream.http_port))).urls == first


async def test_the_agent_waits_for_a_server_that_is_not_there_yet(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd()
    await server.stop()
    agent = await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server, online=0)
    await agent.line("(?i)connect|retry|reach")
    await world.ngrokd(name="ngrokd-again", like=server)
    assert await agent.online(1) == [f"http://test.localhost:{server.http_port}"]


async def test_requests_under_way_end_before_the_server_does(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd("-grace=10")
    await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        await visitor.send("/wait?gate=late")
        while not upstream.seen:
            await trio.sleep(0.01)  # until the request has reached the service
        server.process.terminate()
        await server.line("(?i)drain|stop|grace")
        upstream.gate("late").release()
        answer = await visitor.wire.answer()
        assert (answer.status, answer.body) == (200, b"the gate is open\n")
    assert await server.wait() == 0


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_who_comes_while_the_agent_is_away_is_told_to_come_back(
    world: World, upstream: Upstream, dialect: Dialect, how: str
) -> None:
    server = await world.ngrokd(https=False)
    wanted = {"test": {"proto": {"http": upstream.http_port}}}
    agent = await world.ngrokc(wanted, server, settings=dialect)
    async with open_visitor(server.http_port, "never.localhost") as visitor:
        assert (await visitor.ask("/")).status == 404
    await (agent.stop() if how == "stop" else agent.kill())
    with trio.fail_after(5):
        while True:
            async with open_visitor(server.http_port, "test.localhost") as visitor:
                answer = await visitor.ask("/")
            if answer.status == 503:
                break
            assert answer.status in (200, 502, 504)  # the server has not heard of it yet
    assert answer.head.get(b"retry-after") == b"10"
    await world.ngrokc(wanted, server, settings=dialect)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        assert (await visitor.ask("/")).status == 200

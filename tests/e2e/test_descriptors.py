"""ngrokd with few descriptors and too many visitors (C15): those who are served stay served, agents still log in, the log
stays quiet, and when the crowd leaves all is as before."""

from __future__ import annotations

import socket
import time

from tests.kit.programs import World
from tests.kit.upstream import Upstream
from tests.kit.visitor import open_visitor

ALLOWED = 256
CROWD = 600


async def test_a_crowd_larger_than_the_descriptors(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd(https=False, descriptors=ALLOWED)
    await world.ngrokc({"one": {"proto": {"http": upstream.http_port}}}, server)
    async with open_visitor(server.http_port, "one.localhost") as visitor:
        assert (await visitor.ask("/")).status == 200
        crowd = [socket.create_connection(("127.0.0.1", server.http_port)) for _ in range(CROWD)]
        began = time.monotonic()
        assert (await visitor.ask("/")).status == 200
        agent = await world.ngrokc({"two": {"proto": {"http": upstream.http_port}}}, server, name="second")
        assert agent.urls
        assert (await visitor.ask("/")).status == 200
        lasted = time.monotonic() - began
        said = [line for line in server.lines if "turned away" in line or "can't accept" in line]
        assert 1 <= len(said) <= lasted + 3
        for sock in crowd:
            sock.close()
    async with open_visitor(server.http_port, "two.localhost") as visitor:
        assert (await visitor.ask("/")).status == 200

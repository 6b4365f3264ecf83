"""The operator's calls on a running server, without HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ngrokd.admin.operator import Operator
from protocol.errors import Fault
from tests.kit.adminworld import open_admin
from tests.kit.classic_client import ClassicClient, Wish
from tests.ngrokd.test_server import get, trusting


async def answer(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"hi" * 500)
    await trio.sleep_forever()


async def test_what_went_through_is_seen(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as world, trio.open_nursery() as nursery:
        operator = world.server.office.operator
        assert isinstance(operator, Operator)
        local = await nursery.start(
            lambda task_status: trio.serve_tcp(answer, 0, host="127.0.0.1", task_status=task_status)
        )
        port = world.server.addresses["tunnel"][0].port
        wish = Wish(("127.0.0.1", local[0].socket.getsockname()[1]), "http", subdomain="one")
        nursery.start_soon(ClassicClient(("127.0.0.1", port), trusting(), wish).run)
        with trio.fail_after(10):
            while not list(world.server.registry.tunnels()):
                await trio.sleep(0.01)
            operator.look()
            await get(world.server.addresses["http"][0].port, "one.localhost")
            while not operator.status()["statuses"]["2xx"]:
                await trio.sleep(0.01)
        operator.look()
        (row,) = operator.tunnels()
        assert row["down"] > 1000
        assert row["connections"] == 1
        assert row["rates"]["down"] > 0
        assert operator.talkers()[0]["url"] == row["url"]
        assert operator.status()["latency_ms"]["p50"] is not None
        nursery.cancel_scope.cancel()


async def test_who_is_not_there(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as world:
        operator = world.server.office.operator
        assert operator is not None
        with pytest.raises(Fault):
            operator.session("nobody")
        with pytest.raises(Fault):
            operator.lift("client:nobody", by="test")
        operator._books = None
        with pytest.raises(Fault, match="keeps no tokens"):
            _ = operator.books
        assert operator.connections(5) == []

"""What the operator's view reads of a server."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from tests.kit.adminworld import open_admin


async def test_a_house_without_guests(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as world:
        operator = world.server.office.operator
        assert operator is not None
        house = operator.house
        assert house.pid == os.getpid()
        assert house.visitors() == {"http": 0, "https": 0, "tcp": 0}
        assert set(house.addresses()) == {"http", "https", "tunnel", "admin"}
        assert house.fingerprint().startswith("sha256:")
        assert (house.expires() or 0) > house.started
        assert (house.version, house.domain, house.dropped()) != ("", "", 1)
        assert list(house.moving()) == []
        stream = await trio.open_tcp_stream("127.0.0.1", world.server.addresses["http"][0].port)
        async with stream:
            with trio.fail_after(5):
                while not (rows := list(house.connections())):
                    await trio.sleep(0.01)
        assert rows[0]["state"] == "head"
        assert rows[0]["url"] is None

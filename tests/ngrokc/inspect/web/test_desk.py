from __future__ import annotations

import trio
from starlette.requests import Request

from ngrokc.inspect.web.app import make_app
from ngrokc.inspect.web.desk import desk_of
from tests.kit.inspection import open_inspection


async def test_every_handler_finds_it() -> None:
    async with open_inspection() as it, trio.open_nursery() as nursery:
        desk = it.inspector._desk(it.agent, nursery)
        request = Request({"type": "http", "app": make_app(desk), "headers": []})
        assert desk_of(request) is desk

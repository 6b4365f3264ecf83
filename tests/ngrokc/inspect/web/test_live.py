from __future__ import annotations

import json
from typing import Any

import trio
from trio_websocket import open_websocket_url

from ngrokc.inspect.settings import InspectSettings, Limits
from tests.kit.inspection import Inspection, open_inspection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n\r\n".encode()


def connect(it: Inspection) -> Any:
    url = it.inspector.base_url.replace("http", "ws") + "/api/live"
    return open_websocket_url(
        url, extra_headers=[(b"authorization", f"Bearer {it.inspector.token.secret.reveal()}".encode())]
    )


async def next_of(socket: Any, kind: str) -> dict[str, Any]:
    with trio.fail_after(10):
        while True:
            message: dict[str, Any] = json.loads(await socket.get_message())
            if message["type"] == kind:
                return message


async def test_list_changes_filter_and_clear() -> None:
    async with open_inspection() as it:
        it.send(get("/one"), OK)
        async with connect(it) as socket:
            assert [row["path"] for row in (await next_of(socket, "list"))["rows"]] == ["/one"]
            assert (await next_of(socket, "session"))["state"] == "online"
            it.send(get("/two"), OK)
            changes = await next_of(socket, "changes")
            assert [(row["path"], row["state"]) for row in changes["rows"]] == [("/two", "done")]
            await socket.send_message("not JSON")
            await socket.send_message('{"q": "path:/one"}')
            assert [row["path"] for row in (await next_of(socket, "list"))["rows"]] == ["/one"]
            hidden = it.send(get("/three"), OK)
            assert (await next_of(socket, "changes"))["gone"] == [hidden]
            it.inspector.store.clear()
            assert (await next_of(socket, "changes"))["cleared"]


async def test_a_stalled_page_costs_itself_updates_only() -> None:
    settings = InspectSettings(port=0, limits=Limits(tunnel_exchanges=5000))  # or some would be missed
    async with open_inspection(settings=settings) as it, connect(it) as socket:
        await next_of(socket, "list")
        for number in range(5000):
            it.send(get(f"/{number}" + "x" * 500), OK)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(it.inspector.store) <= it.inspector.settings.limits.exchanges
        with trio.fail_after(20):
            while not any("/4999" in row["path"] for row in (await next_of(socket, "changes"))["rows"]):
                pass

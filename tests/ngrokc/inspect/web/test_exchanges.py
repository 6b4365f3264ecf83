from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import trio

from ngrokc.inspect.model import Exchange
from protocol.address import Upstream
from tests.kit.inspection import Inspection, open_inspection
from tests.kit.upstream import Upstream as Service
from tests.kit.upstream import open_upstream

GET = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n"
POST = b"POST /echo?x=1 HTTP/1.1\r\nHost: public.example.me\r\nX-Odd: 1\r\nContent-Length: 4\r\nCookie: a=b\r\n\r\n\x00\xffhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def to(service: Service) -> Upstream:
    return Upstream("tcp", "127.0.0.1", service.ports["http"])


async def replay(it: Inspection, id_: str, **body: object) -> httpx.Response:
    return await it.client.post(f"/api/exchanges/{id_}/replay", json=body)


async def over(it: Inspection, id_: str) -> Exchange:
    """The exchange, once it has ended."""
    with trio.fail_after(10):
        while (exchange := it.inspector.store.exchange(id_)) is None or not exchange.over:
            await trio.lowlevel.checkpoint()
    return exchange


async def test_a_replay_goes_to_the_upstream_as_it_was() -> None:
    async with open_upstream() as service, open_inspection(to(service)) as it:
        first = it.send(POST, OK)
        made = await replay(it, first)
        assert made.status_code == 201
        exchange = await over(it, made.json()["id"])
        assert (exchange.status, exchange.state, exchange.origin.replay_of) == (200, "done", first)
        assert exchange.answer is not None
        seen: dict[str, Any] = json.loads(exchange.answer.body.read())
        assert (seen["method"], seen["target"], seen["body"]) == ("POST", "/echo?x=1", "\x00\xffhi")
        assert ["Host", "public.example.me"] in seen["fields"]
        assert ["X-Odd", "1"] in seen["fields"]
        shown = await it.json("/api/exchanges?q=is:replay")
        assert [row["id"] for row in shown["exchanges"]] == [exchange.id]


async def test_n_times_and_edited() -> None:
    async with open_upstream() as service, open_inspection(to(service)) as it:
        first = it.send(POST, OK)
        made = await replay(it, first, times=3, method="PUT", path="/new", headers=[["X-A", "1"]], body="text")
        await over(it, made.json()["id"])
        with trio.fail_after(10):
            while len(service.seen) < 3:
                await trio.lowlevel.checkpoint()
        assert {(head.method, head.target) for head in service.seen} == {(b"PUT", b"/new")}
        encoded = await replay(it, first, body_base64=base64.b64encode(b"\x01").decode())
        exchange = await over(it, encoded.json()["id"])
        assert exchange.request.body.read() == b"\x01"


async def test_bad_edits() -> None:
    async with open_upstream() as service, open_inspection(to(service)) as it:
        first = it.send(POST, OK)
        for edit in (
            {"path": "http://evil.test/"}, {"path": "/a b"}, {"path": "/a\r\nHost: evil"}, {"method": "G T"},
            {"method": "CONNECT"}, {"headers": [["A", "b\r\nC: d"]]}, {"headers": [["A b", "c"]]}, {"headers": "x"},
            {"headers": [["a"]]}, {"body_base64": "%"}, {"times": 0}, {"times": 101}, {"times": "1"}, {"times": True},
            {"upstream": "evil.test:80"},
        ):  # fmt: skip
            assert (await replay(it, first, **edit)).status_code == 400, edit
        assert service.seen == []


async def test_what_cannot_be_replayed() -> None:
    async with open_upstream() as service, open_inspection(to(service)) as it:
        first = it.send(POST, OK)
        it.agent.routes.clear()
        assert "not open" in (await replay(it, first)).json()["msg"]


async def test_a_replay_that_finds_nobody_is_shown_as_failed() -> None:
    async with open_inspection() as it:
        made = await replay(it, it.send(GET, OK))
        exchange = await over(it, made.json()["id"])
        assert (exchange.state, exchange.failure) == ("failed", "upstream: nothing listens there")


async def test_bodies_in_every_form() -> None:
    async with open_inspection() as it:
        id_ = it.send(POST, OK)
        base = f"/api/exchanges/{id_}/request/body"
        download = await it.client.get(base)
        assert download.content == b"\x00\xffhi"
        assert download.headers["content-disposition"].startswith("attachment")
        assert download.headers["content-type"] == "application/octet-stream"
        assert (await it.json(f"{base}?as=hex"))["rows"] == [["00000000", "00 ff 68 69", "..hi"]]
        raw = await it.json(f"{base}?as=raw")
        assert raw["text"].startswith("POST /echo?x=1 HTTP/1.1\r\nHost: public")
        assert "a=********" in raw["text"]
        edit = await it.json(f"{base}?as=edit")
        assert (edit["text"], edit["size"], edit["path"]) == (None, 4, "/echo?x=1")
        assert (await it.client.get(f"/api/exchanges/{id_}/other/body")).status_code == 404
        assert (await it.client.get(f"/api/exchanges/{id_}/copy?as=perl")).status_code == 400


async def test_har_out_and_in() -> None:
    async with open_inspection() as it:
        it.send(POST, OK)
        data = (await it.client.get("/api/har")).content
        headers = {"content-type": "application/json"}
        made = await it.client.post("/api/har", content=data, headers=headers)
        assert made.json() == {"imported": 1}
        newest = next(it.inspector.store.newest())
        assert isinstance(newest, Exchange)
        assert (newest.origin.tunnel, newest.method, newest.status) == ("imported", "POST", 200)
        it.route.name = "imported"  # a tunnel of this name is somebody else's all the same
        refused = await replay(it, newest.id)
        assert (refused.status_code, "from a file" in refused.text) == (400, True)
        shown = await it.json(f"/api/exchanges/{newest.id}")
        assert (shown["connection"], "from a file" in shown["obstacle"]) == ("imported", True)


async def test_sizes_of_bodies_are_capped() -> None:
    async with open_inspection() as it:
        assert it.inspector.address is not None
        stream = await trio.open_tcp_stream(*it.inspector.address)
        async with stream:
            head = f"POST /api/clear HTTP/1.1\r\nHost: 127.0.0.1:{it.inspector.address[1]}\r\n"
            head += f"Authorization: Bearer {it.inspector.token.secret.reveal()}\r\n"
            head += "Content-Type: application/json\r\nContent-Length: 2000000\r\n\r\n"
            await stream.send_all(head.encode())
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 413 ")

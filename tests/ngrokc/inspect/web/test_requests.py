from __future__ import annotations

import base64

from protocol.address import Upstream
from tests.kit.inspection import open_inspection
from tests.kit.upstream import open_upstream

POST = b"POST /p?q=1 HTTP/1.1\r\nHost: t\r\nauthorization: Basic canary\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nx-a: 1\r\n\r\nok"


async def test_the_shape_that_tools_know() -> None:
    async with open_inspection() as it:
        id_ = it.send(POST, OK)
        (found,) = (await it.json("/api/requests/http"))["requests"]
        assert (found["id"], found["tunnel_name"], found["remote_addr"]) == (id_, "test", "203.0.113.7")
        assert found["request"]["headers"]["Authorization"] == ["Basic ********"]
        assert found["response"]["status"] == "201 Created"
        assert base64.b64decode(found["response"]["raw"]) == OK
        assert b"canary" not in base64.b64decode(found["request"]["raw"])
        shown = await it.json(f"/api/requests/http/{id_}?reveal=1")
        assert base64.b64decode(shown["request"]["raw"]) == POST
        assert (await it.json("/api/requests/http?tunnel_name=other"))["requests"] == []
        assert (await it.json("/api/requests/http?limit=0"))["requests"] == []
        assert (await it.client.get("/api/requests/http?limit=x")).status_code == 400
        assert (await it.client.delete("/api/requests/http")).status_code == 204
        assert (await it.json("/api/requests/http"))["requests"] == []


async def test_replay_to_its_own_tunnel_only() -> None:
    async with open_upstream() as upstream, open_inspection(Upstream("tcp", "127.0.0.1", upstream.ports["http"])) as it:
        id_ = it.send(POST, OK)
        wrong = await it.client.post("/api/requests/http", json={"id": id_, "tunnel_name": "other"})
        assert wrong.status_code == 400
        assert (await it.client.post("/api/requests/http", json={"id": id_})).status_code == 204
        assert [head.target for head in upstream.seen] in ([], [b"/p?q=1"])

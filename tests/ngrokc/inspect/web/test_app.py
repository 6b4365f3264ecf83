"""The OpenAPI file says what the API does: every route stands in it, every answer fits its schema."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jsonschema
import pytest

from ngrokc.inspect.model import Connection
from ngrokc.inspect.web.app import API, static_files
from tests.kit.inspection import ORIGIN, Inspection, open_inspection

DOCUMENT: dict[str, Any] = json.loads(static_files()["openapi.json"])
GET = b"GET /a?token=canary&x=1 HTTP/1.1\r\nHost: t\r\nCookie: a=canary\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\nSet-Cookie: s=canary\r\n\r\n{"a": 1}'


def check(method: str, path: str, answer: httpx.Response) -> Any:
    """The answer's JSON, once it fits what the document says."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    described = responses.get(str(answer.status_code), responses["default"])
    content = described.get("content")
    if content is None:
        assert answer.content == b""
        return None
    schema = content.get("application/json", {"schema": {}})["schema"]
    value = answer.json()
    jsonschema.validate(value, {**schema, "components": DOCUMENT["components"]})
    return value


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == {(method, path) for method, path, _ in API}
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            inside = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert inside == {part[1:-1] for part in path.split("/") if part.startswith("{")}


async def ask(it: Inspection, path: str, **values: str) -> Any:
    answer = await it.client.get(path.format(**values))
    assert answer.status_code == 200, answer.text
    return check("get", path, answer)


async def test_answers_fit_their_schemas() -> None:
    async with open_inspection() as it:
        done = it.send(GET, OK)
        failed = it.send(GET, reason="visitor: gone")
        websocket = it.send(
            b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
        )
        for path in ("/api/tunnels", "/api/status", "/api/requests/http", "/api/exchanges", "/api/session"):
            value = await ask(it, path)
            assert "canary" not in json.dumps(value)
        connection = Connection("0123456789abcdef", ORIGIN, 10.0)
        it.inspector.store.add(connection)
        assert (await ask(it, "/api/exchanges/{id}", id=connection.id))["kind"] == "refused"
        for id_ in (done, failed, websocket):
            for path in ("/api/requests/http/{id}", "/api/exchanges/{id}", "/api/exchanges/{id}/copy"):
                value = await ask(it, path, id=id_)
                assert "canary" not in json.dumps(value)
        await ask(it, "/api/tunnels/{name}", name="test")
        await ask(it, "/api/exchanges/{id}/diff/{other}", id=done, other=failed)
        har = await ask(it, "/api/har")
        assert "canary" not in json.dumps(har)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "/api/tunnels/{name}", None),
        ("delete", "/api/tunnels/{name}", None),
        ("get", "/api/requests/http/{id}", None),
        ("get", "/api/exchanges/{id}", None),
        ("post", "/api/tunnels", {}),
        ("post", "/api/tunnels", {"addr": 80, "surprise": 1}),
        ("post", "/api/tunnels", {"addr": True}),
        ("post", "/api/tunnels", {"addr": 80, "proto": "udp"}),
        ("post", "/api/tunnels", {"addr": 80, "name": "a/b"}),
        ("post", "/api/requests/http", {"id": "nope"}),
        ("post", "/api/exchanges/{id}/replay", {"times": 1}),
        ("post", "/api/clear", {"x": 1}),
        ("post", "/api/har", {"log": {}}),
    ],
)
async def test_mistakes_are_answered_in_the_known_shape(method: str, path: str, body: object) -> None:
    async with open_inspection() as it:
        answer = await it.client.request(method, path.format(name="nope", id="nope"), json=body)
        assert 400 <= answer.status_code < 500
        assert set(check(method, path, answer)) == {"error_code", "status_code", "msg", "details"}


async def test_pages_and_files() -> None:
    async with open_inspection() as it:
        page = await it.client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert '<script type="module" src="/static/app.js">' in page.text
        for name in static_files():
            assert (await it.client.get(f"/static/{name}")).status_code == 200
        for path in ("/static/..%2f__init__.py", "/static/x.js", "/nothing", "/api/nothing"):
            assert (await it.client.get(path)).status_code == 404
        for path in ("/http/in", "/inspect/http"):
            assert (await it.client.get(path)).headers["location"] == "/"


def test_the_page_asks_no_other_host_for_anything() -> None:
    for name, data in static_files().items():
        text = data.decode()
        if name.endswith((".js", ".css", ".html")):
            for mark in ("https://", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "style="):
                assert mark not in text, (name, mark)

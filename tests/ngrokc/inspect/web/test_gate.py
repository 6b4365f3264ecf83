"""Every line of D-B1 to D-B3: each refusal, over the real server, on every route that the application has."""

from __future__ import annotations

import httpx
import pytest
import trio
from starlette.routing import Route, WebSocketRoute

from ngrokc.inspect.settings import InspectSettings
from ngrokc.inspect.web.app import routes
from ngrokc.inspect.web.gate import HEADERS
from protocol.websafe import allowed_hosts
from tests.kit.inspection import Inspection, open_inspection


async def ask(
    it: Inspection, headers: dict[str, str], path: str = "/api/session", method: str = "GET"
) -> httpx.Response:
    """A request with nothing but these headers."""
    async with httpx.AsyncClient(base_url=it.inspector.base_url, trust_env=False) as client:
        return await client.request(method, path, headers=headers)


def port(it: Inspection) -> int:
    assert it.inspector.address is not None
    return it.inspector.address[1]


def bearer(it: Inspection) -> str:
    return f"Bearer {it.inspector.token.secret.reveal()}"


async def test_hosts() -> None:
    async with open_inspection() as it:
        number = port(it)
        good = [f"127.0.0.1:{number}", f"localhost:{number}", f"LOCALHOST:{number}", f"[::1]:{number}"]
        bad = ["evil.test", f"evil.test:{number}", f"0.0.0.0:{number}", "", f"localhost.:{number}", "localhost",
               "127.0.0.1:1",
               f"127.0.0.1:{number}@evil.test", f"x.localhost:{number}", f"127.1:{number}",
               f"localhost:{number},evil.test"]  # fmt: skip
        for host in good:
            assert (await ask(it, {"authorization": bearer(it), "host": host})).status_code == 200, host
        for host in bad:
            answer = await ask(it, {"authorization": bearer(it), "host": host})
            assert answer.status_code in (400, 403), host
            assert "evil" not in answer.text


async def test_without_a_token_every_route_says_401() -> None:
    async with open_inspection() as it:
        for route in routes():
            if isinstance(route, WebSocketRoute):
                continue
            assert isinstance(route, Route)
            path = (
                route.path.replace("{name}", "x")
                .replace("{id}", "x")
                .replace("{side}", "request")
                .replace("{other}", "x")
            )
            for method in (route.methods or {"GET"}) - {"HEAD"}:
                answer = await ask(it, {"content-type": "application/json"}, path, method)
                free = method == "GET" and path in ("/api/tunnels", "/api/status")
                assert answer.status_code == (200 if free else 401), (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:{port}"},
        {"origin": "http://localhost:{port}"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=203.0.113.7"},
        {"via": "1.1 x"},
    ],
)
async def test_other_sites_and_tunnels_are_refused_even_with_the_token(headers: dict[str, str]) -> None:
    async with open_inspection() as it:
        filled = {name: value.format(port=port(it)) for name, value in headers.items()}
        for path in ("/api/session", "/api/tunnels", "/api/status", "/"):
            answer = await ask(it, {"authorization": bearer(it), **filled}, path)
            assert answer.status_code == 403, path


async def test_changes_need_json() -> None:
    async with open_inspection() as it:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            answer = await ask(it, {"authorization": bearer(it), "content-type": kind}, "/api/clear", "POST")
            assert answer.status_code == 415
        assert (await it.client.post("/api/clear", json={})).status_code == 200
        for method in ("PUT", "PATCH"):
            answer = await ask(
                it, {"authorization": bearer(it), "content-type": "application/json"}, "/api/clear", method
            )
            assert answer.status_code == 405


async def test_the_token_in_the_url_becomes_a_strict_cookie() -> None:
    async with open_inspection() as it, httpx.AsyncClient(base_url=it.inspector.base_url, trust_env=False) as client:
        assert (await client.get("/")).status_code == 401
        assert (await client.get("/?token=wrong")).status_code == 401
        welcome = await client.get(it.inspector.login_url)
        cookie = welcome.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert it.inspector.token.secret.reveal().lower() not in cookie
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/api/session")).status_code == 200
        cross = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert (await client.get("/", headers=cross)).status_code == 200
        assert (await client.get("/api/session", headers=cross)).status_code == 403


async def test_open_api_lets_programs_in_but_no_pages() -> None:
    async with open_inspection(settings=InspectSettings(port=0, open_api=True)) as it:
        assert (await ask(it, {})).status_code == 200
        assert (await ask(it, {}, "/")).status_code == 401
        assert (await ask(it, {"host": "evil.test"})).status_code == 403
        assert (await ask(it, {"origin": "http://evil.test"})).status_code == 403
        assert (await ask(it, {"sec-fetch-site": "cross-site"})).status_code == 403


async def test_every_answer_has_the_headers() -> None:
    async with open_inspection() as it:
        for headers, path in (({}, "/api/x"), ({"authorization": bearer(it)}, "/"), ({"host": "evil.test"}, "/")):
            answer = await ask(it, headers, path)
            for name, value in HEADERS.items():
                assert answer.headers[name] == value


async def test_a_websocket_from_elsewhere_is_refused() -> None:
    async with open_inspection() as it:
        number = port(it)
        base = f"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1:{number}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        base += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        token = f"Authorization: {bearer(it)}\r\n"
        cases = {token: b"101", "": b"403", token + "Origin: http://evil.test\r\n": b"403"}
        for extra, status in cases.items():
            stream = await trio.open_tcp_stream("127.0.0.1", number)
            async with stream:
                await stream.send_all((base + extra + "\r\n").encode())
                assert (await stream.receive_some(1000)).split(b" ")[1] == status


def test_the_list_of_hosts() -> None:
    assert allowed_hosts("192.0.2.1", 4040, ("Box.lan:4040",)) == {
        "localhost:4040",
        "127.0.0.1:4040",
        "[::1]:4040",
        "192.0.2.1:4040",
        "box.lan:4040",
    }
    assert "0.0.0.0:4040" not in allowed_hosts("0.0.0.0", 4040)
    assert "localhost" in allowed_hosts("127.0.0.1", 80)

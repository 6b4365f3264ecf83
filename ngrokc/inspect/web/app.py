"""The application: routes behind the gate, static files out of the package."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from ngrokc.inspect.web import exchanges, requests, tunnels
from ngrokc.inspect.web.desk import Desk
from ngrokc.inspect.web.gate import Gate
from ngrokc.inspect.web.live import live
from ngrokc.inspect.web.reply import Handler, api, error

TYPES: Final = MappingProxyType({
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
})  # fmt: skip

API: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/api/", tunnels.show_root),
    ("GET", "/api/tunnels", tunnels.list_tunnels),
    ("POST", "/api/tunnels", tunnels.open_tunnel),
    ("GET", "/api/tunnels/{name}", tunnels.show_tunnel),
    ("DELETE", "/api/tunnels/{name}", tunnels.close_tunnel),
    ("GET", "/api/tunnels/{name}/qr", tunnels.tunnel_qr),
    ("GET", "/api/status", tunnels.show_status),
    ("GET", "/api/requests/http", requests.list_requests),
    ("POST", "/api/requests/http", requests.replay_request),
    ("DELETE", "/api/requests/http", requests.forget_requests),
    ("GET", "/api/requests/http/{id}", requests.show_request),
    ("GET", "/api/exchanges", exchanges.list_exchanges),
    ("GET", "/api/exchanges/{id}", exchanges.show_exchange),
    ("GET", "/api/exchanges/{id}/{side}/body", exchanges.show_body),
    ("GET", "/api/exchanges/{id}/copy", exchanges.copy_request),
    ("POST", "/api/exchanges/{id}/replay", exchanges.replay_exchange),
    ("GET", "/api/exchanges/{id}/diff/{other}", exchanges.diff_exchanges),
    ("POST", "/api/clear", exchanges.clear_exchanges),
    ("GET", "/api/har", exchanges.export_har),
    ("POST", "/api/har", exchanges.import_har),
    ("GET", "/api/session", exchanges.show_session),
)


@functools.cache
def static_files() -> MappingProxyType[str, bytes]:
    """Every file of the page by name; read once, so no request names a path."""
    folder = importlib.resources.files("assets").joinpath("inspect")
    return MappingProxyType(
        {item.name: item.read_bytes() for item in folder.iterdir() if "." + item.name.rpartition(".")[2] in TYPES}
    )


def static(name: str) -> Response:
    data = static_files().get(name)
    if data is None:
        return error(404, "there is nothing here")
    return Response(data, media_type=TYPES["." + name.rpartition(".")[2]])


async def page(_request: Request) -> Response:
    return static("index.html")


async def file(request: Request) -> Response:
    return static(request.path_params["name"])


async def icon(_request: Request) -> Response:
    return static("icon.svg")


async def openapi(_request: Request) -> Response:
    """GET /api/openapi.json"""
    return static("openapi.json")


async def old_page(_request: Request) -> Response:
    """Where 1.x and ngrok have their page."""
    return RedirectResponse("/", status_code=302)


async def nothing(_request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    return error(status, "there is nothing here" if status == 404 else "this can't be done here")


async def broken(_request: Request, _problem: Exception) -> Response:
    return error(500, "the inspector failed at this; traffic is not affected")


def routes() -> Iterator[BaseRoute]:
    yield Route("/", page)
    for path in ("/http/in", "/inspect/http"):
        yield Route(path, old_page)
    yield Route("/favicon.ico", icon)
    yield Route("/static/{name}", file)
    yield Route("/api/openapi.json", openapi)
    yield WebSocketRoute("/api/live", live)
    for method, path, handler in API:
        yield Route(path, api(handler), methods=[method])


def make_app(desk: Desk) -> Starlette:
    """The whole application for one inspector."""
    app = Starlette(
        routes=list(routes()),
        middleware=[Middleware(Gate, desk.token, desk.hosts, desk.settings.open_api)],
        exception_handlers={HTTPException: nothing, 500: broken},
    )
    app.state.desk = desk
    return app

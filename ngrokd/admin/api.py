"""The operator's API over HTTP: JSON in, JSON out, as `assets/admin/openapi.json` says. Thin: the calls are `operator`'s.

Who may use it is `entry`'s business, which stands in front. Errors have one shape: `{"code", "message"}` and maybe `hint`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ngrokd.admin import show
from ngrokd.admin.entry import Entry, log_out, refuse
from ngrokd.admin.metrics import CONTENT_TYPE, Exporter
from ngrokd.admin.operator import MAX_CONNECTIONS, Operator
from ngrokd.admin.wishes import ban_wish, body, name_in_path, reservation_wish, token_wish
from ngrokd.grants import CHANGEABLE, parse_changes
from protocol.errors import ConfigError, Fault
from protocol.link.logs import Log

Handler = Callable[[Request], Awaitable[Response]]

STATUSES: Final = {
    "no_such_session": 404, "no_such_ban": 404, "no_such_token": 404, "no_such_reservation": 404, "no_store": 404,
    "token_exists": 409, "name_taken": 409, "config": 409,
    "store_full": 503, "store_readonly": 503, "store_failed": 503, "body_too_large": 413,
}  # fmt: skip
FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/admin.js": ("admin.js", "text/javascript; charset=utf-8"),
    "/format.js": ("format.js", "text/javascript; charset=utf-8"),
    "/admin.css": ("admin.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/openapi.json": ("openapi.json", "application/json"),
}


def build_app(operator: Operator, log: Log, entry: Callable[[Any], Entry]) -> Entry:
    """The whole application behind its `entry`, which is told of it."""
    api = Api(operator, Exporter(operator), log)
    app = Starlette(
        routes=[
            *[Route(path, _file(name, kind), methods=["GET"]) for path, (name, kind) in FILES.items()],
            *api.routes(),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    guarded = entry(app)
    app.state.entry = guarded
    return guarded


class Api:
    """The handlers."""

    def __init__(self, operator: Operator, exporter: Exporter, log: Log) -> None:
        self._operator = operator
        self._exporter = exporter
        self._log = log

    def routes(self) -> Sequence[Route]:
        found: list[tuple[str, str, Handler]] = [
            ("GET", "/healthz", self.healthz),
            ("GET", "/readyz", self.readyz),
            ("POST", "/login", self.log_in),
            ("POST", "/logout", self.log_out),
            ("GET", "/metrics", self.metrics),
            ("GET", "/api/version", self.version),
            ("GET", "/api/status", self.status),
            ("GET", "/api/sessions", self.sessions),
            ("GET", "/api/sessions/{id}", self.session),
            ("POST", "/api/sessions/{id}/kick", self.kick),
            ("GET", "/api/tunnels", self.tunnels),
            ("GET", "/api/connections", self.connections),
            ("GET", "/api/bans", self.bans),
            ("DELETE", "/api/bans/{id}", self.lift),
            ("GET", "/api/tokens", self.tokens),
            ("POST", "/api/tokens", self.add_token),
            ("PATCH", "/api/tokens/{id}", self.limit_token),
            ("POST", "/api/tokens/{id}/rotate", self.rotate_token),
            ("DELETE", "/api/tokens/{id}", self.revoke_token),
            ("GET", "/api/reservations", self.reservations),
            ("POST", "/api/reservations", self.reserve),
            ("DELETE", "/api/reservations/{kind}/{name}", self.unreserve),
            ("POST", "/api/drain", self.drain),
            ("POST", "/api/reload", self.reload),
        ]
        return [Route(path, self._guarded(handler), methods=[method]) for method, path, handler in found]

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except Fault as fault:
                code = "config" if isinstance(fault, ConfigError) else fault.code
                return _fault(STATUSES.get(code, 400), code, fault)
            except Exception:  # noqa: BLE001 - logged with its trace; the caller gets fixed words
                self._log.exception("the operator's API failed: a defect of the server")
                return refuse(500, "internal", "something in the server went wrong; its log has more")

        return guarded

    # -- health
    async def healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        if self._operator.draining:
            return JSONResponse({"status": "draining"}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def metrics(self, _request: Request) -> Response:
        return Response(self._exporter.text(), headers={"content-type": CONTENT_TYPE})

    # -- the page's cookie
    async def log_in(self, request: Request) -> Response:
        wish = await body(request, ("token",))
        entry: Entry = request.app.state.entry
        return entry.log_in(str(wish.get("token", "")), request.headers.get("host", ""), _by(request))

    async def log_out(self, request: Request) -> Response:
        return log_out(request.headers.get("host", ""))

    # -- reading
    async def version(self, _request: Request) -> Response:
        return JSONResponse({"version": self._operator.house.version})

    async def status(self, _request: Request) -> Response:
        return JSONResponse(self._operator.status())

    async def sessions(self, _request: Request) -> Response:
        return JSONResponse({"sessions": self._operator.sessions()})

    async def session(self, request: Request) -> Response:
        session_id = self._operator.session(request.path_params["id"]).id
        return JSONResponse(next(row for row in self._operator.sessions() if row["id"] == session_id))

    async def tunnels(self, _request: Request) -> Response:
        return JSONResponse({"tunnels": self._operator.tunnels()})

    async def connections(self, request: Request) -> Response:
        text = request.query_params.get("limit", str(MAX_CONNECTIONS))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_CONNECTIONS and len(text) < 9):
            raise Fault("bad_argument", f"limit is a number from 1 to {MAX_CONNECTIONS}")
        return JSONResponse({"connections": self._operator.connections(int(text))})

    # -- kicking
    async def kick(self, request: Request) -> Response:
        seconds, ban = ban_wish(await body(request, ("seconds", "ban")))
        return JSONResponse(self._operator.kick(request.path_params["id"], seconds, ban, by=_by(request)))

    async def bans(self, _request: Request) -> Response:
        return JSONResponse({"bans": self._operator.banned()})

    async def lift(self, request: Request) -> Response:
        self._operator.lift(request.path_params["id"], by=_by(request))
        return Response(status_code=204)

    # -- tokens and reservations
    async def tokens(self, _request: Request) -> Response:
        return JSONResponse({"tokens": [show.token(record) for record in await self._operator.books.tokens()]})

    async def add_token(self, request: Request) -> Response:
        wish = token_wish(await body(request, TOKEN_KEYS))
        made = self._operator.books.add_token(wish.name, wish.scope, wish.lifetime)
        record, text = await self._operator.change("token added", made, by=_by(request), token=wish.name)
        return JSONResponse({"token": show.token(record), "text": text.reveal()}, status_code=201)

    async def limit_token(self, request: Request) -> Response:
        token_id = request.path_params["id"]
        changes = parse_changes(await body(request, CHANGEABLE))
        made = self._operator.books.limit_token(token_id, changes)
        details = {"token": token_id, "limits": ", ".join(sorted(changes))}
        record = await self._operator.change("token changed", made, by=_by(request), **details)
        return JSONResponse({"token": show.token(record)})

    async def rotate_token(self, request: Request) -> Response:
        token_id = request.path_params["id"]
        made = self._operator.books.rotate_token(token_id)
        record, text = await self._operator.change("token rotated", made, by=_by(request), token=token_id)
        return JSONResponse({"token": show.token(record), "text": text.reveal()})

    async def revoke_token(self, request: Request) -> Response:
        token_id = request.path_params["id"]
        made = self._operator.books.revoke_token(token_id)
        await self._operator.change("token revoked", made, by=_by(request), token=token_id)
        return Response(status_code=204)

    async def reservations(self, _request: Request) -> Response:
        found = await self._operator.books.reservations()
        return JSONResponse({"reservations": [show.reservation(entry) for entry in found]})

    async def reserve(self, request: Request) -> Response:
        name, token_id = reservation_wish(await body(request, ("kind", "name", "token")))
        made = self._operator.books.reserve(name, token_id)
        found = await self._operator.change("name reserved", made, by=_by(request), name=str(name), token=token_id)
        return JSONResponse(show.reservation(found), status_code=201)

    async def unreserve(self, request: Request) -> Response:
        name = name_in_path(request.path_params["kind"], request.path_params["name"])
        made = self._operator.books.unreserve(name)
        await self._operator.change("name unreserved", made, by=_by(request), name=str(name))
        return Response(status_code=204)

    # -- the server
    async def drain(self, request: Request) -> Response:
        await body(request, ())
        self._operator.drain(by=_by(request))
        return JSONResponse({"state": "draining"}, status_code=202)

    async def reload(self, request: Request) -> Response:
        await body(request, ())
        return JSONResponse(await self._operator.reload(by=_by(request)))


TOKEN_KEYS: Final = (
    "name", "lifetime", "allow_hosts", "allow_ports", "max_tunnels", "max_sessions", "max_connections",
    "max_requests", "max_bandwidth",
)  # fmt: skip


def _by(request: Request) -> str:
    return str(request.scope.get("by", ""))


def _fault(status: int, code: str, fault: Fault) -> JSONResponse:
    answer = {"code": code, "message": fault.message, **({"hint": fault.hint} if fault.hint else {})}
    return JSONResponse(answer, status_code=status)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "not_allowed"}.get(error.status_code, "bad_request")
    message = {404: "there is nothing here", 405: "this is not done so"}.get(error.status_code, "this makes no sense")
    return JSONResponse({"code": code, "message": message}, error.status_code, headers=dict(error.headers or {}))


def _file(name: str, kind: str) -> Handler:
    data = resources.files("assets").joinpath("admin", name).read_bytes()

    async def send(_request: Request) -> Response:
        return Response(data, headers={"content-type": kind})

    return send


def openapi() -> Any:
    """The API's description."""
    return json.loads(resources.files("assets").joinpath("admin", "openapi.json").read_bytes())

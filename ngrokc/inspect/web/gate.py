"""Who may come in: Host, Origin, fetch metadata, token or cookie, JSON only. In front of every route, page and WebSocket.

Loopback proves nothing: any page in the user's browser can send requests there, a name can be made to resolve there, and a
tunnel can end there. So each request must name us as its Host, must not come from another site, must not have come through
a proxy or tunnel, and must bring the token.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ngrokc.inspect.access import Token
from protocol.address import format_address
from protocol.websafe import SAFE_METHODS, SECURITY_HEADERS, came_through_proxy, from_own_page, is_json

OPEN_READS: Final = ("/api/tunnels", "/api/status")
"""Without a token for programs on this machine, as ngrok has it; never for pages of another site."""
COOKIE_AGE: Final = 7 * 86400

_POLICY: Final = "content-security-policy"
HEADERS: Final = MappingProxyType({  # nothing here is sent by a form
    **SECURITY_HEADERS, _POLICY: SECURITY_HEADERS[_POLICY].replace("form-action 'self'", "form-action 'none'"),
})  # fmt: skip

# The cookie is strict, so it does not follow a redirect that another site began; a navigation of our own page has it.
WELCOME: Final = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>ngrokc</title>'
)
NO_TOKEN: Final = (
    "Open the address that ngrokc shows in its terminal: it contains the token for this page. "  # noqa: S105 - no secret
    "Without a terminal: its log names the token's file.\n"
)


class Gate:
    """ASGI middleware; `open_api` lets programs use /api/ without a token."""

    def __init__(self, app: ASGIApp, token: Token, hosts: frozenset[str], open_api: bool) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts
        self._open_api = open_api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self.refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, _dressed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})  # before accept: the server answers 403
        else:
            await refusal(scope, receive, _dressed(send))

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer instead of the page's, None to let the request in."""
        host = headers.get("host", "").lower()
        if headers.getlist("host")[1:] or not self._is_ours(host, scope):
            return _no("this name is not the inspector's; use the address that ngrokc shows")
        if came_through_proxy(headers):
            return _no("the inspector does not answer through proxies or tunnels")
        method = scope.get("method", "GET")
        path = scope["path"]
        page = method == "GET" and path == "/" and scope["type"] == "http"
        if not from_own_page(headers, host, navigation=page):
            return _no("another site asked for this")
        changes = scope["type"] == "http" and method not in (*SAFE_METHODS, "DELETE")
        if changes and not is_json(headers.get("content-type", "")):
            return PlainTextResponse("Send JSON.\n", status_code=415)
        if page:
            offered = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
            if self._token.secret.matches(offered):
                return self._welcome(host)
        if self._known(headers, host) or self._excused(scope, headers, method, path):
            return None
        return PlainTextResponse(NO_TOKEN, status_code=401, headers={"www-authenticate": "Bearer"})

    def _is_ours(self, host: str, scope: Scope) -> bool:
        """Listed, or the very address that this connection came in on: a rebound name is no address."""
        name, port = scope.get("server") or ("", None)
        return host in self._hosts or (port is not None and host == format_address(name, port))

    def _known(self, headers: Headers, host: str) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._token.secret.matches(given.strip()):
            return True
        name = cookie_name(host)
        for part in headers.get("cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name and self._token.cookie.matches(value):
                return True
        return False

    def _excused(self, scope: Scope, headers: Headers, method: str, path: str) -> bool:
        if scope["type"] != "http" or not path.startswith("/api/"):
            return False
        if self._open_api:
            return True
        return (
            method in SAFE_METHODS
            and path in OPEN_READS
            and "origin" not in headers
            and "sec-fetch-site" not in headers
        )

    def _welcome(self, host: str) -> Response:
        answer = HTMLResponse(WELCOME)
        value = self._token.cookie.reveal()
        answer.set_cookie(cookie_name(host), value, max_age=COOKIE_AGE, httponly=True, samesite="strict", path="/")
        return answer


def cookie_name(host: str) -> str:
    """Cookies know no ports: each inspector of a machine needs a name of its own."""
    return f"ngrokc_{host.rpartition(':')[2]}"


def _no(why: str) -> Response:
    return PlainTextResponse(f"403: {why}\n", status_code=403)


def _dressed(send: Send) -> Send:
    """`send` that adds the security headers to every answer."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped

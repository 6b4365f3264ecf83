"""Who may come in: Host, Origin, fetch metadata, token or cookie, JSON only. In front of every route, page and WebSocket.

Loopback proves nothing: any page in the user's browser can send requests there, a name can be made to resolve there, and a
tunnel can end there. So each request must name us as its Host, must not come from another site, must not have come through
a proxy or tunnel, and must bring the token.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ngrokc.inspect.access import Token
from protocol.address import format_address

FORWARDED: Final = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via", "x-real-ip")
OPEN_READS: Final = ("/api/tunnels", "/api/status")
"""Without a token for programs on this machine, as ngrok has it; never for pages of another site."""
SAFE: Final = ("GET", "HEAD")
COOKIE_AGE: Final = 7 * 86400

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), clipboard-read=()",
    "cache-control": "no-store",
}

# The cookie is strict, so it does not follow a redirect that another site began; a navigation of our own page has it.
WELCOME: Final = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>ngrokc</title>'
)
NO_TOKEN: Final = "Open the address that ngrokc shows in its terminal: it contains the token for this page.\n"  # noqa: S105


def allowed_hosts(host: str, port: int, more: tuple[str, ...] = ()) -> frozenset[str]:
    """The spellings of Host under which the page may be asked for. `host` is the listener's own address."""
    names = {"localhost", "127.0.0.1", "::1"}
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        names.add(host)
    found = {format_address(name, port) for name in names} | {name.lower() for name in more}
    return frozenset(found | ({name.rpartition(":")[0] for name in found} if port == 80 else set()))


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
        if any(name in headers for name in FORWARDED):
            return _no("the inspector does not answer through proxies or tunnels")
        method = scope.get("method", "GET")
        path = scope["path"]
        if not self._own_site(headers, host, top_level=method == "GET" and path == "/" and scope["type"] == "http"):
            return _no("another site asked for this")
        if scope["type"] == "http" and method not in (*SAFE, "DELETE"):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return PlainTextResponse("Send JSON.\n", status_code=415)
        if scope["type"] == "http" and method == "GET" and path == "/":
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

    def _own_site(self, headers: Headers, host: str, *, top_level: bool) -> bool:
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            return False
        site = headers.get("sec-fetch-site", "none")
        if site in ("same-origin", "none"):
            return True
        # A link to the page from elsewhere may open it; the strict cookie does not come along.
        return top_level and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"

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
        return method in SAFE and path in OPEN_READS and "origin" not in headers and "sec-fetch-site" not in headers

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

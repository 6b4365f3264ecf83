"""Who may use the operator's API: Host, Origin, fetch metadata, token or cookie, JSON only, and a rate limit. In front of
every route.

The token lies in a file of the state directory (0600) and stays the same over restarts; deleting the file makes another one
at the next start. `/healthz` and `/readyz` say one word and need nothing. Wrong tokens are written to the audit log.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ngrokd.admin.audit import Audit
from ngrokd.limits import Rate
from ngrokd.state import StateDirectory
from protocol import websafe
from protocol.secret import Secret

TOKEN_FILE: Final = "admin-token"  # noqa: S105 - the file's name
OPEN_PATHS: Final = ("/healthz", "/readyz")
PAGE_PATHS: Final = ("/", "/login", "/admin.js", "/admin.css", "/format.js", "/icon.svg")
"""Say nothing about the server; the page asks for the token by itself."""
COOKIE_AGE: Final = 7 * 86400
REQUESTS, BURST = 50.0, 200.0  # a second, from one address; the page needs two
TRIES, TRIES_AT_ONCE = 0.2, 10.0  # wrong tokens a second, from one address: 10 at once, then one in 5 s
MAX_ADDRESSES: Final = 1_000


class AdminToken:
    """`cookie` is derived from the token, so that neither gives the other away."""

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        key = secret.reveal().encode()
        self.cookie = Secret(hmac.new(key, b"ngrokd admin cookie", hashlib.sha256).hexdigest())

    def __repr__(self) -> str:
        return "<AdminToken>"


def load_token(state: StateDirectory) -> AdminToken:
    """The token in the state directory, made there when there is none (blocking). Raises ConfigError, OSError."""
    data = state.read(TOKEN_FILE, limit=1024)
    text = data.decode("ascii", "replace").strip() if data else ""
    if len(text) < 32:  # an empty or cut file: a weak token is worse than a new one
        text = secrets.token_urlsafe(32)
        state.write(TOKEN_FILE, f"{text}\n".encode())
    return AdminToken(Secret(text))


class _Addresses:
    """A rate for each address, the least recently seen forgotten first."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    def admit(self, address: str, now: float) -> bool:
        rate = self._rates.get(address)
        if rate is None:
            rate = self._rates[address] = Rate(self._per_second, burst=self._burst)
            if len(self._rates) > MAX_ADDRESSES:
                self._rates.popitem(last=False)
        self._rates.move_to_end(address)
        return rate.admit(now)


class Entry:
    """ASGI middleware. `hosts`: the allowed spellings of Host; `now`: monotonic seconds."""

    def __init__(
        self, app: ASGIApp, token: AdminToken, hosts: frozenset[str], audit: Audit, now: Callable[[], float]
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts
        self._audit = audit
        self._now = now
        self._requests = _Addresses(REQUESTS, BURST)
        self._tries = _Addresses(TRIES, TRIES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 4403})
            return
        answer = self.refusal(scope, Headers(scope=scope))
        await (self._app if answer is None else answer)(scope, receive, _dressed(send))

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer instead of the application's, None to let the request in."""
        method, path = scope["method"], scope["path"]
        address = scope["client"][0] if scope.get("client") else ""
        scope["by"] = address or "unknown"
        if path in OPEN_PATHS and method in websafe.SAFE_METHODS:
            return None
        if not self._requests.admit(address, self._now()):
            return refuse(429, "too_fast", "too many requests", {"retry-after": "1"})
        wrong = self._wrong_place(headers, method, path)
        if wrong:
            self._audit.denied(address=address, reason=wrong)
            return refuse(403, "forbidden", wrong)
        if method not in websafe.SAFE_METHODS and not websafe.is_json(headers.get("content-type", "")):
            return refuse(415, "not_json", "send application/json")
        if path in PAGE_PATHS or self._known(headers):
            return None
        return self._no_token(headers, address)

    def _wrong_place(self, headers: Headers, method: str, path: str) -> str:
        host = headers.get("host", "").lower()
        if headers.getlist("host")[1:] or host not in self._hosts:
            return "this name is not the operator's page"
        if websafe.came_through_proxy(headers.keys()):
            return "the operator's page does not answer through proxies or tunnels"
        if not websafe.from_own_page(headers, host, navigation=method == "GET" and path == "/"):
            return "another site asked for this"
        return ""

    def _known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._token.secret.matches(given.strip()):
            return True
        name = cookie_name(headers.get("host", ""))
        for part in headers.get("cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name and self._token.cookie.matches(value):
                return True
        return False

    def _no_token(self, headers: Headers, address: str) -> Response:
        if headers.get("authorization"):
            self._audit.denied(address=address, reason="wrong token")
            if not self._tries.admit(address, self._now()):
                return refuse(429, "too_fast", "too many wrong tokens", {"retry-after": "5"})
        message = "bring the token from the file admin-token in the state directory"
        return refuse(401, "no_token", message, {"www-authenticate": "Bearer"})

    def log_in(self, offered: str, host: str, address: str) -> Response:
        """The answer to the page's log-in: a cookie, or a refusal."""
        if not self._tries.admit(address, self._now()):
            return refuse(429, "too_fast", "too many wrong tokens", {"retry-after": "5"})
        if not self._token.secret.matches(offered.strip()):
            self._audit.denied(address=address, reason="wrong token")
            return refuse(401, "no_token", "this is not the token", {"www-authenticate": "Bearer"})
        answer = Response(status_code=204)
        answer.set_cookie(
            cookie_name(host),
            self._token.cookie.reveal(),
            max_age=COOKIE_AGE,
            httponly=True,
            samesite="strict",
            path="/",
        )
        return answer


def log_out(host: str) -> Response:
    answer = Response(status_code=204)
    answer.delete_cookie(cookie_name(host), path="/")
    return answer


def cookie_name(host: str) -> str:
    """Cookies know no ports: each server of a machine needs a name of its own."""
    return f"ngrokd_{host.rpartition(':')[2]}"


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error in the API's one shape."""
    return JSONResponse({"code": code, "message": message}, status_code=status, headers=headers)


def _dressed(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in websafe.SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped

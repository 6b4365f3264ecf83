"""`/api/tunnels` and `/api/status` in the shapes of ngrok's agent API, so that tools made for it work here.

Each protocol of a tunnel is a tunnel of its own there: `test` for the first, `test (https)` for a further one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import segno
import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ngrokc.inspect.web.desk import Desk, desk_of
from ngrokc.inspect.web.reply import ApiError, flag_of, read_json, text_of
from ngrokc.options import TunnelOptions, host_header
from ngrokc.status import AgentStatus, TunnelStatus
from ngrokc.tunnel_spec import TunnelSpec, split_protocols
from protocol.address import Upstream, parse_port, parse_upstream
from protocol.errors import Fault
from protocol.names import normalize_host
from protocol.secret import Secret

OPEN_KEYS: Final = frozenset({
    "name", "addr", "proto", "subdomain", "hostname", "domain", "remote_addr", "remote_port", "auth", "basic_auth",
    "inspect", "host_header", "bind_tls", "schemes", "metadata",
})  # fmt: skip
OPEN_WAIT: Final = 15.0  # seconds for the server to say yes or no
STATES: Final = MappingProxyType(
    {"connecting": "connecting", "online": "online", "reconnecting": "reconnecting", "closed": "offline"}
)


def names(status: AgentStatus) -> list[tuple[str, TunnelStatus]]:
    """The tunnels under their names in this API."""
    seen: set[str] = set()
    found = []
    for tunnel in status.tunnels:
        first = tunnel.name not in seen
        seen.add(tunnel.name)
        found.append((tunnel.name if first else f"{tunnel.name} ({tunnel.protocol})", tunnel))
    return found


def tunnel_json(desk: Desk, name: str, tunnel: TunnelStatus) -> dict[str, Any]:
    meters = desk.journal.meters(tunnel.name).plain(time.monotonic())
    scheme = "" if tunnel.upstream.startswith(("http", "unix:")) or tunnel.protocol == "tcp" else "http://"
    return {
        "name": name,
        "ID": secrets_free_id(tunnel),
        "uri": f"/api/tunnels/{quote(name, safe='')}",
        "public_url": tunnel.url,
        "proto": tunnel.protocol,
        "config": {"addr": scheme + tunnel.upstream, "inspect": True},
        "metrics": meters,
        "state": tunnel.state,
        "message": tunnel.message,
    }


def secrets_free_id(tunnel: TunnelStatus) -> str:
    """A stable id that names nothing on the server."""
    return f"{tunnel.name}.{tunnel.protocol}"


async def list_tunnels(request: Request) -> Response:
    """GET /api/tunnels: those that are online; with `all=1` those that wait or were refused as well."""
    desk = desk_of(request)
    everything = flag_of(request, "all")
    found = [
        tunnel_json(desk, name, tunnel)
        for name, tunnel in names(desk.agent.status())
        if everything or tunnel.state == "online"
    ]
    return JSONResponse({"tunnels": found, "uri": "/api/tunnels"})


async def open_tunnel(request: Request) -> Response:
    """POST /api/tunnels: open one and wait until it is online."""
    desk = desk_of(request)
    spec = spec_of(await read_json(request, OPEN_KEYS))
    for upstream in spec.upstreams.values():
        if desk.refuses(upstream):
            raise ApiError(400, "a tunnel to the inspector itself is refused", {"addr": "the inspector's own port"})
    with trio.move_on_after(OPEN_WAIT):
        try:
            made = await desk.agent.open_tunnel(spec)
        except Fault as fault:
            status = 409 if fault.code == "tunnel_exists" else 502
            raise ApiError(status, fault.message, {"err": fault.code, "hint": fault.hint}) from fault
        return JSONResponse(tunnel_json(desk, spec.name, made[0]), status_code=201)
    raise ApiError(502, "the server gave no answer in time; is the session online?")


async def show_tunnel(request: Request) -> Response:
    """GET /api/tunnels/{name}"""
    desk = desk_of(request)
    wanted = request.path_params["name"]
    for name, tunnel in names(desk.agent.status()):
        if name == wanted:
            return JSONResponse(tunnel_json(desk, name, tunnel))
    raise ApiError(404, "there is no such tunnel")


async def close_tunnel(request: Request) -> Response:
    """DELETE /api/tunnels/{name}: all its protocols."""
    desk = desk_of(request)
    wanted = request.path_params["name"]
    for name, tunnel in names(desk.agent.status()):
        if name == wanted:
            await desk.agent.close_tunnel(tunnel.name)
            return Response(status_code=204)
    raise ApiError(404, "there is no such tunnel")


async def tunnel_qr(request: Request) -> Response:
    """GET /api/tunnels/{name}/qr: its public URL as an SVG."""
    wanted = request.path_params["name"]
    for name, tunnel in names(desk_of(request).agent.status()):
        if name == wanted and tunnel.url:
            code = segno.make(tunnel.url, error="m", micro=False)
            svg = code.svg_inline(scale=4, border=2, dark="#000", light="#fff")
            return Response(
                svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1), media_type="image/svg+xml"
            )
    raise ApiError(404, "there is no such tunnel, or it has no URL yet")


async def show_status(request: Request) -> Response:
    """GET /api/status"""
    desk = desk_of(request)
    status = desk.agent.status()
    latency = 0 if status.latency is None else status.latency
    session = {"legs": [{"region": status.server, "latency": f"{latency * 1000:.1f}ms"}]}
    return JSONResponse({
        "status": STATES.get(status.state, status.state),
        "agent_version": desk.settings.version,
        "session": session,
        "uri": "/api/status",
        "reason": status.reason,
        "server": status.server,
        "server_version": desk.journal.server_version,
    })  # fmt: skip


async def show_root(_request: Request) -> Response:
    """GET /api/"""
    return JSONResponse({
        "uri": "/api/",
        "tunnels_uri": "/api/tunnels",
        "requests_uri": "/api/requests/http",
        "status_uri": "/api/status",
    })  # fmt: skip


# -- from JSON to a spec
def spec_of(value: Mapping[str, Any]) -> TunnelSpec:
    """What a tool asks for, as a tunnel. Raises ApiError and ConfigError."""
    body = dict(value)
    protocols = _protocols(body)
    upstream = _upstream(body.get("addr"))
    host = text_of(body, "hostname") or text_of(body, "domain")
    subdomain = text_of(body, "subdomain")
    options = TunnelOptions(
        inspect=body.get("inspect", True) is not False,
        host_header=host_header(text_of(body, "host_header") or "preserve"),
    )
    return TunnelSpec(
        name=_name(body),
        upstreams=dict.fromkeys(protocols, upstream),
        subdomain=subdomain,
        hostname=normalize_host(host) if host else "",
        remote_port=_remote_port(body),
        auth=Secret(_auth(body)),
        options=options,
    )


def _name(body: dict[str, Any]) -> str:
    name = text_of(body, "name") or f"tunnel-{secrets.token_hex(3)}"
    if len(name) > 100 or not name.isprintable() or "/" in name:
        raise ApiError(400, "the name must be short, printable and without /", {"name": "bad"})
    return name


def _protocols(body: dict[str, Any]) -> tuple[str, ...]:
    """`proto`, narrowed or widened by `schemes` (new) or `bind_tls` (old)."""
    proto = text_of(body, "proto") or "http"
    if proto == "tls":
        raise ApiError(400, "tls tunnels are not known here; http, https or tcp", {"proto": "unknown"})
    schemes = body.get("schemes")
    if proto == "http" and isinstance(schemes, list) and schemes and all(s in ("http", "https") for s in schemes):
        proto = "+".join(sorted(set(schemes)))
    elif proto == "http" and body.get("bind_tls") in (True, "true"):
        proto = "https"
    elif proto == "http" and body.get("bind_tls") == "both":
        proto = "http+https"
    return split_protocols(proto)


def _upstream(value: object) -> Upstream:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ApiError(400, "addr is missing: a port or an address", {"addr": "missing"})
    return parse_upstream(str(value))


def _remote_port(body: dict[str, Any]) -> int:
    found = body.get("remote_port")
    if found is None:
        remote = text_of(body, "remote_addr")
        found = remote.rpartition(":")[2] if remote else None
    return 0 if found in (None, "", 0) else parse_port(str(found))


def _auth(body: dict[str, Any]) -> str:
    basic = body.get("basic_auth")
    if isinstance(basic, list):
        if len(basic) > 1:
            raise ApiError(400, "one user and password per tunnel", {"basic_auth": "more than one"})
        return str(basic[0]) if basic else ""
    return text_of(body, "basic_auth") or text_of(body, "auth")

"""`/api/requests/http` in the shape of ngrok's agent API: list, show, replay, forget."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ngrokc.inspect.heads import Fields
from ngrokc.inspect.mask import mask_fields, mask_head, mask_text_target
from ngrokc.inspect.model import Exchange, Half
from ngrokc.inspect.replay import Edit
from ngrokc.inspect.web.desk import Desk, desk_of
from ngrokc.inspect.web.reply import ApiError, flag_of, number_of, read_json, text_of

RAW_CAP: Final = 64 * 1024
LIST_CAP: Final = 200


def request_json(exchange: Exchange, *, reveal: bool) -> dict[str, Any]:
    """Durations in nanoseconds, raw bytes in base64. Blocks on the disk for spooled bodies."""
    end = exchange.ended_at
    started = datetime.fromtimestamp(exchange.started_at, UTC).isoformat(timespec="milliseconds")
    answer = exchange.answer
    found: dict[str, Any] = {
        "uri": f"/api/requests/http/{exchange.id}",
        "id": exchange.id,
        "tunnel_name": exchange.origin.tunnel,
        "remote_addr": exchange.origin.client_addr.rpartition(":")[0].strip("[]"),
        "start": started,
        "duration": 0 if end is None else round((end - exchange.started_at) * 1e9),
        "request": {
            "method": exchange.method,
            "proto": exchange.request.start[2].decode("latin-1"),
            "headers": _headers(exchange.request.fields, reveal),
            "uri": exchange.target if reveal else mask_text_target(exchange.target),
            "raw": _raw(exchange.request, reveal),
        },
        "response": {"status": "", "status_code": 0, "proto": "", "headers": None, "raw": ""},
    }
    if answer is not None:
        status = b" ".join(answer.start[1:]).decode("utf-8", "replace").strip()
        found["response"] = {
            "status": status,
            "status_code": exchange.status,
            "proto": answer.start[0].decode("latin-1"),
            "headers": _headers(answer.fields, reveal),
            "raw": _raw(answer, reveal),
        }
    return found


def _headers(fields: Fields, reveal: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields if reveal else mask_fields(fields):
        key = "-".join(word.capitalize() for word in name.decode("utf-8", "replace").split("-"))
        found.setdefault(key, []).append(value.decode("utf-8", "replace"))
    return found


def _raw(half: Half, reveal: bool) -> str:
    head = half.raw if reveal else mask_head(half.raw)
    return base64.b64encode(head + half.body.read(0, RAW_CAP)).decode()


def find(desk: Desk, id_: str) -> Exchange:
    """Raises ApiError 404."""
    exchange = desk.store.exchange(id_)
    if exchange is None:
        raise ApiError(404, "there is no such request; it may have made room for newer ones")
    return exchange


async def list_requests(request: Request) -> Response:
    """GET /api/requests/http?limit=&tunnel_name="""
    desk = desk_of(request)
    limit = number_of(request, "limit", 50, LIST_CAP)
    tunnel = request.query_params.get("tunnel_name")
    reveal = flag_of(request, "reveal")
    chosen: list[Exchange] = []
    for entry in desk.store.newest():
        if len(chosen) >= limit:
            break
        if isinstance(entry, Exchange) and (tunnel is None or entry.origin.tunnel == tunnel):
            chosen.append(entry)

    def build() -> list[dict[str, Any]]:
        return [request_json(exchange, reveal=reveal) for exchange in chosen]

    found = await trio.to_thread.run_sync(build)
    return JSONResponse({"uri": "/api/requests/http", "requests": found})


async def show_request(request: Request) -> Response:
    """GET /api/requests/http/{id}"""
    exchange = find(desk_of(request), request.path_params["id"])
    reveal = flag_of(request, "reveal")
    return JSONResponse(await trio.to_thread.run_sync(lambda: request_json(exchange, reveal=reveal)))


async def replay_request(request: Request) -> Response:
    """POST /api/requests/http {"id": ..., "tunnel_name": ...}: send it again, as it was."""
    desk = desk_of(request)
    body = await read_json(request, frozenset({"id", "tunnel_name"}))
    exchange = find(desk, text_of(body, "id"))
    if text_of(body, "tunnel_name", exchange.origin.tunnel) != exchange.origin.tunnel:
        raise ApiError(400, "a request is replayed to its own tunnel only", {"tunnel_name": "another tunnel"})
    await desk.replayer.replay(exchange, Edit(), 1, desk.nursery)
    return Response(status_code=204)


async def forget_requests(request: Request) -> Response:
    """DELETE /api/requests/http"""
    desk_of(request).store.clear()
    return Response(status_code=204)

"""The page's own part of the API: details, bodies, copies, replay with edits, diff, HAR, the session."""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ngrokc.inspect import har
from ngrokc.inspect.content import decoded, hex_rows
from ngrokc.inspect.copies import copy
from ngrokc.inspect.diff import diff
from ngrokc.inspect.mask import mask_head
from ngrokc.inspect.model import Connection, Exchange, Half
from ngrokc.inspect.query import matches, parse
from ngrokc.inspect.replay import BODY_CAP, Edit
from ngrokc.inspect.web.desk import Desk, desk_of
from ngrokc.inspect.web.reply import ApiError, flag_of, number_of, read_body, read_json, text_of
from ngrokc.inspect.web.requests import find
from ngrokc.inspect.web.rows import detail, row
from ngrokc.inspect.web.tunnels import names, tunnel_json

EDIT_KEYS: Final = frozenset({"times", "method", "path", "headers", "body", "body_base64"})
HEX_CHUNK: Final = 32 * 1024
EDIT_BODY: Final = 256 * 1024


def half_of(exchange: Exchange, side: str) -> Half:
    half = exchange.request if side == "request" else exchange.answer if side == "answer" else None
    if half is None:
        raise ApiError(404, "there is no such side, or no answer yet")
    return half


async def list_exchanges(request: Request) -> Response:
    """GET /api/exchanges?q=&limit=: rows, the newest first."""
    desk = desk_of(request)
    terms = parse(request.query_params.get("q", "")[:500])
    limit = number_of(request, "limit", 500, 2000)
    found: list[dict[str, Any]] = []
    for entry in desk.store.newest():
        if len(found) >= limit:
            break
        if not terms or (isinstance(entry, Exchange) and matches(entry, terms)):
            found.append(row(entry))
    return JSONResponse({"exchanges": found, "counts": counts(desk)})


def counts(desk: Desk) -> dict[str, Any]:
    held = desk.store.counts
    return {
        "kept": len(desk.store),
        "captured": held.captured,
        "missed": held.missed,
        "cut": held.cut,
        "forgotten": held.forgotten,
        "memory": desk.store.weight,
        "disk": desk.store.vault.spool.used,
        "trouble": desk.store.vault.spool.failure,
    }


async def show_exchange(request: Request) -> Response:
    """GET /api/exchanges/{id}?reveal=: of a tcp connection, or one that no upstream took, only its row."""
    entry = desk_of(request).store.get(request.path_params["id"])
    if isinstance(entry, Connection):
        return JSONResponse(row(entry))
    exchange = find(desk_of(request), request.path_params["id"])
    reveal = flag_of(request, "reveal")
    return JSONResponse(await trio.to_thread.run_sync(lambda: detail(exchange, reveal=reveal)))


async def show_body(request: Request) -> Response:
    """GET /api/exchanges/{id}/{side}/body?as=download|raw|hex|edit"""
    exchange = find(desk_of(request), request.path_params["id"])
    half = half_of(exchange, request.path_params["side"])
    form = request.query_params.get("as", "download")
    if form == "hex":
        start = number_of(request, "start", 0, half.body.kept)
        data = await trio.to_thread.run_sync(half.body.read, start, HEX_CHUNK)
        return JSONResponse({"rows": hex_rows(data, start), "next": start + len(data), "kept": half.body.kept})
    if form == "raw":
        reveal = flag_of(request, "reveal")
        data = await trio.to_thread.run_sync(half.body.read, 0, EDIT_BODY)
        head = half.raw if reveal else mask_head(half.raw)
        return JSONResponse(
            {"text": (head + data).decode("utf-8", "backslashreplace"), "whole": half.body.kept <= EDIT_BODY}
        )
    if form == "edit":
        data = await trio.to_thread.run_sync(half.body.read, 0, EDIT_BODY)
        return JSONResponse(_editable(exchange, half, data))
    data, _ = await trio.to_thread.run_sync(decoded, half, BODY_CAP)
    name = f"{request.path_params['side']}-{exchange.id}.bin"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


def _editable(exchange: Exchange, half: Half, data: bytes) -> dict[str, Any]:
    """The request as the edit form wants it: real values, since masks can't be sent."""
    try:
        text: str | None = data.decode()
    except UnicodeDecodeError:
        text = None
    return {
        "method": exchange.method,
        "path": exchange.target,
        "headers": [[name.decode("latin-1"), value.decode("utf-8", "replace")] for name, value in half.fields],
        "text": text if len(data) == half.body.size else None,
        "size": half.body.size,
    }


async def copy_request(request: Request) -> Response:
    """GET /api/exchanges/{id}/copy?as=curl|http|python&reveal="""
    exchange = find(desk_of(request), request.path_params["id"])
    kind = request.query_params.get("as", "curl")
    if kind not in ("curl", "http", "python"):
        raise ApiError(400, "as must be curl, http or python")
    body = await trio.to_thread.run_sync(exchange.request.body.read, 0, EDIT_BODY)
    return JSONResponse({"text": copy(exchange, kind, reveal=flag_of(request, "reveal"), body=body)})


async def replay_exchange(request: Request) -> Response:
    """POST /api/exchanges/{id}/replay: once, several times, or edited."""
    desk = desk_of(request)
    exchange = find(desk, request.path_params["id"])
    body = await read_json(request, EDIT_KEYS, cap=2 * BODY_CAP)
    times = body.get("times", 1)
    if not isinstance(times, int) or isinstance(times, bool):
        raise ApiError(400, "times must be a number")
    made = await desk.replayer.replay(exchange, edit_of(body), times, desk.nursery)
    return JSONResponse({"id": made}, status_code=201)


def edit_of(body: dict[str, Any]) -> Edit:
    """Raises ApiError for what has the wrong type; what it means is checked by the replayer."""
    fields = body.get("headers")
    if fields is not None:
        if not isinstance(fields, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in fields
        ):
            raise ApiError(400, "headers must be a list of [name, value]")
        fields = tuple((_bytes(name), _bytes(value)) for name, value in fields)
    data = None
    if body.get("body_base64") is not None:
        try:
            data = base64.b64decode(text_of(body, "body_base64"), validate=True)
        except binascii.Error:
            raise ApiError(400, "body_base64 must be base64") from None
    elif body.get("body") is not None:
        data = _bytes(text_of(body, "body"))
    method, path = text_of(body, "method"), text_of(body, "path")
    return Edit(_bytes(method) if method else None, _bytes(path) if path else None, fields, data)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


async def diff_exchanges(request: Request) -> Response:
    """GET /api/exchanges/{id}/diff/{other}: what the second answer changed."""
    desk = desk_of(request)
    old, new = find(desk, request.path_params["id"]), find(desk, request.path_params["other"])
    reveal = flag_of(request, "reveal")
    return JSONResponse(await trio.to_thread.run_sync(lambda: diff(old, new, reveal=reveal)))


async def clear_exchanges(request: Request) -> Response:
    """POST /api/clear {}"""
    await read_json(request, frozenset())
    desk_of(request).store.clear()
    return JSONResponse({})


async def export_har(request: Request) -> Response:
    """GET /api/har?id=&q=&reveal=: one exchange, those that fit a filter, or all."""
    desk = desk_of(request)
    id_ = request.query_params.get("id")
    if id_ is not None:
        chosen = [find(desk, id_)]
    else:
        terms = parse(request.query_params.get("q", "")[:500])
        everything = [entry for entry in desk.store.newest() if isinstance(entry, Exchange)]
        chosen = [exchange for exchange in reversed(everything) if matches(exchange, terms)]
    reveal, version = flag_of(request, "reveal"), desk.settings.version

    def build() -> bytes:
        return json.dumps(har.export(chosen, reveal=reveal, version=version), ensure_ascii=False).encode(
            "utf-8", "replace"
        )

    data = await trio.to_thread.run_sync(build)
    return Response(
        data, media_type="application/json", headers={"content-disposition": 'attachment; filename="ngrokc.har"'}
    )


async def import_har(request: Request) -> Response:
    """POST /api/har with the file as its body."""
    desk = desk_of(request)
    data = await read_body(request, har.IMPORT_CAP)
    try:
        entries = await trio.to_thread.run_sync(har.parse, data)
    except har.BadHar as problem:
        raise ApiError(400, str(problem)) from problem
    for entry in entries:
        desk.store.add(har.exchange_of(entry, desk.store.vault, desk.store.new_id()))
    return JSONResponse({"imported": len(entries)}, status_code=201)


def session_json(desk: Desk) -> dict[str, Any]:
    """What the status view shows."""
    status = desk.agent.status()
    journal = desk.journal
    return {
        "state": status.state,
        "reason": status.reason,
        "server": status.server,
        "server_version": status.server_version or journal.server_version,
        "version": desk.settings.version,
        "latency": status.latency,
        "latencies": [seconds for _, seconds in journal.latencies],
        "reconnects": journal.reconnects,
        "connections": status.connections,
        "active": status.active,
        "up": status.up,
        "down": status.down,
        "uptime": time.time() - journal.started,
        "history": [{"at": entry.at, "what": entry.what, "text": entry.text} for entry in journal.history],
        "tunnels": [tunnel_json(desk, name, tunnel) for name, tunnel in names(status)],
        "counts": counts(desk),
    }


async def show_session(request: Request) -> Response:
    """GET /api/session"""
    return JSONResponse(session_json(desk_of(request)))

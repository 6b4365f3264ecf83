"""HAR 1.2: exchanges out of the store, and files of others in to look at. Pure; runs in a worker thread.

Exports mask secrets unless chosen. An imported entry becomes an exchange like any other, marked as imported; it belongs to
no tunnel, so it can't be replayed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from ngrokc.inspect.body import Body, Vault
from ngrokc.inspect.content import as_text, decoded, form_pairs, media_type
from ngrokc.inspect.heads import Fields
from ngrokc.inspect.mask import mask_fields, mask_text_target
from ngrokc.inspect.model import IMPORTED, Exchange, Half, Origin

IMPORT_CAP: Final = 32 * 1024 * 1024
IMPORT_ENTRIES: Final = 1000
BODY_CAP: Final = 1024 * 1024

Json = dict[str, Any]


class BadHar(ValueError):
    """The file is no HAR that we can read; the text says why."""


# -- out
def export(exchanges: Iterable[Exchange], *, reveal: bool, version: str) -> Json:
    """The whole document. Blocks on the disk for spooled bodies."""
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "ngrokc", "version": version or "0"},
            "entries": [_entry(exchange, reveal) for exchange in exchanges],
        }
    }


def _entry(exchange: Exchange, reveal: bool) -> Json:
    first = exchange.first_at
    end = exchange.ended_at if exchange.ended_at is not None else first
    send = max(0.0, exchange.head_at - exchange.started_at) * 1000
    wait = max(0.0, (first or end or exchange.head_at) - exchange.head_at) * 1000
    receive = max(0.0, (end or 0) - first) * 1000 if first is not None else 0.0
    entry: Json = {
        "startedDateTime": datetime.fromtimestamp(exchange.started_at, UTC).isoformat(timespec="milliseconds"),
        "time": send + wait + receive,
        "request": _request(exchange, reveal),
        "response": _response(exchange, reveal),
        "cache": {},
        "timings": {"send": send, "wait": wait, "receive": receive},
        "connection": exchange.origin.connection,
        "_tunnel": exchange.origin.tunnel,
        "_clientAddress": exchange.origin.client_addr,
        "_state": exchange.state,
    }
    if exchange.failure:
        entry["response"]["_error"] = exchange.failure
    if exchange.kind == "websocket":
        entry["_webSocketMessages"] = [
            {
                "type": "send" if message.up else "receive",
                "time": message.at,
                "opcode": 1 if message.kind == "text" else 2,
                "data": message.data.decode() if message.kind == "text" else base64.b64encode(message.data).decode(),
            }
            for message in list(exchange.messages)
            if message.kind in ("text", "binary") and (message.kind == "binary" or as_text(message.data) is not None)
        ]
    return entry


def _request(exchange: Exchange, reveal: bool) -> Json:
    half = exchange.request
    target = exchange.target if reveal else mask_text_target(exchange.target)
    query = urlsplit(target).query if target.startswith("/") else ""
    request: Json = {
        "method": exchange.method,
        "url": exchange.origin.url.rstrip("/") + target,
        "httpVersion": half.start[2].decode("latin-1"),
        "cookies": _cookies(half, b"cookie", reveal),
        "headers": _headers(half.fields, reveal),
        "queryString": [{"name": name, "value": value} for name, value in parse_qsl(query, keep_blank_values=True)],
        "headersSize": len(half.raw),
        "bodySize": half.body.size,
    }
    if half.body.size:
        data, note = decoded(half, BODY_CAP)
        media, _ = media_type(half)
        post: Json = {"mimeType": media, "text": data.decode("utf-8", "replace")}
        if media == "application/x-www-form-urlencoded":
            post["params"] = [{"name": name, "value": value} for name, value in form_pairs(data)]
        else:
            post["params"] = []
        if as_text(data) is None:
            post["text"], post["_encoding"] = base64.b64encode(data).decode(), "base64"
        if note:
            post["comment"] = note
        request["postData"] = post
    return request


def _response(exchange: Exchange, reveal: bool) -> Json:
    half = exchange.answer
    if half is None:
        return {
            "status": 0,
            "statusText": "",
            "httpVersion": "",
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": ""},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        }
    data, note = decoded(half, BODY_CAP)
    media, _ = media_type(half)
    text = as_text(data)
    content: Json = {"size": len(data), "mimeType": media or "application/octet-stream"}
    if text is not None:
        content["text"] = text
    else:
        content["text"], content["encoding"] = base64.b64encode(data).decode(), "base64"
    if note:
        content["comment"] = note
    headers = _headers(half.fields, reveal)
    return {
        "status": exchange.status,
        "statusText": half.start[2].decode("latin-1"),
        "httpVersion": half.start[0].decode("latin-1"),
        "cookies": _cookies(half, b"set-cookie", reveal),
        "headers": headers,
        "content": content,
        "redirectURL": next((h["value"] for h in headers if h["name"].lower() == "location"), ""),
        "headersSize": len(half.raw),
        "bodySize": half.body.size,
    }


def _headers(fields: Fields, reveal: bool) -> list[dict[str, str]]:
    shown = fields if reveal else mask_fields(fields)
    return [{"name": name.decode("latin-1"), "value": value.decode("utf-8", "replace")} for name, value in shown]


def _cookies(half: Half, name: bytes, reveal: bool) -> list[dict[str, str]]:
    fields = half.fields if reveal else mask_fields(half.fields)
    found = []
    for key, value in fields:
        if key.lower() == name:
            pairs = value.split(b";") if name == b"cookie" else value.split(b";")[:1]
            for pair in pairs:
                left, _, right = pair.strip().partition(b"=")
                found.append({"name": left.decode("latin-1"), "value": right.decode("utf-8", "replace")})
    return found


# -- in
def parse(data: bytes) -> list[Json]:
    """The entries of a HAR file, judged. Raises BadHar."""
    if len(data) > IMPORT_CAP:
        raise BadHar(f"larger than {IMPORT_CAP >> 20} MiB")
    try:
        entries = json.loads(data)["log"]["entries"]
        checked = [_judged(entry) for entry in entries[:IMPORT_ENTRIES]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise BadHar("this is no HAR file") from error
    return checked


def _judged(entry: Json) -> Json:
    """Only what an exchange needs, of the right types. Raises ValueError, KeyError, TypeError for what is no entry."""
    request, response = entry["request"], entry["response"]
    url = urlsplit(str(request["url"]))
    started = datetime.fromisoformat(str(entry["startedDateTime"]))
    return {
        "base": f"{url.scheme}://{url.netloc}",
        "start": (
            _line(request["method"]),
            _line(url.path + ("?" + url.query if url.query else "") or "/"),
            b"HTTP/1.1",
        ),
        "fields": [(_line(h["name"]), _line(h["value"])) for h in request.get("headers", [])],
        "body": _content(request.get("postData") or {}, "_encoding"),
        "status": int(response.get("status") or 0),
        "reason": _line(response.get("statusText") or ""),
        "answer_fields": [(_line(h["name"]), _line(h["value"])) for h in response.get("headers", [])],
        "answer_body": _content(response.get("content") or {}, "encoding"),
        "started": started.timestamp(),
        "seconds": max(0.0, float(entry.get("time") or 0)) / 1000,
    }


def _line(value: object) -> bytes:
    return " ".join(str(value).split()).encode("utf-8", "replace")


def _content(content: Json, key: str) -> bytes:
    text = str(content.get("text") or "")
    return base64.b64decode(text) if content.get(key) == "base64" else text.encode("utf-8", "replace")


def exchange_of(entry: Json, vault: Vault, id_: str) -> Exchange:
    """One entry that `parse` gave, as an exchange. In the store's thread: its bodies are charged to `vault`."""
    origin = Origin(IMPORTED, entry["base"], "http", IMPORTED, "")
    request = _half(entry["start"], entry["fields"], entry["body"], vault)
    exchange = Exchange(id_, origin, request, entry["started"], entry["started"])
    if entry["status"]:
        status = f"{entry['status']:03d}".encode()[:3]
        exchange.answer = _half(
            (b"HTTP/1.1", status, entry["reason"]), entry["answer_fields"], entry["answer_body"], vault
        )
        exchange.first_at = exchange.ended_at = entry["started"] + entry["seconds"]
        exchange.state = "done"
    else:
        exchange.ended_at = entry["started"] + entry["seconds"]
        exchange.state, exchange.failure = "failed", "no answer in the file"
    exchange.notes.append("imported from a HAR file")
    return exchange


def _half(start: tuple[bytes, bytes, bytes], fields: Fields, data: bytes, vault: Vault) -> Half:
    plain = [(name, value) for name, value in fields if name.lower() not in (b"content-encoding", b"transfer-encoding")]
    lines = [b" ".join(start), *(name + b": " + value for name, value in plain), b"", b""]
    body = Body(vault)
    body.add(data)
    return Half(b"\r\n".join(lines), start, body, plain)

"""Entries as JSON for the page: a short row for the list, everything for the detail. `detail` blocks on disk and inflating."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ngrokc.inspect.content import View, as_text, hex_rows, image, view
from ngrokc.inspect.heads import Fields
from ngrokc.inspect.mask import is_secret, mask_fields, mask_head, mask_text_target
from ngrokc.inspect.model import Connection, Exchange, Half, Message
from ngrokc.inspect.replay import obstacle
from ngrokc.inspect.store import Entry

Json = dict[str, Any]
HEX_FIRST = 16 * 1024
MESSAGE_TEXT = 16 * 1024


def row(entry: Entry) -> Json:
    """One line of the list."""
    common: Json = {
        "id": entry.id,
        "at": entry.started_at,
        "tunnel": entry.origin.tunnel,
        "url": entry.origin.url,
        "ip": entry.origin.client_addr,
        "failure": entry.failure,
    }
    if isinstance(entry, Connection):
        end = entry.ended_at
        state = "failed" if entry.failure else "done" if end is not None else "open"
        is_web = entry.origin.protocol != "tcp"
        return common | {
            "kind": "refused" if is_web else "tcp",
            "method": "-" if is_web else "TCP",
            "path": "(no answer from the upstream)" if is_web else entry.origin.connection,
            "status": 0,
            "state": state,
            "ms": None if end is None else (end - entry.started_at) * 1000,
            "up": entry.up,
            "down": entry.down,
        }
    answer = entry.answer
    return common | {
        "kind": entry.kind,
        "method": entry.method,
        "path": mask_text_target(entry.target),
        "status": entry.status,
        "state": entry.state,
        "ms": None if entry.ended_at is None else (entry.ended_at - entry.started_at) * 1000,
        "up": entry.request.body.size,
        "down": answer.body.size if answer is not None else 0,
        "type": answer.get(b"content-type").decode("latin-1") if answer is not None else "",
        "replay_of": entry.origin.replay_of,
        "messages": len(entry.messages) + entry.messages_lost,
    }


def detail(exchange: Exchange, *, reveal: bool) -> Json:
    """Everything about an exchange that a page shows at once."""
    start = exchange.started_at
    return row(exchange) | {
        "target": exchange.target if reveal else mask_text_target(exchange.target),
        "connection": exchange.origin.connection,
        "times": {
            "start": start,
            "head": (exchange.head_at - start) * 1000,
            "first": None if exchange.first_at is None else (exchange.first_at - start) * 1000,
            "end": None if exchange.ended_at is None else (exchange.ended_at - start) * 1000,
        },
        "request": _half(exchange.request, reveal) | _request_extras(exchange, reveal),
        "answer": None if exchange.answer is None else _half(exchange.answer, reveal),
        "interim": [
            {"ms": (at - start) * 1000, "head": (raw if reveal else mask_head(raw)).decode("utf-8", "replace")}
            for at, raw in exchange.interim
        ],
        "messages": [message_row(message, start) for message in list(exchange.messages)],
        "messages_lost": exchange.messages_lost,
        "notes": exchange.notes,
        "obstacle": obstacle(exchange),
        "revealed": reveal,
    }


def message_row(message: Message, start: float) -> Json:
    text = None
    if message.kind == "close" and len(message.data) >= 2:  # a code and a reason (RFC 6455, 5.5.1)
        reason = message.data[2:].decode("utf-8", "replace")
        text = f"{int.from_bytes(message.data[:2], 'big')} {reason}".strip()
    elif message.kind != "binary":
        text = as_text(message.data[:MESSAGE_TEXT])
    return {
        "ms": (message.at - start) * 1000,
        "up": message.up,
        "kind": message.kind,
        "name": message.name,
        "size": message.size,
        "text": text,
        "hex": message.data[:64].hex(" ") if text is None else "",
        "cut": message.cut or len(message.data) > MESSAGE_TEXT,
    }


def _half(half: Half, reveal: bool) -> Json:
    shown = half.fields if reveal else mask_fields(half.fields)
    seen = view(half)
    found: Json = {
        "line": _line(half, reveal),
        "fields": _pairs(shown),
        "secrets": [name.decode("latin-1") for name, _ in half.fields if is_secret(name)],
        "trailers": _pairs(half.trailers if reveal else mask_fields(half.trailers)),
        "size": half.body.size,
        "kept": half.body.kept,
        "cut": half.body.cut,
        "cookies": _cookies(shown),
        "view": seen.plain(),
    }
    if seen.kind == "image":
        _add_image(found, half, seen)
    if seen.kind == "binary":
        found["view"]["hex"] = hex_rows(half.body.read(0, HEX_FIRST))
    return found


def _add_image(found: Json, half: Half, seen: View) -> None:
    picture = image(half)
    if picture is not None:
        found["view"]["image"] = f"data:{picture[0]};base64,{picture[1]}"
    else:
        found["view"]["note"] = seen.note or "an image that is too large to show or not whole"


def _line(half: Half, reveal: bool) -> str:
    text = b" ".join(half.start).decode("utf-8", "replace")
    return text if reveal else mask_text_target(text)


def _request_extras(exchange: Exchange, reveal: bool) -> Json:
    target = exchange.target if reveal else mask_text_target(exchange.target)
    try:
        pairs = parse_qsl(urlsplit(target).query, keep_blank_values=True, max_num_fields=500)
    except ValueError:
        pairs = []
    return {"query": pairs}


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [(name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for name, value in fields]


def _cookies(fields: Fields) -> list[tuple[str, str]]:
    """Cookies of either side: name and value, with the attributes of a Set-Cookie behind it."""
    found: list[tuple[str, str]] = []
    for name, value in fields:
        if name.lower() == b"cookie":
            for part in value.decode("utf-8", "replace").split(";"):
                key, _, text = part.strip().partition("=")
                found.append((key, _unquoted(text)))
        elif name.lower() == b"set-cookie":
            key, _, text = value.decode("utf-8", "replace").partition("=")
            found.append((key.strip(), text))
    return found


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(f"x={text}")
    except CookieError:
        return text
    return jar["x"].value if "x" in jar else text

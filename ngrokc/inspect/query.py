"""The filter box: `status:5xx method:POST path:/hook body:text tunnel:x`, words without a key anywhere in the line. Pure.

All terms must fit. `-term` must not. Quotes hold words together. The page does the same to its rows in filter.js, but only
here are bodies and headers searched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ngrokc.inspect.model import Exchange

KEYS = ("status", "method", "path", "body", "tunnel", "header", "type", "state", "ip", "is", "min")
_TERM = re.compile(r'(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))')
MAX_TERMS = 20


@dataclass(frozen=True, slots=True)
class Term:
    key: str
    value: str
    wanted: bool


def parse(text: str) -> list[Term]:
    """The terms of a query; what has an unknown key is a plain word."""
    terms = []
    for match in _TERM.finditer(text):
        minus, key, quoted, bare = match.groups()
        value = quoted if quoted is not None else bare or ""
        if key is not None and key not in KEYS:
            key, value = None, f"{key}:{value}"
        if value:
            terms.append(Term(key or "", value.lower(), not minus))
    return terms[:MAX_TERMS]


def matches(exchange: Exchange, terms: list[Term]) -> bool:
    """Whether the exchange fits. Bodies are searched as far as they are in memory."""
    return all(_fits(exchange, term) is term.wanted for term in terms)


def _fits(exchange: Exchange, term: Term) -> bool:
    value = term.value
    match term.key:
        case "status":
            return _status(str(exchange.status or ""), value)
        case "method":
            return exchange.method.lower() == value
        case "path":
            return value in exchange.target.lower()
        case "tunnel":
            return value in exchange.origin.tunnel.lower() or value in exchange.origin.url.lower()
        case "ip":
            return value in exchange.origin.client_addr
        case "state":
            return exchange.state == value
        case "is":
            return _is(exchange, value)
        case "type":
            return exchange.answer is not None and value.encode() in exchange.answer.get(b"content-type").lower()
        case "min":
            return _slower(exchange, value)
        case "header":
            return _in_heads(exchange, value.encode())
        case "body":
            return _in_bodies(exchange, value.encode())
        case _:
            line = f"{exchange.method} {exchange.target} {exchange.status or ''} {exchange.origin.tunnel}"
            return value in line.lower() or _in_bodies(exchange, value.encode())


def _status(status: str, pattern: str) -> bool:
    """`404`, `4xx`, `40x`, `>=400`."""
    if pattern[:2] == ">=" and pattern[2:].isdigit():
        return status.isdigit() and int(status) >= int(pattern[2:])
    return len(status) == len(pattern) and all(want in ("x", have) for want, have in zip(pattern, status, strict=True))


def _is(exchange: Exchange, what: str) -> bool:
    return {
        "replay": bool(exchange.origin.replay_of),
        "failed": exchange.state == "failed",
        "pending": exchange.state == "pending",
        "open": not exchange.over,
        "ws": exchange.kind == "websocket",
        "sse": exchange.kind == "sse",
    }.get(what, False)


def _slower(exchange: Exchange, value: str) -> bool:
    """`min:250` (milliseconds)."""
    if not value.isdigit() or exchange.ended_at is None:
        return False
    return (exchange.ended_at - exchange.started_at) * 1000 >= int(value)


def _in_heads(exchange: Exchange, value: bytes) -> bool:
    answer = exchange.answer
    return value in exchange.request.raw.lower() or (answer is not None and value in answer.raw.lower())


def _in_bodies(exchange: Exchange, value: bytes) -> bool:
    answer = exchange.answer
    return (
        value in exchange.request.body.head.lower()
        or (answer is not None and value in answer.body.head.lower())
        or any(value in message.data.lower() for message in exchange.messages)
    )

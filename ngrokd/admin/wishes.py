"""What comes in at the API, checked: bodies and paths to values. Raises Fault `bad_argument` with words for the caller."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from ngrokd.admin.bans import KINDS, LONGEST
from ngrokd.grants import (
    Scope,
    parse_bandwidth,
    parse_count,
    parse_hosts,
    parse_lifetime,
    parse_port_ranges,
    parse_rate,
    parse_token_name,
)
from ngrokd.store.records import Name
from protocol.address import parse_port
from protocol.errors import Blame, Fault
from protocol.names import is_wildcard, normalize_host

if TYPE_CHECKING:
    from starlette.requests import Request  # not at run time: the local socket needs no web framework

BODY_CAP: Final = 64 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TokenWish:
    """A token to be. `lifetime` in seconds, None for ever."""

    name: str
    scope: Scope
    lifetime: float | None


async def body(request: Request, allowed: Iterable[str]) -> dict[str, Any]:
    """A JSON object with no other keys; an empty body is an empty one. Raises Fault, `body_too_large` too."""
    data = bytearray()
    async with aclosing(request.stream()) as parts:
        async for part in parts:
            data += part
            if len(data) > BODY_CAP:
                raise Fault("body_too_large", f"the body may have {BODY_CAP >> 10} KiB at most", blame=Blame.OPERATOR)
    try:
        found = json.loads(bytes(data) or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError):
        bad("the body must be JSON")
    if not isinstance(found, dict):
        bad("the body must be a JSON object")
    unknown = sorted(set(found) - set(allowed))
    if unknown:
        bad(f"unknown key {unknown[0][:50]!r}")
    return found


def ban_wish(found: dict[str, Any]) -> tuple[float, str]:
    """(seconds, kind)."""
    seconds, ban = found.get("seconds", 0), found.get("ban", "client")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST:
        bad(f"seconds: a number from 0 to {LONGEST:g}")
    if ban not in KINDS:
        bad(f"ban: one of {', '.join(KINDS)}")
    return float(seconds), ban


def token_wish(found: dict[str, Any]) -> TokenWish:
    name = _named("name", parse_token_name, _text(found, "name") or "")
    hosts, ports = _text(found, "allow_hosts"), _text(found, "allow_ports")
    bandwidth, lifetime = _text(found, "max_bandwidth"), _text(found, "lifetime")
    scope = Scope(
        allow_hosts=_named("allow_hosts", parse_hosts, hosts) if hosts else (),
        allow_ports=_named("allow_ports", parse_port_ranges, ports) if ports else (),
        max_tunnels=_number(found, "max_tunnels", parse_count),
        max_sessions=_number(found, "max_sessions", parse_count),
        max_connections=_number(found, "max_connections", parse_count),
        max_requests=_number(found, "max_requests", parse_rate),
        max_bandwidth=_named("max_bandwidth", parse_bandwidth, bandwidth) if bandwidth else None,
    )
    return TokenWish(name, scope, _named("lifetime", parse_lifetime, lifetime) if lifetime else None)


def reservation_wish(found: dict[str, Any]) -> tuple[Name, str]:
    """(name, token id)."""
    token = _text(found, "token")
    if not token:
        bad("token: the id of the token that the name is for")
    return name_in_path(_text(found, "kind") or "host", _text(found, "name") or ""), token


def name_in_path(kind: str, text: str) -> Name:
    """A public name in its one spelling."""
    if kind == "port":
        return Name("port", str(_named("name", parse_port, text)))
    if kind != "host":
        bad("kind: host or port")
    star = "*." if is_wildcard(text) else ""
    return Name("host", star + _named("name", normalize_host, text.removeprefix("*.")))


def bad(message: str) -> NoReturn:
    raise Fault("bad_argument", message, blame=Blame.OPERATOR)


def _text(found: dict[str, Any], key: str) -> str | None:
    value = found.get(key)
    if value is not None and not isinstance(value, str):
        bad(f"{key}: a text")
    return value


def _number(found: dict[str, Any], key: str, parse: Callable[[Any], T]) -> T | None:
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, bool):
        bad(f"{key}: a number")
    return _named(key, parse, value)


def _named(key: str, parse: Callable[[Any], T], value: Any) -> T:
    try:
        return parse(value)
    except Fault as fault:
        bad(f"{key}: {fault.message}")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")

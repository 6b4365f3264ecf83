"""Reading and writing JSON for the API: caps, strictness, and errors in the shape that ngrok's agent API has."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from protocol.errors import Fault

BODY_CAP: Final = 1024 * 1024
CODES: Final = {400: 100, 401: 101, 403: 104, 404: 100, 405: 105, 409: 102, 413: 106, 415: 107, 502: 103, 503: 103}

Handler = Callable[[Request], Awaitable[Response]]


class ApiError(Exception):
    """An answer with `status` and a message for people. `details` may name what was wrong with the input."""

    def __init__(self, status: int, message: str, details: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = dict(details or {})


def error(status: int, message: str, details: Mapping[str, str] | None = None) -> JSONResponse:
    """The body has `error_code`, `status_code`, `msg` and `details`, as tools for ngrok expect."""
    body = {"error_code": CODES.get(status, 199), "status_code": status, "msg": message, "details": dict(details or {})}
    return JSONResponse(body, status_code=status)


def api(handler: Handler) -> Handler:
    """The handler with its ApiErrors and Faults turned into answers."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except ApiError as problem:
            return error(problem.status, problem.message, problem.details)
        except Fault as fault:
            return error(502 if fault.retry else 400, fault.message, {"err": fault.code, "hint": fault.hint})

    guarded.__name__ = handler.__name__
    return guarded


async def read_body(request: Request, cap: int) -> bytes:
    """The request's body. Raises ApiError 413 before more than `cap` bytes are held."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > cap:
        raise ApiError(413, f"the body may have {cap >> 20} MiB at most")
    data = bytearray()
    async with aclosing(request.stream()) as parts:
        async for part in parts:
            data += part
            if len(data) > cap:
                raise ApiError(413, f"the body may have {cap >> 20} MiB at most")
    return bytes(data)


async def read_json(request: Request, allowed: frozenset[str], cap: int = BODY_CAP) -> dict[str, Any]:
    """A JSON object with no other keys than `allowed`. Raises ApiError."""
    try:
        value = json.loads(await read_body(request, cap) or b"{}")
    except (ValueError, RecursionError):
        raise ApiError(400, "the body must be JSON") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object")
    unknown = sorted(set(value) - allowed)
    if unknown:
        raise ApiError(400, "unknown keys", {name[:100]: "unknown" for name in unknown[:10]})
    return value


def text_of(value: dict[str, Any], key: str, default: str = "") -> str:
    """A string of a JSON object. Raises ApiError."""
    found = value.get(key, default)
    if found is None:
        return default
    if not isinstance(found, str):
        raise ApiError(400, f"{key} must be a string", {key: "not a string"})
    return found


def number_of(request: Request, key: str, default: int, most: int) -> int:
    """A query parameter that is a number from 0 to `most`. Raises ApiError."""
    text = request.query_params.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ApiError(400, f"{key} must be a number")
    return min(int(text), most)


def flag_of(request: Request, key: str) -> bool:
    return request.query_params.get(key, "") in ("1", "true", "yes")

from __future__ import annotations

import json

import pytest
from starlette.requests import Request

from ngrokc.inspect.web.reply import ApiError, api, error, flag_of, number_of, read_json, text_of
from protocol.errors import Fault


def request(body: bytes = b"", query: bytes = b"", length: bool = True) -> Request:
    headers = [(b"content-length", str(len(body)).encode())] if length else []
    parts = [body[:3], body[3:]]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    return Request({"type": "http", "method": "POST", "headers": headers, "query_string": query, "path": "/"}, receive)


async def test_json_objects_only() -> None:
    assert await read_json(request(b'{"a": 1}'), frozenset("a")) == {"a": 1}
    assert await read_json(request(b""), frozenset()) == {}
    for bad in (b"[1]", b"x", b'{"b": 1}', b"[" * 100_000):
        with pytest.raises(ApiError) as caught:
            await read_json(request(bad), frozenset("a"))
        assert caught.value.status == 400


async def test_caps_hold_whatever_the_length_says() -> None:
    for told in (True, False):
        with pytest.raises(ApiError) as caught:
            await read_json(request(b" " * 100, length=told), frozenset(), cap=50)
        assert caught.value.status == 413


def test_values() -> None:
    assert text_of({"a": "x"}, "a") == "x"
    assert text_of({"a": None}, "a", "d") == "d"
    with pytest.raises(ApiError):
        text_of({"a": 1}, "a")
    assert number_of(request(query=b"n=500"), "n", 1, 100) == 100
    for bad in (b"n=-1", b"n=1e3", b"n=99999999999"):
        with pytest.raises(ApiError):
            number_of(request(query=bad), "n", 1, 100)
    assert flag_of(request(query=b"f=1"), "f")
    assert not flag_of(request(), "f")


async def test_faults_become_answers() -> None:
    async def refuse(_: Request) -> None:
        raise Fault("some_code", "some words", hint="do this")

    answer = await api(refuse)(request())  # type: ignore[arg-type]
    body = json.loads(bytes(answer.body))
    assert (answer.status_code, body["msg"], body["details"]) == (
        400,
        "some words",
        {"err": "some_code", "hint": "do this"},
    )
    assert error(418, "x").status_code == 418

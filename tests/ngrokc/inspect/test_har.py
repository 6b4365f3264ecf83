from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.har import BadHar, exchange_of, export, parse
from tests.kit.inspection import Bench

POST = b"POST /p?q=1&token=canary HTTP/1.1\r\nCookie: a=canary\r\n"
POST += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nx=1&y=2"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nSet-Cookie: s=canary; Path=/\r\nContent-Length: 4\r\n\r\n\x89PNG"

# The parts of HAR 1.2 that a reader relies on.
NV = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "value"],
        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
    },
}
ENTRY = {
    "type": "object",
    "required": ["startedDateTime", "time", "request", "response", "cache", "timings"],
    "properties": {
        "time": {"type": "number", "minimum": 0},
        "startedDateTime": {"type": "string", "format": "date-time"},
        "request": {
            "required": ["method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"],
            "properties": {"cookies": NV, "headers": NV, "queryString": NV,
                           "postData": {"required": ["mimeType", "params", "text"]}},
        },
        "response": {
            "required": ["status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL",
                         "headersSize", "bodySize"],
            "properties": {"cookies": NV, "headers": NV, "content": {"required": ["size", "mimeType"]},
                           "status": {"type": "integer"}},
        },
        "timings": {"required": ["send", "wait", "receive"]},
    },
}  # fmt: skip
HAR = {
    "required": ["log"],
    "properties": {"log": {"required": ["version", "creator", "entries"], "properties": {"entries": {"items": ENTRY}}}},
}


def filled() -> Bench:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 10, POST)
    talk.feed(False, 11, OK)
    talk.feed(True, 12, b"GET /gone HTTP/1.1\r\n\r\n")
    talk.closed(13, "visitor: gone")
    return bench


def test_what_is_exported_is_har() -> None:
    document = json.loads(json.dumps(export(filled().exchanges(), reveal=False, version="1")))
    jsonschema.validate(document, HAR)
    first, second = document["log"]["entries"]
    assert "canary" not in json.dumps(document)
    assert first["request"]["url"] == "http://test.example.me/p?q=1&token=********"
    assert first["request"]["postData"]["params"] == [{"name": "x", "value": "1"}, {"name": "y", "value": "2"}]
    assert (first["response"]["content"]["encoding"], first["response"]["content"]["text"]) == ("base64", "iVBORw==")
    assert first["time"] == 1000
    assert (second["response"]["status"], second["response"]["_error"]) == (0, "visitor: gone")
    assert "canary" in json.dumps(export(filled().exchanges(), reveal=True, version="1"))


def test_there_and_back() -> None:
    bench = filled()
    data = json.dumps(export(bench.exchanges(), reveal=True, version="1")).encode()
    first, second = [exchange_of(entry, bench.store.vault, f"{n}") for n, entry in enumerate(parse(data))]
    assert (first.method, first.target, first.status) == ("POST", "/p?q=1&token=canary", 200)
    assert first.answer is not None
    assert (first.request.body.read(), first.answer.body.read()) == (b"x=1&y=2", b"\x89PNG")
    assert second.state == "failed"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"log": {}}', b'{"log": {"entries": [{}]}}', b'{"log": {"entries": "x"}}', b"\xff"]
)
def test_what_is_no_har(data: bytes) -> None:
    with pytest.raises(BadHar):
        parse(data)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["url", "method", "headers", "name", "value", "request", "response", "startedDateTime", "status"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json(value: object) -> None:
    try:
        parse(json.dumps({"log": {"entries": [value]}}).encode())
    except BadHar:
        pass

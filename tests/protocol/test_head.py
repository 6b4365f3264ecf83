"""The shop window: what its docstring shows works."""

from __future__ import annotations

from protocol import head
from protocol.head import head_end, parse_request, parse_response


def test_the_example() -> None:
    buf = bytearray(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET")
    end = head_end(buf)
    request = parse_request(bytes(buf[:end]))
    assert request.forward(b"X-Forwarded-For: 192.0.2.1\r\n").endswith(b"\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    body = request.body()
    assert buf[body.scan(buf, end, len(buf)) :] == b"GET"
    assert body.done
    assert parse_response(b"HTTP/1.1 204 No Content\r\n\r\n", method=request.method).body().done


def test_all_is_there() -> None:
    assert all(hasattr(head, name) for name in head.__all__)

"""What h11 sees in the same bytes: the oracle for our own grammar of heads and bodies.

The rule: we may refuse more than h11 does, never accept what it refuses, never see another method, target, host or framing.
Exceptions are listed in `docs/http.md`: raw UTF-8 in targets, one CRLF before a request.
"""

from __future__ import annotations

from dataclasses import dataclass

import h11

CAP = 1 << 20  # our own caps are tested by themselves


@dataclass(frozen=True)
class Seen:
    """One head in h11's eyes. `length`: -1 chunked, -2 until close."""

    start: tuple[object, ...]
    fields: list[tuple[bytes, bytes]]
    length: int
    host: bytes | None
    keep_alive: bool


def request(raw: bytes) -> Seen | None:
    """The request head in `raw`, None when h11 refuses it or sees none."""
    connection = h11.Connection(h11.SERVER, CAP)
    try:
        connection.receive_data(raw)
        event = connection.next_event()
        if type(event) is not h11.Request:
            return None
        after = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    names = dict(event.headers)
    length = -1 if b"transfer-encoding" in names else int(names.get(b"content-length", b"0"))
    if length == 0:
        assert isinstance(after, h11.EndOfMessage)
    return Seen(
        (event.method, event.target, event.http_version),
        list(event.headers.raw_items()),
        length,
        names.get(b"host"),
        _alive(event),
    )


def response(raw: bytes, method: bytes = b"GET", upgrade: bytes | None = None) -> Seen | None:
    """The response head in `raw` to a request of this method, None when h11 refuses it or sees none."""
    connection = h11.Connection(h11.CLIENT, CAP)
    fields = [("Host", "oracle.test")]
    if upgrade is not None:
        fields += [("Connection", "Upgrade"), ("Upgrade", upgrade.decode("latin-1"))]
    connection.send(h11.Request(method=method, target="/", headers=fields))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(raw)
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        return None
    names = dict(event.headers)
    status = event.status_code
    if status < 200 or status in (204, 304) or method == b"HEAD":
        length = 0
    elif b"transfer-encoding" in names:
        length = -1
    elif b"content-length" in names:
        length = int(names[b"content-length"])
    else:
        length = -2
    start = (status, event.reason, event.http_version)
    return Seen(start, list(event.headers.raw_items()), length, None, _alive(event))


def chunked(raw: bytes) -> tuple[bytes, bytes] | None:
    """Data and leftover of a chunked body at the start of `raw`; None when h11 refuses it or wants more."""
    connection = h11.Connection(h11.SERVER, CAP)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: oracle.test\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    data = b""
    try:
        assert isinstance(connection.next_event(), h11.Request)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                data += event.data
            elif isinstance(event, h11.EndOfMessage):
                return data, connection.trailing_data[0]
            else:
                return None
    except h11.RemoteProtocolError:
        return None


def _alive(event: h11.Request | h11.Response | h11.InformationalResponse) -> bool:
    options = {
        one.strip().lower() for name, value in event.headers if name == b"connection" for one in value.split(b",")
    }
    return b"close" not in options and (event.http_version >= b"1.1" or b"keep-alive" in options)

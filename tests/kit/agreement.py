"""Our parsers held against h11 on the same bytes: an AssertionError is a disagreement that is on no list.

Each function gives what our parser made of the bytes, None when it refused them.
"""

from __future__ import annotations

import itertools
import re

from protocol.body import Body, ChunkedBody
from protocol.errors import HttpError
from protocol.head import UNTIL_CLOSE, RequestHead, ResponseHead, parse_request, parse_response
from tests.kit import oracle

Fields = list[tuple[bytes, bytes]]


def request_agrees(raw: bytes) -> RequestHead | None:
    """The listed exceptions: raw UTF-8 in the target, one CRLF before the head."""
    try:
        ours = parse_request(raw)
    except HttpError:
        return None
    theirs = oracle.request(raw.removeprefix(b"\r\n"))
    if theirs is None:
        assert not ours.target.isascii(), "accepted what h11 refuses"
        return ours
    method, target, version = theirs.start
    assert isinstance(target, bytes)
    assert (method, version) == (ours.method, b"1.%d" % ours.minor)
    assert target == ours.target or _origin_form(target, method) == ours.target, "another target"
    assert theirs.length == ours.length, "another framing"
    assert theirs.keep_alive == ours.keep_alive, "another keep-alive"
    if theirs.host is None:
        assert ours.fields[: len(ours.fields) - len(theirs.fields)] == (
            [(b"Host", ours.authority)] if ours.host else []
        )
        assert theirs.fields == _lower_coding(ours.fields[len(ours.fields) - len(theirs.fields) :]), "other fields"
    else:
        assert theirs.host == ours.authority, "another host"
        assert theirs.host.lower().startswith(ours.host.encode()) or ours.host.startswith("[")
        assert theirs.fields == _lower_coding(ours.fields), "other fields"
    return ours


def response_agrees(raw: bytes, method: bytes) -> ResponseHead | None:
    """In answer to a request that offered `websocket`."""
    try:
        ours = parse_response(raw, method=method, upgrade=b"websocket")
    except HttpError:
        return None
    theirs = oracle.response(raw, method, b"websocket")
    assert theirs is not None, "accepted what h11 refuses"
    assert theirs.start == (ours.status, ours.reason, b"1.%d" % ours.minor)
    assert theirs.length == ours.length, "another framing"
    assert ours.keep_alive == (theirs.keep_alive and theirs.length != UNTIL_CLOSE), "another keep-alive"
    assert theirs.fields == _lower_coding(ours.fields), "other fields"
    return ours


def chunked_agrees(data: bytes, cuts: list[int]) -> int | None:
    """The index of the end of the body, -1 when it goes on; the same in one piece, cut as given, and byte by byte."""
    found = whole(ChunkedBody(), data)
    assert in_pieces(ChunkedBody(), data, cuts) == found, "cut otherwise, seen otherwise"
    assert in_pieces(ChunkedBody(), data, list(range(len(data)))) == found, "byte by byte, seen otherwise"
    if found is not None and found >= 0:
        theirs = oracle.chunked(data)
        assert theirs is not None, "accepted what h11 refuses"
        assert len(data) - len(theirs[1]) == found, "another end"
    return found


def whole(body: Body, data: bytes) -> int | None:
    """The index of the body's end, -1 while it goes on, None when it was refused."""
    try:
        end = body.scan(memoryview(data), 0, len(data))
    except HttpError:
        return None
    return end if body.done else -1


def in_pieces(body: Body, data: bytes, cuts: list[int]) -> int | None:
    """The same, fed piece by piece, each in the middle of a buffer with other bytes around it."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    stop = 0
    for begin, end in itertools.pairwise(edges):
        padded = b"5\r\n" + data[begin:end] + b"\r\n0\r\n"
        try:
            stop = body.scan(memoryview(padded), 3, 3 + end - begin) - 3 + begin
        except HttpError:
            return None
        if over(body):
            return stop
        assert stop == end, "stopped before the end"
    return -1


def over(body: Body) -> bool:
    """Asked anew each time: mypy takes an attribute for constant between calls."""
    return body.done


def _origin_form(target: bytes, method: object) -> bytes:
    rest = re.sub(rb"(?i)^https?://[^/?]*", b"", target)
    if not rest and method == b"OPTIONS":
        return b"*"
    return rest if rest.startswith(b"/") else b"/" + rest


def _lower_coding(fields: Fields) -> Fields:
    """h11 gives Transfer-Encoding in lower case."""
    return [(name, value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in fields]

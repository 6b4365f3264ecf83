"""Honest exchanges, made up: any method, target, fields, framing and cutting that HTTP allows and a tunnel must not change."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from tests.kit.exchanges import HOP_BY_HOP, Case, Step, serve, service_has, visit, visitor_has

TOKEN = st.text("ABCXYZabcxyz0189!#$%&'*+-.^`|~", min_size=1, max_size=12).map(str.encode)
TUNNEL = b"same.localhost"  # not the placeholder: the cuts go through it

# What means something to the framing, or to the edge, is left to the table.
_TAKEN = HOP_BY_HOP | {
    *(b"host", b"content-length", b"transfer-encoding", b"te", b"upgrade", b"expect", b"trailer", b"authorization"),
}
NAME = TOKEN.filter(lambda name: name.lower() not in _TAKEN)
VALUE = st.binary(max_size=40).map(
    lambda raw: bytes(code if code >= 0x20 and code != 0x7F else 0x21 for code in raw).strip(b" \t")
)
FIELDS = st.lists(st.tuples(NAME, VALUE), max_size=8)
BODY = st.one_of(st.binary(max_size=60), st.integers(0, 200_000).map(lambda size: b"0123456789abcde\n" * (size // 16)))
TARGET = st.text("abz019/?&=%._~-:;,+@!$'()*[]|\"<>{}\\^`", max_size=40).map(lambda text: b"/" + text.encode())
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"REPORT", b"HEAD", b"query"])
STATUSES = st.sampled_from([200, 201, 206, 301, 302, 400, 401, 404, 418, 429, 500, 503, 999])


@st.composite
def framed(draw: st.DrawFn, start: bytes, first: bytes = b"") -> bytes:
    """A message with one of the two framings."""
    lines = [start, *([first] if first else []), *(b"%b: %b" % field for field in draw(FIELDS))]
    body = draw(BODY)
    if draw(st.booleans()):
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])
    size = draw(st.integers(1, max(1, len(body))))
    size = max(size, len(body) // 50 + 1)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    trailers = b"".join(b"X-%b: %b\r\n" % field for field in draw(st.lists(st.tuples(NAME, VALUE), max_size=2)))
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", coded])


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in one to four pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    edges = [0, *cuts, len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges) if begin < end]


@st.composite
def exchanges(draw: st.DrawFn) -> Case:
    """One to three exchanges over one connection."""
    steps: list[Step] = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        method = draw(METHODS)
        start = b"%b %b HTTP/1.1" % (method, draw(TARGET))
        if method == b"HEAD" or draw(st.booleans()):
            request = b"\r\n".join(
                [start, b"Host: " + TUNNEL, *(b"%b: %b" % field for field in draw(FIELDS)), b"", b""]
            )
        else:
            request = draw(framed(start, b"Host: " + TUNNEL))
        answer = draw(framed(b"HTTP/1.1 %d Some reason" % draw(STATUSES)))
        if method == b"HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        steps += [visit(piece) for piece in draw(cut(request))]
        steps.append(service_has(number))
        steps += [serve(piece) for piece in draw(cut(answer))]
        steps.append(visitor_has(number))
    return Case("generated", tuple(steps))
